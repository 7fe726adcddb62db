package wire

import (
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

func TestExtensionsComeBack(t *testing.T) {
	t.Parallel()
	x := cluster.Ext{Version: 1, Epoch: 1<<48 - 2, Seq: 1 << 40, Scope: cluster.ScopeRoom}
	sent := x
	sent.Sent = 1_790_000_000_123_456
	beat := x
	beat.Name, beat.Every = "web 1", 5*time.Second
	withMeta := packet(`["e",1]`)
	withMeta.Meta = adapter.Meta{Key: "a b\"ü", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	for _, m := range []*cluster.Message{
		{Kind: cluster.Heartbeat, Ext: beat},
		{Kind: cluster.AdapterClose, Ext: x},
		{Kind: cluster.Broadcast, Packet: withMeta, Ext: x},
		{Kind: cluster.Broadcast, Packet: withMeta, Ext: sent},
		{Kind: cluster.ServerSideEmit, Packet: packet(`["e"]`), Ext: sent},
		{Kind: cluster.ServerSideEmit, Packet: packet(`["e"]`), Ext: x},
	} {
		m.From, m.Namespace = self, "/"
		for name, enc := range map[string]func([]byte, *cluster.Message) ([]byte, error){"JSON": Append, "MessagePack": AppendPacked} {
			b, err := enc(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Decode(b)
			if err != nil || back.Ext != m.Ext {
				t.Fatalf("%v as %s: %+v, %v", m.Kind, name, back, err)
			}
			if m.Packet != nil && (back.Packet.Meta != m.Packet.Meta || string(back.Packet.Data) != string(m.Packet.Data)) {
				t.Errorf("%v as %s: %+v", m.Kind, name, back.Packet)
			}
		}
		if tail, ok := ReadTail(Ext(m)); !ok || tail != x {
			t.Errorf("the tail is %+v", tail)
		}
	}
}

func TestForeignExtensionsDoNoHarm(t *testing.T) {
	t.Parallel()
	good := Ext(&cluster.Message{Kind: cluster.AdapterClose, Ext: cluster.Ext{Version: 1, Epoch: 5, Seq: 7}})
	for in, want := range map[string]cluster.Ext{
		"":                                  {},
		"1":                                 {},
		"!!!!!!!!!!!!!!!!11":                {},
		good[:len(good)-1] + "x":            {},
		"anything" + good:                   {Version: 1, Epoch: 5, Seq: 7},
		"new {}" + good[:len(good)-1] + "9": {Version: 9, Epoch: 5, Seq: 7},
	} {
		m := &cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["e"]`)}
		if ReadExt(m, in); m.Ext != want {
			t.Errorf("%q gave %+v", in, m.Ext)
		}
		if want.Version == 9 && m.Packet.Meta != (adapter.Meta{}) {
			t.Errorf("the text of an unknown version was read: %+v", m.Packet.Meta)
		}
	}
}

func TestTimesThatAreNoneAreNotRead(t *testing.T) {
	t.Parallel()
	const day = 1_790_000_000_123_456
	good := string(appendSent(nil, day))
	for in, want := range map[string]struct {
		rest string
		us   int64
	}{
		good:              {"", day},
		"trace" + good:    {"trace", day},
		"":                {"", 0},
		"@":               {"@", 0},
		good[1:]:          {good[1:], 0},
		good[:11]:         {good[:11], 0},
		good + "0":        {good + "0", 0},
		good[:11] + "V":   {good[:11] + "V", 0},
		"@vvvvvvvvvvv":    {"", 1<<55 - 1},
		"a@b" + good + "": {"a@b", day},
	} {
		if rest, us := cutSent(in); rest != want.rest || us != want.us {
			t.Errorf("%q = %q, %d; want %q, %d", in, rest, us, want.rest, want.us)
		}
	}
}

func TestTypesOfTheFutureAreTakenAndSayNothing(t *testing.T) {
	t.Parallel()
	m, err := Decode([]byte(`{"type":99,"data":7,"uid":"u","nsp":"/"}`))
	if err != nil || m.Kind != 0 || m.From != "u" || m.Namespace != "/" {
		t.Errorf("%+v, %v", m, err)
	}
}

func BenchmarkExt(b *testing.B) {
	m := &cluster.Message{Kind: cluster.Broadcast, Packet: packet(`["e"]`), Ext: cluster.Ext{Version: 1, Epoch: 5, Seq: 7, Sent: 1_790_000_000_123_456}}
	var back cluster.Message
	b.ReportAllocs()
	for b.Loop() {
		back.Packet = m.Packet
		ReadExt(&back, Ext(m))
	}
}
