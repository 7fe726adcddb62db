package loadgen

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// maxPayload keeps a frame inside the clients' read buffer, in bytes.
const maxPayload = 2048

// Load describes one run.
type Load struct {
	// Messages is how many events clients emit in all.
	Messages int
	// Rate is how many they emit per second. Zero: as fast as Window allows.
	Rate float64
	// Burst is how many events one client emits at a time, in one write; zero
	// means one.
	Burst int
	// Window bounds the events under way when Rate is zero; zero means Burst.
	Window int
	// Payload is the size of the string each event carries, in bytes, at most
	// 2048.
	Payload int
}

// Result is what arrived. A run that lost something has no Result but an error.
type Result struct {
	Messages int           // deliveries of a broadcast, answers of an echo
	Elapsed  time.Duration // from the first emit to the last arrival
}

// Broadcast lets the first client emit "fan" events, each of which the server
// emits to every client. It returns when all deliveries have arrived.
func (f *Fleet) Broadcast(ctx context.Context, l Load) (Result, error) {
	packet, n := []byte(fmt.Sprintf(`42["fan",%q]`, text(l.Payload))), int64(len(f.conns))
	before := f.events.Load()
	return f.run(ctx, l, run{
		perMessage: len(f.conns),
		emit: func(_, count int) error {
			return f.conns[0].send(repeat(packet, count)...)
		},
		arrived: func(ctx context.Context, messages int) error {
			return f.await(ctx, &f.events, before+int64(messages)*n)
		},
	})
}

// Echo lets the clients, one after the other, emit "echo" events that ask for an
// acknowledgement. It returns when all have been acknowledged.
func (f *Fleet) Echo(ctx context.Context, l Load) (Result, error) {
	payload, before := text(l.Payload), f.acks.Load()
	return f.run(ctx, l, run{
		perMessage: 1,
		emit: func(first, count int) error {
			packets := make([][]byte, count)
			for i := range packets {
				packets[i] = fmt.Appendf(nil, `42%d["echo",%q]`, first+i, payload)
			}
			return f.conns[first/max(l.Burst, 1)%len(f.conns)].send(packets...)
		},
		arrived: func(ctx context.Context, messages int) error {
			return f.await(ctx, &f.acks, before+int64(messages))
		},
	})
}

// run is one kind of load.
type run struct {
	perMessage int // arrivals per message
	emit       func(first, count int) error
	arrived    func(ctx context.Context, messages int) error
}

func (f *Fleet) run(ctx context.Context, l Load, r run) (Result, error) {
	if l.Payload > maxPayload {
		return Result{}, fmt.Errorf("loadgen: payload of %d bytes, at most %d", l.Payload, maxPayload)
	}
	burst, start := max(l.Burst, 1), time.Now()
	for sent := 0; sent < l.Messages; {
		if err := l.wait(ctx, start, sent, r); err != nil {
			return Result{}, err
		}
		count := min(burst, l.Messages-sent)
		if err := r.emit(sent, count); err != nil {
			return Result{}, fmt.Errorf("loadgen: emit: %w", err)
		}
		sent += count
	}
	if err := r.arrived(ctx, l.Messages); err != nil {
		return Result{}, err
	}
	return Result{Messages: l.Messages * r.perMessage, Elapsed: time.Since(start)}, nil
}

// wait returns when the next burst is due.
func (l Load) wait(ctx context.Context, start time.Time, sent int, r run) error {
	if l.Rate <= 0 {
		return r.arrived(ctx, sent+max(l.Burst, 1)-max(l.Window, l.Burst, 1))
	}
	due := start.Add(time.Duration(float64(sent) / l.Rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func text(size int) string { return strings.Repeat("x", size) }

func repeat(packet []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = packet
	}
	return all
}
