package memory

import (
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
)

// A client's place in a log of 40 events, of which the first 10 have been
// dropped.
func TestWhereAClientResumes(t *testing.T) {
	t.Parallel()
	l := packetLog{epoch: "epoch_00"}
	var offsets []string
	for range 40 {
		p, _ := l.add(text("x"), adapter.Target{}, time.Time{})
		args := strings.Split(strings.Trim(string(p.Data), `[]`), ",")
		offsets = append(offsets, strings.Trim(args[1], `"`))
	}
	l.trim(30, 0, time.Time{})
	offset := func(n int) adapter.Offset { return offsets[n-1] }
	for _, c := range []struct {
		name    string
		session session
		offset  adapter.Offset
		from    uint64
		fails   bool
	}{
		{"it has all it was sent", session{sent: sent{first: 3, last: 20}, head: 30}, offset(20), 30, false},
		{"it has all it was sent, which is long ago", session{sent: sent{first: 3, last: 5}, head: 30}, offset(5), 30, false},
		{"something was lost on the way", session{sent: sent{first: 3, last: 20}, head: 30}, offset(15), 15, false},
		{"something from a room it left was lost", session{sent: sent{first: 3, last: 20, left: 17}, head: 30}, offset(15), 0, true},
		{"it left a room before", session{sent: sent{first: 3, last: 20, left: 15}, head: 30}, offset(15), 15, false},
		{"it was sent something before it was a member", session{head: 30}, offset(29), 30, false},
		{"it was sent nothing", session{head: 30}, "", 30, false},
		{"it got nothing of what it was sent", session{sent: sent{first: 12, last: 20}, head: 30}, "", 11, false},
		{"it got nothing, perhaps from a room it left", session{sent: sent{first: 12, last: 20, left: 12}, head: 30}, "", 0, true},
		{"it left a room before it was sent anything", session{sent: sent{first: 12, last: 20, left: 0}, head: 30}, "", 11, false},
		{"its last recovery died", session{sent: sent{first: 31, last: 33}, head: 35, had: 5, from: 30}, offset(5), 30, false},
		{"an offset from the future", session{head: 30}, "epoch_00.15", 0, true}, // 41
		{"an offset of another log", session{head: 30}, "epoch_01.1", 0, true},
	} {
		from, _, ok := c.session.start(&l, c.offset)
		if from != c.from || ok == c.fails {
			t.Errorf("%s: resumes behind %d, %v; want %d, %v", c.name, from, ok, c.from, !c.fails)
		}
	}
	for n, whole := range map[uint64]bool{9: false, 10: true, 40: true} {
		if _, ok := l.missed(n, nil, 0, 0); ok != whole {
			t.Errorf("the events behind %d are complete: %v, want %v", n, ok, whole)
		}
	}
}

// A client that gets nothing new presents the same offset every time.
func TestOldOffsetServesEveryRecovery(t *testing.T) {
	t.Parallel()
	a := open(t, adapter.Recovery{Window: time.Hour, MaxPackets: 2})
	c := &traveler{id: "s", pid: "p", s: adaptertest.NewSocket("s")}
	a.Join(c.s, "s")
	broadcast := func(rooms ...adapter.Room) {
		if err := a.Broadcast(text("x"), adapter.Target{Rooms: rooms}); err != nil {
			t.Fatal(err)
		}
	}
	broadcast()
	for range 4 {
		for range 5 {
			broadcast("elsewhere")
		}
		c.take(0)
		a.Save(c.s, adapter.Session{ID: c.id, PID: c.pid})
		a.LeaveAll(c.s)
		claim, err := a.Claim(t.Context(), c.pid, c.offset())
		if err != nil {
			t.Fatal(err)
		}
		c.s, c.taken = adaptertest.NewSocket(c.id), 0
		if err := claim.Resume(c.s, func() {}, c.id); err != nil {
			t.Fatal(err)
		}
		claim.Confirm()
	}
}
