package nats

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func journaled(o *Options) { o.JetStream = &JetStream{} }

// complete checks that n has all of from's messages but those of the first before
// it listened, in order and once each.
func (n *testNode) complete(from *testNode, total int) {
	n.t.Helper()
	wait(n.t, "everything arrives", func() bool { return len(n.seen()) >= total })
	got := n.seen()
	for i := range got {
		if got[i] != i {
			n.t.Fatalf("message %d is at place %d of %d", got[i], i, len(got))
		}
	}
	if len(got) != total {
		n.t.Errorf("%d messages arrived of %d", len(got), total)
	}
}

func TestTheStreamBringsWhatANodeMissed(t *testing.T) {
	t.Parallel()
	away := func(n *testNode) {
		wait(n.t, "the loss is noticed", func() bool { return !n.b.Health().Up })
	}
	tests := map[string]func(t *testing.T, s *testutil.NATSServer, p *testutil.Proxy, a, b *testNode){
		"the server is killed and restarted": func(t *testing.T, s *testutil.NATSServer, _ *testutil.Proxy, _, b *testNode) {
			s.Kill(t)
			away(b)
			s.Restart(t)
		},
		"the server stands still": func(t *testing.T, s *testutil.NATSServer, _ *testutil.Proxy, _, b *testNode) {
			s.Pause(t)
			away(b)
			s.Resume(t)
		},
		"the receiver is in a black hole": func(t *testing.T, _ *testutil.NATSServer, p *testutil.Proxy, a, b *testNode) {
			p.BlackHole(testutil.Up, true)
			p.BlackHole(testutil.Down, true)
			away(b)
			have := len(a.talked())
			wait(t, "more is sent", func() bool { return len(a.talked()) > have+50 })
			p.Reset()
			p.BlackHole(testutil.Up, false)
			p.BlackHole(testutil.Down, false)
		},
		"connections are reset": func(t *testing.T, _ *testutil.NATSServer, p *testutil.Proxy, _, b *testNode) {
			for range 3 {
				p.Reset()
				b.progress("messages arrive between resets")
			}
		},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			s := testutil.JetStream(t)
			p := testutil.NewProxy(t, s.Addr())
			a, b := pair(t, []string{s.URL}, []string{"nats://" + p.Addr()}, journaled)
			stop := a.talk()
			b.progress("messages arrive")
			fault(t, s, p, a, b)
			b.progress("messages arrive again")
			b.complete(a, stop())
			for _, g := range b.reported() {
				if g.Kind == GapTrimmed || g.Kind == GapRewound {
					t.Errorf("a gap in the stream: %+v", g)
				}
			}
		})
	}
}

// talked returns the numbers that went out.
func (n *testNode) talked() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]int, 0, len(n.sent))
	for i := range n.sent {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

func TestASenderCutOffRepeatsWithoutDoubles(t *testing.T) {
	t.Parallel()
	s := testutil.JetStream(t)
	p := testutil.NewProxy(t, s.Addr())
	a, b := pair(t, []string{"nats://" + p.Addr()}, []string{s.URL}, journaled)
	stop := a.talk()
	for range 3 {
		b.progress("messages arrive")
		p.BlackHole(testutil.Down, true) // the stream has the message, the sender does not know
		wait(t, "the loss is noticed", func() bool { return !a.b.Health().Up })
		p.Reset()
		p.BlackHole(testutil.Down, false)
	}
	b.progress("messages arrive again")
	b.complete(a, stop())
}

func TestWhatTheStreamDroppedIsAGap(t *testing.T) {
	t.Parallel()
	s := testutil.JetStream(t)
	p := testutil.NewProxy(t, s.Addr())
	a, b := pair(t, []string{s.URL}, []string{"nats://" + p.Addr()}, func(o *Options) {
		o.JetStream = &JetStream{MaxMsgs: 10}
	})
	a.talkTo(0, 5)
	wait(t, "messages arrive", func() bool { return len(b.seen()) == 5 })
	p.BlackHole(testutil.Up, true)
	p.BlackHole(testutil.Down, true)
	wait(t, "the loss is noticed", func() bool { return !b.b.Health().Up })
	a.talkTo(5, 50)
	p.Reset()
	p.BlackHole(testutil.Up, false)
	p.BlackHole(testutil.Down, false)
	wait(t, "the newest arrives", func() bool { return slices.Contains(b.seen(), 49) })
	wait(t, "the gap is reported", func() bool { return b.reportedKind(GapTrimmed) })
	if b.judge(a) == 0 {
		t.Error("nothing was lost: the test has shown nothing")
	}
}

// talkTo sends the messages from, from+1, ... to-1.
func (n *testNode) talkTo(from, to int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	for i := from; i < to; i++ {
		n.publish(ctx, numbered(n.id, i), i)
	}
	if ctx.Err() != nil {
		n.t.Fatal("publishing takes too long")
	}
}

func TestAStreamMadeAnewIsAGap(t *testing.T) {
	t.Parallel()
	s := testutil.JetStream(t)
	a, b := pair(t, []string{s.URL}, []string{s.URL}, journaled)
	a.talkTo(0, 20)
	wait(t, "messages arrive", func() bool { return len(b.seen()) == 20 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.b.journal.js.DeleteStream(ctx, a.b.journal.cfg.Stream); err != nil {
		t.Fatal(err)
	}
	wait(t, "the receiver reports a gap", func() bool { return b.reportedKind(GapRewound) })
	a.talkTo(20, 25)
	wait(t, "messages arrive again", func() bool { return len(b.seen()) == 25 })
	b.judge(a)
}

func TestANewNodeDoesNotGetWhatWasBefore(t *testing.T) {
	t.Parallel()
	s := testutil.JetStream(t)
	prefix := newPrefix()
	a := newNode(t, prefix, "a", []string{s.URL}, journaled)
	a.talkTo(0, 20)
	b := newNode(t, prefix, "b", []string{s.URL}, journaled)
	a.talkTo(20, 21)
	wait(t, "the new message arrives", func() bool { return len(b.seen()) > 0 })
	if got := b.seen(); !slices.Equal(got, []int{20}) {
		t.Errorf("got %v", got)
	}
	if gaps := b.reported(); len(gaps) > 0 {
		t.Errorf("gaps %v", gaps)
	}
}

func TestAStreamThatExistsKeepsItsSettings(t *testing.T) {
	t.Parallel()
	s := testutil.JetStream(t)
	conn, err := natsgo.Connect(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	cfg := JetStream{Stream: "mine", MaxAge: time.Hour, MaxMsgs: 7, MaxBytes: 1 << 20, Replicas: 1}.config("p")
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	newNode(t, "p", "a", []string{s.URL}, func(o *Options) { o.JetStream = &JetStream{Stream: "mine"} })
	st, err := js.Stream(t.Context(), "mine")
	if err != nil || st.CachedInfo().Config.MaxMsgs != 7 {
		t.Errorf("the stream was changed: %v", err)
	}
}

func TestWithoutJetStreamTheStartFails(t *testing.T) {
	t.Parallel()
	s := testutil.NATS(t)
	if p, err := adapter.Open(t.Context(), s.URL+"?jetstream=true"); err == nil {
		closeNode(t, p)
		t.Error("it started")
	} else if !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("got %v", err)
	}
}
