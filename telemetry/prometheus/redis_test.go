package prometheus

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter/redis"
	"github.com/socketfleet/socketfleet/core"
)

func TestTheWayThroughRedisIsMeasured(t *testing.T) {
	t.Parallel()
	nodes, _ := startRedis(t, 2)
	a, b := nodes[0], nodes[1]
	c := b.dial("/")
	if err := a.Emit("news", "hello"); err != nil {
		t.Fatal(err)
	}
	c.read(`42["news"`)
	b.want(1, "socketio_adapter_lag_seconds", "adapter", "redis")
	b.want(0, "socketio_adapter_early_messages_total", "adapter", "redis")
	a.want(1, "socketio_adapter_publishes_total", "adapter", "redis", "kind", "broadcast")
	a.want(0, "socketio_adapter_publish_errors_total", "adapter", "redis", "cause", "backend")
	b.eventually("a probe has come back", func() bool { return b.value("socketio_adapter_roundtrip_seconds", "adapter", "redis") > 0 })

	before := b.value("socketio_adapter_subscriptions", "adapter", "redis")
	if before == 0 {
		t.Error("no subscriptions")
	}
	b.Of("/other")
	b.eventually("the namespace has subscriptions", func() bool { return b.value("socketio_adapter_subscriptions", "adapter", "redis") > before })
}

// gate is a log that keeps whoever refuses a message from going on.
type gate struct {
	slog.Handler
	entered, leave chan struct{}
}

func (gate) Enabled(context.Context, slog.Level) bool { return true }

func (g gate) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "event" && a.Value.String() == "adapter.message_refused" {
			g.entered <- struct{}{}
			<-g.leave
		}
		return true
	})
	return nil
}

func TestMessagesThatWaitForTheirWorkerShow(t *testing.T) {
	t.Parallel()
	nodes, server := startRedis(t, 1)
	a := nodes[0]
	g := gate{slog.DiscardHandler, make(chan struct{}, 10), make(chan struct{})}
	release := sync.OnceFunc(func() { close(g.leave) })
	rdb := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer rdb.Close()
	slow, err := redis.New(rdb, &redis.Options{Logger: slog.New(g)})
	if err != nil {
		t.Fatal(err)
	}
	b := startNode(t, core.Options{NodeID: "slow", Adapter: slow}, nil)
	defer release()
	server.CLI(t, "publish", "socket.io#/#", "no message")
	select {
	case <-g.entered: // and is being handled until release is called
	case <-time.After(patience):
		t.Fatal("the message is not handled")
	}
	for range 6 {
		if err := a.Emit("news"); err != nil {
			t.Fatal(err)
		}
	}
	b.eventually("the others wait", func() bool { return b.value("socketio_adapter_inbound_queue_messages") >= 6 })
	if b.value("socketio_adapter_inbound_queue_capacity_messages", "worker", "0") == 0 {
		t.Error("no capacity")
	}
	release()
	b.want(0, "socketio_adapter_inbound_queue_messages")
}

func TestPublishingThatFailsShowsItsCause(t *testing.T) {
	t.Parallel()
	nodes, server := startRedis(t, 1)
	n := nodes[0]
	server.Pause(t)
	defer server.Resume(t)
	if err := n.Emit("news"); err != nil {
		t.Fatal(err)
	}
	n.eventually("the failure is counted", func() bool {
		return n.value("socketio_adapter_publish_errors_total", "cause", "timeout") > 0
	})
	n.want(0, "socketio_adapter_up")
}
