package adaptertest_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/adapter/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunPassesTheReferenceAdapter(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{MaxNodes: 1, AllRooms: true, Nodes: func(testing.TB, int) []adapter.Provider {
		return []adapter.Provider{memory.NewProvider(memory.Options{})}
	}})
}

func TestASocketOwesItsAnswerUntilItCloses(t *testing.T) {
	t.Parallel()
	host, s := adaptertest.NewHost("/", "n"), adaptertest.NewSocket("s")
	var got []adapter.Reply
	d := host.DeliverWithAck(t.Context(), &adapter.Packet{}, adapter.Volatile, func(r adapter.Reply) { got = append(got, r) })
	if err := d.To(s); err != nil || s.Owes() != 1 || len(got) != 0 {
		t.Errorf("To: %v, %d owed, replies %v", err, s.Owes(), got)
	}
	s.Close()
	if len(got) != 1 || !errors.Is(got[0].Err, adaptertest.ErrGone) || s.Owes() != 0 {
		t.Errorf("after Close: replies %v, %d owed", got, s.Owes())
	}
	if err := d.To(s); !errors.Is(err, adaptertest.ErrGone) || d.Count() != 2 {
		t.Errorf("To after Close: %v, count %d", err, d.Count())
	}
	if r := s.Received(); len(r) != 1 || !r[0].Acked || !r[0].Flags.Has(adapter.Volatile) {
		t.Errorf("received %v", r)
	}
}
