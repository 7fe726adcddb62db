package history

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// run is a history in which node a emits message n at n*100 ms to "all", and one
// client on node b gets it 5 ms later. The client has joined at 50 ms. Tests change
// it.
type run struct{ events []Event }

func (r *run) add(e Event) { r.events = append(r.events, e) }

func goodRun(n int) *run {
	r := new(run)
	r.connect("c", 1, "b", 50*ms, false)
	for i := range n {
		seq := uint64(i + 1)
		at := int64(seq) * 100 * ms
		r.emit("a", seq, at, "")
		r.deliver(1, seq, at+5*ms)
	}
	return r
}

func (r *run) emit(node string, seq uint64, at int64, err string) {
	r.add(Event{Kind: Emit, Node: node, Emitter: node + "/all", Seq: seq, Room: "all", At: at})
	r.add(Event{Kind: Emitted, Node: node, Emitter: node + "/all", Seq: seq, At: at + ms, Reason: err})
	r.add(Event{Kind: Flushed, Node: node, At: at + 2*ms})
}

func (r *run) connect(client string, session int, node string, at int64, recovered bool) {
	r.add(Event{Kind: Connect, Client: client, Session: session, At: at - ms, Rooms: []string{"all"}, Recovered: recovered})
	r.add(Event{Kind: Ready, Client: client, Session: session, At: at, Node: node})
}

func (r *run) deliver(session int, seq uint64, at int64) {
	r.add(Event{Kind: Deliver, Client: "c", Session: session, Emitter: "a/all", Seq: seq, At: at})
}

func (r *run) gap(node string, from, to int64) {
	r.add(Event{Kind: Gap, Node: node, From: from, At: to, Reason: "connection"})
}

// lose takes the deliveries of some messages away.
func (r *run) lose(seqs ...uint64) {
	r.events = slices.DeleteFunc(r.events, func(e Event) bool { return e.Kind == Deliver && slices.Contains(seqs, e.Seq) })
}

// change applies f to the first event of a kind and number.
func (r *run) change(kind Kind, seq uint64, f func(*Event)) {
	f(&r.events[slices.IndexFunc(r.events, func(e Event) bool { return e.Kind == kind && e.Seq == seq })])
}

// drop raises a counter of everything flushed from at on.
func (r *run) drop(at int64, f func(*Event)) {
	for i := range r.events {
		if e := &r.events[i]; e.Kind == Flushed && e.At >= at {
			f(e)
		}
	}
}

// without takes all events of a kind from at on away.
func (r *run) without(kind Kind, at int64) {
	r.events = slices.DeleteFunc(r.events, func(e Event) bool { return e.Kind == kind && e.At >= at })
}

var strict = Config{Margin: 50 * time.Millisecond, Settle: 300 * time.Millisecond}

// verdict is what tests compare.
type verdict struct {
	missing, duplicates, reordered, unknown, inGap, told int
}

func verdictOf(r *Report) verdict {
	return verdict{r.Count(Missing), r.Count(Duplicate), r.Count(Reordered), r.Count(Unknown), r.InGap, r.Told}
}

var cases = []struct {
	name   string
	cfg    Config
	change func(r *run)
	want   verdict
}{
	{"everything arrives", strict, func(*run) {}, verdict{}},
	{"a message is lost", strict, func(r *run) { r.lose(5) }, verdict{missing: 1}},
	{"the last message is lost", strict, func(r *run) { r.lose(10) }, verdict{missing: 1}},
	{"a message comes twice", strict, func(r *run) { r.deliver(1, 5, 520*ms) }, verdict{duplicates: 1}},
	{"a message comes twice and may", Config{Repeats: true}, func(r *run) { r.deliver(1, 5, 820*ms) }, verdict{}},
	{"two messages change places", strict, func(r *run) {
		r.change(Deliver, 5, func(e *Event) { e.At = 610 * ms })
	}, verdict{reordered: 1}},
	{"a message comes that nobody emitted", strict, func(r *run) { r.deliver(1, 99, 520*ms) }, verdict{unknown: 1}},
	{"a message comes before it is emitted", strict, func(r *run) {
		r.change(Deliver, 5, func(e *Event) { e.At = 499 * ms })
	}, verdict{unknown: 1, missing: 1}},

	{"a message is lost in a gap", strict, func(r *run) {
		r.lose(5)
		r.gap("b", 450*ms, 550*ms)
	}, verdict{inGap: 1}},
	{"a message is lost after a gap", strict, func(r *run) {
		r.lose(5)
		r.gap("b", 350*ms, 499*ms)
	}, verdict{missing: 1}},
	{"a message is lost long before a gap", strict, func(r *run) {
		r.lose(5)
		r.gap("b", 553*ms, 590*ms)
	}, verdict{missing: 1}},
	{"a message on its way is lost when a gap begins", strict, func(r *run) {
		r.lose(5)
		r.gap("b", 552*ms, 590*ms)
	}, verdict{inGap: 1}},
	{"another node reports a gap", strict, func(r *run) {
		r.lose(5)
		r.gap("a", 450*ms, 550*ms)
		r.gap("x", 450*ms, 550*ms)
	}, verdict{missing: 1}},
	{"the emitting node says others may have missed it", strict, func(r *run) {
		r.lose(5)
		r.add(Event{Kind: Gap, Node: "a", From: 450 * ms, At: 550 * ms, Reason: "failover"})
	}, verdict{told: 1}},
	{"the emitting node says so of another time", strict, func(r *run) {
		r.lose(5)
		r.add(Event{Kind: Gap, Node: "a", From: 350 * ms, At: 499 * ms, Reason: "publish"})
	}, verdict{missing: 1}},
	{"a message that waits in its node is lost in a later gap", strict, func(r *run) {
		r.lose(5)
		r.without(Flushed, 480*ms)
		r.add(Event{Kind: Flushed, Node: "a", At: 2000 * ms})
		r.gap("b", 1900*ms, 1950*ms)
	}, verdict{inGap: 1}},

	{"the emit fails", strict, func(r *run) {
		r.lose(5)
		r.change(Emitted, 5, func(e *Event) { e.Reason = "queue full" })
	}, verdict{told: 1}},
	{"another emit fails", strict, func(r *run) {
		r.lose(5)
		r.change(Emitted, 6, func(e *Event) { e.Reason = "queue full" })
	}, verdict{missing: 1}},
	{"the node counts a drop", strict, func(r *run) {
		r.lose(5)
		r.drop(501*ms, func(e *Event) { e.Dropped = 1 })
	}, verdict{told: 1}},
	{"the node counted the drop before", strict, func(r *run) {
		r.lose(5)
		r.drop(401*ms, func(e *Event) { e.Dropped = 1 })
	}, verdict{missing: 1}},
	{"an attempt to publish fails, at most once", Config{AtMostOnce: true}, func(r *run) {
		r.lose(5)
		r.drop(501*ms, func(e *Event) { e.Uncertain = 1 })
	}, verdict{told: 1}},
	{"an attempt to publish fails, at least once", strict, func(r *run) {
		r.lose(5)
		r.drop(501*ms, func(e *Event) { e.Uncertain = 1 })
	}, verdict{missing: 1}},
	{"the node dies with messages in its queue", strict, func(r *run) {
		r.lose(10)
		r.without(Flushed, 1000*ms)
		r.add(Event{Kind: Exit, Node: "a", At: 1001 * ms})
	}, verdict{told: 1}},
	{"the node dies after the message has left it", strict, func(r *run) {
		r.lose(10)
		r.add(Event{Kind: Exit, Node: "a", At: 1010 * ms})
	}, verdict{missing: 1}},
	{"the queue of a live node never empties", strict, func(r *run) {
		r.lose(10)
		r.without(Flushed, 1000*ms)
	}, verdict{missing: 1}},

	{"a client of the emitting node has no excuse", strict, func(r *run) {
		r.change(Ready, 0, func(e *Event) { e.Node = "a" })
		r.lose(5)
		r.gap("a", 450*ms, 550*ms)
		r.drop(501*ms, func(e *Event) { e.Dropped = 1 })
	}, verdict{missing: 1}},
	{"a client of the emitting node that leaves soon has none either", strict, func(r *run) {
		r.change(Ready, 0, func(e *Event) { e.Node = "a" })
		r.lose(8)
		r.gap("a", 750*ms, 850*ms)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 1050 * ms})
	}, verdict{missing: 1}},
	{"a client of the emitting node that is recovered elsewhere has", strict, func(r *run) {
		r.change(Ready, 0, func(e *Event) { e.Node = "a" })
		r.lose(8, 9, 10)
		r.gap("x", 750*ms, 850*ms)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 850 * ms})
		r.connect("c", 2, "x", 870*ms, true)
		r.deliver(2, 9, 905*ms)
		r.deliver(2, 10, 1005*ms)
	}, verdict{inGap: 1}},
	{"a client of the emitting node has the excuses of others over a log", Config{Logged: true}, func(r *run) {
		r.change(Ready, 0, func(e *Event) { e.Node = "a" })
		r.lose(5)
		r.gap("a", 450*ms, 550*ms)
	}, verdict{inGap: 1}},
	{"a client that is not in the room", strict, func(r *run) {
		r.lose(5)
		r.change(Connect, 0, func(e *Event) { e.Rooms = []string{"other"} })
	}, verdict{}},
	{"a message for everybody", strict, func(r *run) {
		r.lose(5)
		r.change(Connect, 0, func(e *Event) { e.Rooms = nil })
		r.change(Emit, 5, func(e *Event) { e.Room = "" })
	}, verdict{missing: 1}},
	{"a client that had not joined when the emit began", strict, func(r *run) {
		r.lose(5)
		r.change(Ready, 0, func(e *Event) { e.At = 501 * ms })
	}, verdict{}},
	{"a subscription that is not confirmed yet", Config{JoinGrace: 460 * time.Millisecond}, func(r *run) { r.lose(5) }, verdict{}},
	{"a confirmed subscription", Config{JoinGrace: 440 * time.Millisecond}, func(r *run) { r.lose(5) }, verdict{missing: 1}},
	{"a client that leaves soon", strict, func(r *run) {
		r.lose(8, 9, 10)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 1050 * ms})
	}, verdict{}},
	{"a client that leaves late", strict, func(r *run) {
		r.lose(8, 9, 10)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 1150 * ms})
	}, verdict{missing: 1}},
	{"a client that leaves soon and got a later message", strict, func(r *run) {
		r.lose(8)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 1050 * ms})
	}, verdict{missing: 1}},

	{"what a client missed while away, recovered", strict, func(r *run) {
		r.lose(5, 6, 7)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 450 * ms})
		r.connect("c", 2, "b", 750*ms, true)
	}, verdict{missing: 3}},
	{"a recovery that replays everything", strict, func(r *run) {
		r.lose(5, 6, 7, 8, 9, 10)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 450 * ms})
		r.connect("c", 2, "x", 750*ms, true)
		for seq := uint64(5); seq <= 10; seq++ {
			r.deliver(2, seq, max(740*ms+int64(seq)*ms, int64(seq)*100*ms+ms))
		}
	}, verdict{}},
	{"a recovery that repeats a message", strict, func(r *run) {
		r.lose(5, 6, 7, 8, 9, 10)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 450 * ms})
		r.connect("c", 2, "x", 750*ms, true)
		for seq := uint64(4); seq <= 10; seq++ {
			r.deliver(2, seq, max(740*ms+int64(seq)*ms, int64(seq)*100*ms+ms))
		}
	}, verdict{duplicates: 1}},
	{"what a client missed while away, not recovered", strict, func(r *run) {
		r.lose(5, 6, 7, 8, 9, 10)
		r.add(Event{Kind: Disconnect, Client: "c", Session: 1, At: 450 * ms})
		r.connect("c", 2, "b", 750*ms, false)
		for seq := uint64(8); seq <= 10; seq++ {
			r.deliver(2, seq, int64(seq)*100*ms+5*ms)
		}
	}, verdict{}},
}

func TestCheckFindsBrokenPromisesAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := goodRun(10)
			tc.change(r)
			rand.Shuffle(len(r.events), func(i, j int) { r.events[i], r.events[j] = r.events[j], r.events[i] })
			rep := Check(r.events, tc.cfg)
			if got := verdictOf(rep); got != tc.want {
				t.Errorf("got %+v, want %+v\n%s%v", got, tc.want, rep, rep.Findings)
			}
		})
	}
}

// TestCheckFindsOneDamageInALongHistory damages a long good history at one place,
// any place.
func TestCheckFindsOneDamageInALongHistory(t *testing.T) {
	t.Parallel()
	const n = 200
	for seq := uint64(1); seq <= n; seq++ {
		r := goodRun(n)
		r.gap("b", int64(seq)*100*ms-40*ms, int64(seq)*100*ms-10*ms) // next to it
		r.lose(seq)
		if got, want := verdictOf(Check(r.events, Config{})), (verdict{missing: 1}); got != want {
			t.Fatalf("without message %d: got %+v", seq, got)
		}
	}
}

func TestReportCountsAndTells(t *testing.T) {
	t.Parallel()
	r := goodRun(10)
	r.lose(5)
	r.gap("x", 1, 2)
	r.add(Event{Kind: Fault, Reason: "kill"})
	rep := Check(r.events, strict)
	if rep.Emitted != 10 || rep.Due != 10 || rep.Delivered != 9 || rep.Gaps["connection"] != 1 || rep.Faults["kill"] != 1 {
		t.Errorf("%+v", rep)
	}
	sum := &Report{}
	sum.Add(rep)
	sum.Add(rep)
	if sum.Emitted != 20 || len(sum.Findings) != 2 || !reflect.DeepEqual(sum.Faults, map[string]int{"kill": 2}) {
		t.Errorf("sum %+v", sum)
	}
	text := sum.String()
	for _, want := range []string{"missing outside gaps", "kill 2", "connection 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := rep.Findings[0].String(); got != "missing outside gaps: message 5 of a/all at client c, at 500ms" {
		t.Error(got)
	}
}

func TestWriteExcerptKeepsToTheFinding(t *testing.T) {
	t.Parallel()
	r := goodRun(200)
	r.lose(100)
	r.add(Event{Kind: Connect, Client: "other", At: 9000 * ms})
	rep := Check(r.events, strict)
	var b strings.Builder
	if err := WriteExcerpt(&b, r.events, rep.Findings[0]); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for want, there := range map[string]bool{
		"# missing outside gaps: message 100": true, `"kind":"emit","node":"a","emitter":"a/all","seq":100,`: true,
		`"kind":"deliver","emitter":"a/all","seq":101,`: true, `"seq":140,`: false, `"client":"other"`: false,
	} {
		if strings.Contains(text, want) != there {
			t.Errorf("%q is there: %v, want %v, in\n%s", want, !there, there, text)
		}
	}
}

func TestLogIsACopy(t *testing.T) {
	t.Parallel()
	var l Log
	l.Add(Event{Seq: 1})
	events := l.Events()
	l.Add(Event{Seq: 2})
	if len(events) != 1 || len(l.Events()) != 2 {
		t.Errorf("%v, %v", events, l.Events())
	}
}
