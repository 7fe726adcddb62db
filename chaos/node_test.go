package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/chaos/history"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
)

// nodeEnv holds the nodeConfig of a process that is to be a node.
const nodeEnv = "SOCKETFLEET_CHAOS_NODE"

// nodeConfig says what a node is.
type nodeConfig struct {
	Name   string // of this life
	NodeID string
	Listen string
	Mode   string
	Redis  servers
	Every  time.Duration // between two messages of an emitter
	MaxLen int           // of the stream
	Outage time.Duration // how long messages wait for Redis; 0: the default
}

// servers is where a node finds Redis.
type servers struct {
	Addrs   []string
	Master  string // of a Sentinel group; Addrs are Sentinels
	Cluster bool
}

func (s servers) client() goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: s.Addrs, MasterName: s.Master, IsClusterMode: s.Cluster})
}

// What a node says on its standard output besides events.
const (
	listening history.Kind = "listening" // Reason is the address
	stopped   history.Kind = "stopped"   // nothing is emitted any more, the queue is empty
	health    history.Kind = "health"    // Reason is what became of the connection: up, down
)

// probe is short, so that a deaf connection is found soon.
const probe = 500 * time.Millisecond

// reporter writes events.
type reporter struct{}

func (reporter) add(e history.Event) {
	if e.At == 0 {
		e.At = now()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		os.Exit(1) // the run is gone
	}
}

// quiet drops what go-redis says about every failed connection.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// runNode is the life of a node.
func runNode(text string) error {
	goredis.SetLogger(quiet{})
	var cfg nodeConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	provider, err := openAdapter(&cfg)
	if err != nil {
		return err
	}
	opts := &core.Options{Adapter: provider, NodeID: cfg.NodeID, Logger: slog.New(slog.DiscardHandler)}
	if cfg.Mode == "streams" {
		opts.Recovery = &core.RecoveryOptions{}
	}
	srv, err := core.New(context.Background(), opts)
	if err != nil {
		return err
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error { return welcome(s, cfg.Name) })
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(ln, srv) }()
	reporter{}.add(history.Event{Kind: listening, Reason: ln.Addr().String()})
	return emitUntilEnd(&cfg, srv, provider)
}

// welcome lets a client join the rooms it asks for, and tells it.
func welcome(s *core.Socket, node string) error {
	var auth struct{ Rooms []string }
	if err := json.Unmarshal(s.Handshake().Auth(), &auth); err != nil {
		return err
	}
	if !s.Recovered() {
		if err := s.Join(auth.Rooms...); err != nil {
			return err
		}
	}
	return s.Emit("ready", node, 0)
}

// openAdapter makes the provider of a mode, which reports its gaps.
func openAdapter(cfg *nodeConfig) (*cluster.Provider, error) {
	o := redis.Options{ProbeInterval: probe, Logger: slog.New(slog.DiscardHandler), OnGap: func(g redis.Gap) {
		reporter{}.add(history.Event{Kind: history.Gap, Node: cfg.Name, From: then(g.From), At: then(g.To), Reason: string(g.Kind)})
	}}
	o.Cluster.MaxOutboundAge = cfg.Outage
	p, err := openMode(cfg, cfg.Redis.client(), o)
	if err != nil {
		return nil, err
	}
	provider, ok := p.(*cluster.Provider)
	if !ok {
		return nil, fmt.Errorf("the provider is a %T", p)
	}
	return provider, nil
}

func openMode(cfg *nodeConfig, client goredis.UniversalClient, o redis.Options) (adapter.Provider, error) {
	switch cfg.Mode {
	case "classic":
		return redis.New(client, &o)
	case "sharded":
		return redis.NewSharded(client, &redis.ShardedOptions{Options: o})
	case "streams":
		return redis.NewStreams(client, &redis.StreamsOptions{Options: o, Block: probe, MaxLen: cfg.MaxLen})
	}
	return nil, fmt.Errorf("no mode %q", cfg.Mode)
}

// target is where an emitter emits to.
type target struct{ name, room string }

var targets = []target{{"all", ""}, {oddRoom, oddRoom}}

// emitUntilEnd emits until told to stop, and returns when the standard input ends.
func emitUntilEnd(cfg *nodeConfig, srv *core.Server, p *cluster.Provider) error {
	var stop atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			stop.Store(in.Text() == "stop")
		}
	}()
	e := emissions{cfg: cfg, srv: srv, provider: p}
	tick := time.NewTicker(cfg.Every)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
		quiet := stop.Load()
		if !quiet {
			e.emit()
		}
		if e.flushed() && quiet && !said {
			reporter{}.add(history.Event{Kind: stopped})
			said = true
		}
	}
}

// emissions emits the messages of a node. It belongs to one goroutine.
type emissions struct {
	cfg      *nodeConfig
	srv      *core.Server
	provider *cluster.Provider
	seq      uint64
	up       string
}

// emit sends one message to every target. The last argument is no string: clients
// take one for an offset.
func (e *emissions) emit() {
	e.seq++
	for _, t := range targets {
		ev := history.Event{Kind: history.Emit, Node: e.cfg.Name, Emitter: emitter(e.cfg.Name, t), Seq: e.seq, Room: t.room, At: now()}
		reporter{}.add(ev)
		var err error
		if t.room == "" {
			err = e.srv.Emit("m", ev.Emitter, padding, ev.Seq, ev.At)
		} else {
			err = e.srv.To(t.room).Emit("m", ev.Emitter, padding, ev.Seq, ev.At)
		}
		ev.Kind, ev.At = history.Emitted, now()
		if err != nil {
			ev.Reason = err.Error()
		}
		reporter{}.add(ev)
	}
}

var padding = strings.Repeat("x", 64)

func emitter(node string, t target) string { return node + "/" + t.name }

// flushed reports whether everything emitted has left this node, or was given up.
func (e *emissions) flushed() bool {
	s := e.provider.Stats()
	if up := map[bool]string{true: "up", false: "down"}[s.Bus.Up]; up != e.up {
		e.up = up
		reporter{}.add(history.Event{Kind: health, Reason: up})
	}
	if s.QueueMessages > 0 {
		return false
	}
	reporter{}.add(history.Event{Kind: history.Flushed, Node: e.cfg.Name, Dropped: s.Dropped + s.Refused, Uncertain: s.PublishErrors})
	return true
}

// parseEvent reads what a reporter wrote.
func parseEvent(line []byte) (e history.Event, err error) {
	if err = json.Unmarshal(line, &e); err == nil && e.Kind == "" {
		err = errors.New("no kind")
	}
	return e, err
}
