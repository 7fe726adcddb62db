package main

import (
	"context"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/bench/loadgen"
)

// metric is one row of the report.
type metric struct {
	key   string
	title string
	limit float64 // what we aim at, as a ratio to the reference; 0: nothing
}

var metrics = []metric{
	{"connect", "CPU per connection set up, us", 0.40},
	{"paced", "CPU per delivery, single events, us", 0.45},
	{"burst", "CPU per delivery, bursts, us", 0.45},
	{"max", "CPU per delivery, flat out, us", 0.45},
	{"rate", "deliveries per second, flat out", 0},
	{"echo", "CPU per acknowledged event, us", 0},
	{"close", "CPU per connection closed, us", 0},
	{"resident", "resident per idle connection, KiB", 0.50},
	{"heap", "  heap of it, KiB", 0},
	{"stack", "  stacks of it, KiB", 0},
	{"goroutines", "goroutines per idle connection", 0},
}

// sample is one server's figures of one round, by metric key.
type sample map[string]float64

// measure runs every scenario against one fresh server.
func measure(ctx context.Context, s *server, cfg config) (sample, error) {
	m := sample{}
	steps := []struct {
		name string
		run  func(context.Context, *server, config, sample) error
	}{{"idle", idle}, {"warm up", warmUp}, {"load", load}}
	for _, step := range steps {
		if err := step.run(ctx, s, cfg, m); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return m, nil
}

// warmUp lets compilers, pools and caches reach the state they stay in.
func warmUp(ctx context.Context, s *server, cfg config, _ sample) error {
	for range 2 {
		f, err := loadgen.Dial(ctx, s.addr, cfg.clients, cfg.parallel)
		if err != nil {
			return err
		}
		_, err = f.Broadcast(ctx, loadgen.Load{Messages: 40, Burst: 2, Payload: cfg.payload})
		if err == nil {
			_, err = f.Echo(ctx, loadgen.Load{Messages: 4000, Burst: 4, Window: 400, Payload: cfg.payload})
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// idle measures what open connections that say nothing hold. It comes first: a
// heap that a load has grown takes connections in without growing. The few
// connections before it are for code and caches alone.
func idle(ctx context.Context, s *server, cfg config, m sample) error {
	few, err := loadgen.Dial(ctx, s.addr, min(50, cfg.idle), cfg.parallel)
	if err != nil {
		return err
	}
	few.Close()
	before, err := s.settledMemory(ctx)
	if err != nil {
		return err
	}
	f, err := loadgen.Dial(ctx, s.addr, cfg.idle, cfg.parallel)
	if err != nil {
		return err
	}
	defer f.Close()
	after, err := s.settledMemory(ctx)
	if err != nil {
		return err
	}
	per := func(a, b float64) float64 { return (b - a) / float64(after.Connections-before.Connections) }
	m["resident"] = per(float64(before.resident), float64(after.resident)) / 1024
	m["heap"] = per(float64(before.Heap), float64(after.Heap)) / 1024
	m["stack"] = per(float64(before.Stack), float64(after.Stack)) / 1024
	m["goroutines"] = per(float64(before.Goroutines), float64(after.Goroutines))
	if n := after.Connections; n < cfg.idle {
		return fmt.Errorf("the server counts %d of %d connections", n, cfg.idle)
	}
	return nil
}

func (s *server) settledMemory(ctx context.Context) (memory, error) {
	if _, err := s.settle(ctx); err != nil {
		return memory{}, err
	}
	return s.memory(ctx)
}

// load measures what connections, broadcasts, acknowledgements and closes cost.
func load(ctx context.Context, s *server, cfg config, m sample) error {
	var f *loadgen.Fleet
	err := s.cost(ctx, m, "connect", func() (int, error) {
		var err error
		f, err = loadgen.Dial(ctx, s.addr, cfg.clients, cfg.parallel)
		return cfg.clients, err
	})
	if err != nil {
		return err
	}
	defer func() { f.Close() }()

	paced := int(cfg.rate * cfg.seconds)
	flat := loadgen.Load{Messages: paced * 3, Burst: 1, Window: 16, Payload: cfg.payload}
	runs := []struct {
		key  string
		kind func(context.Context, loadgen.Load) (loadgen.Result, error)
		load loadgen.Load
	}{
		{"paced", f.Broadcast, loadgen.Load{Messages: paced, Rate: cfg.rate, Payload: cfg.payload}},
		{"burst", f.Broadcast, loadgen.Load{Messages: paced, Rate: cfg.rate, Burst: cfg.burst, Payload: cfg.payload}},
		{"max", f.Broadcast, flat},
		{"echo", f.Echo, loadgen.Load{Messages: int(cfg.echoRate * cfg.seconds), Rate: cfg.echoRate, Burst: 4, Payload: cfg.payload}},
	}
	for _, r := range runs {
		err := s.cost(ctx, m, r.key, func() (int, error) {
			res, err := r.kind(ctx, r.load)
			if r.key == "max" && err == nil {
				m["rate"] = float64(res.Messages) / res.Elapsed.Seconds()
			}
			return res.Messages, err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", r.key, err)
		}
	}
	return s.cost(ctx, m, "close", func() (int, error) {
		f.Close()
		return cfg.clients, nil
	})
}

// cost sets m[key] to the CPU time in microseconds per operation that do
// performs, from a quiet server to a quiet server.
func (s *server) cost(ctx context.Context, m sample, key string, do func() (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	before, err := s.settle(ctx)
	if err != nil {
		return err
	}
	operations, err := do()
	if err != nil {
		return err
	}
	after, err := s.settle(ctx)
	if err != nil {
		return err
	}
	m[key] = float64((after - before).Nanoseconds()) / 1000 / float64(operations)
	return nil
}
