package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// maxProbeNames bounds the search for a channel that a given server has.
const maxProbeNames = 10_000

// home is one server and the connection that listens to the channels it has.
type home struct {
	// Immutable.
	addr   string
	client *goredis.Client // nil: the link's
	sub    subscriber
	stop   context.CancelFunc
	ended  chan struct{}

	// Guarded by channelSet.mu.
	channels int
	probe    string // a channel of this server nobody else listens to
}

// home returns the home of a channel, which may be a new one. It is called by
// the goroutine of run.
func (s *channelSet) home(ctx context.Context, name string) (*home, error) {
	addr := ""
	var node *goredis.Client
	if s.kind == shard && s.link.cluster != nil {
		var err error
		if node, err = s.link.cluster.MasterForKey(ctx, name); err != nil {
			return nil, err
		}
		addr = node.Options().Addr
	}
	s.mu.Lock()
	h := s.homes[addr]
	s.mu.Unlock()
	if h != nil {
		return h, nil
	}
	return s.newHome(ctx, addr, node)
}

func (s *channelSet) newHome(ctx context.Context, addr string, node *goredis.Client) (*home, error) {
	probe, err := s.probeName(ctx, addr)
	if err != nil {
		return nil, err
	}
	h := &home{addr: addr, probe: probe, ended: make(chan struct{})}
	h.sub = subscriber{
		first: probe, // a random name, so that nodes spread over the servers
		open:  s.link.pubsub, idle: s.opts.ProbeInterval, onGap: s.opts.OnGap, log: s.opts.Logger,
		probe:  func(ctx context.Context) error { return s.sendProbe(ctx, h) },
		handle: func(m *goredis.Message) { s.receive(h, m) },
	}
	if node != nil {
		// The cluster client closes its clients of servers that leave and come back.
		o := *node.Options()
		tune(&o)
		h.client = goredis.NewClient(&o)
		h.sub.open = func(ctx context.Context) *goredis.PubSub { return h.client.Subscribe(ctx) }
		h.sub.slots, h.sub.moved = true, s.hint
	}
	h.sub.init()
	h.sub.topics.want(true, s.probeTopic(probe))
	run, stop := context.WithCancel(context.Background())
	h.stop = stop
	go func() {
		defer close(h.ended)
		h.sub.run(run)
	}()
	s.mu.Lock()
	s.homes[addr] = h
	s.mu.Unlock()
	return h, nil
}

// probeName returns a channel that the server at addr has.
func (s *channelSet) probeName(ctx context.Context, addr string) (string, error) {
	base := s.key + "#~probe~" + s.token
	if addr == "" {
		return base, nil
	}
	for i := range maxProbeNames {
		name := base + strconv.Itoa(i)
		node, err := s.link.cluster.MasterForKey(ctx, name)
		if err == nil && node.Options().Addr == addr {
			return name, nil
		}
	}
	return "", fmt.Errorf("the server at %s has too few slots", addr)
}

func (s *channelSet) probeTopic(name string) topic { return topic{kind: s.kind, name: name} }

func (s *channelSet) sendProbe(ctx context.Context, h *home) error {
	s.mu.Lock()
	name := h.probe
	s.mu.Unlock()
	payload := binary.BigEndian.AppendUint64(slices.Clip(probePayload), uint64(time.Since(s.epoch)))
	var err error
	switch {
	case s.kind == plain:
		err = s.link.publish(ctx, name, payload)
	case h.client != nil:
		err = h.client.SPublish(ctx, name, payload).Err()
	default:
		err = s.link.single.SPublish(ctx, name, payload).Err()
	}
	if err != nil {
		return fmt.Errorf("socketio: redis: probe: %w", err)
	}
	return nil
}

// returned measures how long a probe was on its way.
func (s *channelSet) returned(payload string) {
	if sent, ok := strings.CutPrefix(payload, string(probePayload)); ok && len(sent) == 8 {
		took := time.Since(s.epoch) - time.Duration(binary.BigEndian.Uint64([]byte(sent)))
		s.trips.Observe(int64(max(took, 0)))
	}
}

// checkProbes replaces the probes that are not at home any more.
func (s *channelSet) checkProbes(ctx context.Context) {
	s.mu.Lock()
	probes := make(map[*home]string)
	for _, h := range s.homes {
		probes[h] = h.probe
	}
	s.mu.Unlock()
	for h, old := range probes {
		node, err := s.link.cluster.MasterForKey(ctx, old)
		name := old
		if err == nil && node.Options().Addr != h.addr {
			name, err = s.probeName(ctx, h.addr)
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		at, lost := s.suspect[s.probeTopic(old)]
		switch {
		case name != old:
			h.sub.topics.forget(s.probeTopic(old))
			h.probe = name
			h.sub.topics.want(true, s.probeTopic(name))
			delete(s.suspect, s.probeTopic(old))
		case lost && time.Since(at) > suspectTime:
			h.sub.topics.again(s.probeTopic(old))
			delete(s.suspect, s.probeTopic(old))
		}
		s.mu.Unlock()
	}
	s.forgetHints()
}

// forgetHints drops the hints that are about nothing we have.
func (s *channelSet) forgetHints() {
	s.mu.Lock()
	defer s.mu.Unlock()
	probes := make(map[topic]bool)
	for _, h := range s.homes {
		probes[s.probeTopic(h.probe)] = true
	}
	for name := range s.suspect {
		if s.entries[name] == nil && !probes[name] {
			delete(s.suspect, name)
		}
	}
}

// dropEmpty closes the connections nothing is left to listen to on.
func (s *channelSet) dropEmpty() {
	s.mu.Lock()
	var gone []*home
	for addr, h := range s.homes {
		if h.channels == 0 {
			gone = append(gone, h)
			delete(s.homes, addr)
		}
	}
	s.mu.Unlock()
	for _, h := range gone {
		h.close()
		s.mu.Lock()
		last := h.sub.snapshot()
		s.retired.Reconnects += last.Reconnects
		s.retired.Resubscribes += last.Resubscribes
		s.retired.ProbeFailures += last.ProbeFailures
		s.mu.Unlock()
	}
}

func (s *channelSet) closeHomes() {
	s.mu.Lock()
	homes := s.homes
	s.homes = make(map[string]*home)
	s.mu.Unlock()
	for _, h := range homes {
		h.stop()
	}
	for _, h := range homes {
		h.close()
	}
}

func (h *home) close() {
	h.stop()
	<-h.ended
	h.sub.topics.end()
	if h.client != nil {
		_ = h.client.Close() // nothing is in flight
	}
}
