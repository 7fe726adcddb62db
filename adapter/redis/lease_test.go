package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// victimEnv makes the test binary a node that serves until it is killed: variant,
// address and key.
const victimEnv = "SOCKETIO_TEST_VICTIM"

func TestVictim(t *testing.T) {
	args := strings.Fields(os.Getenv(victimEnv))
	if len(args) != 3 {
		return // only a process for the test below
	}
	p := openVariant(t, args[0], goredis.NewClient(&goredis.Options{Addr: args[1]}),
		Options{Key: args[2], Logger: slog.New(slog.DiscardHandler)})
	if _, err := p.Open(context.Background(), adaptertest.NewHost("/", "victim")); err != nil {
		t.Fatal(err)
	}
	fmt.Println("VICTIM READY")
	select {}
}

// A host of adaptertest never answers server-side emits by itself, so that the
// request is pending when the process dies.
func TestAKilledProcessEndsTheWait(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"classic", "sharded", "streams"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
			p := openVariant(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), Options{
				Key: key, Logger: slog.New(slog.DiscardHandler),
				Cluster: cluster.Options{RequestsTimeout: 2 * patience, Lease: 2 * time.Second},
			})
			t.Cleanup(func() { _ = p.Close(context.Background()) })
			a, err := p.Open(t.Context(), adaptertest.NewHost("/", "survivor"))
			if err != nil {
				t.Fatal(err)
			}
			kill := startVictim(t, variant+" "+addr+" "+key)
			poll(t, "the victim is counted", func() bool { n, _ := a.ServerCount(t.Context()); return n == 2 })
			poll(t, "the victim is known by name", func() bool { return p.Stats().Received[cluster.InitialHeartbeat] > 0 })
			seq := a.ServerSideEmitWithAck(t.Context(), packetOf(`["q"]`))
			kill()
			for _, err = range seq {
			}
			var partial *adapter.PartialError
			if !errors.As(err, &partial) || !errors.Is(err, cluster.ErrNodeLost) || errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the wait ended with %v", err)
			}
			if len(partial.Nodes) != 1 || !strings.HasPrefix(partial.Nodes[0], "victim/") {
				t.Errorf("%v does not name the victim", err)
			}
		})
	}
}

// startVictim runs a victim and returns what kills it with -9.
func startVictim(t *testing.T, args string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), victimEnv+"="+args)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill() // SIGKILL
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "VICTIM READY" {
			return kill
		}
	}
	t.Fatal("the victim did not start")
	return nil
}

func TestMetaCrossesRedis(t *testing.T) {
	t.Parallel()
	meta := adapter.Meta{Key: "price EUR", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	for _, off := range []bool{false, true} {
		for _, variant := range []string{"classic", "sharded", "streams"} {
			t.Run(fmt.Sprint(variant, " without extensions ", off), func(t *testing.T) {
				t.Parallel()
				addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
				o := Options{Key: key, Cluster: cluster.Options{NoExtensions: off}}
				a := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), o, "/", "a")
				b := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), o, "/", "b")
				p := packetOf(`["e",1]`)
				p.Meta = meta
				if err := a.a.Broadcast(p, adapter.Target{}); err != nil {
					t.Fatal(err)
				}
				poll(t, "the event arrives", func() bool { return len(b.sock.Received()) == 1 })
				want := meta
				if off {
					want = adapter.Meta{}
				}
				if got := b.sock.Received()[0].Packet; got.Meta != want || string(got.Data) != `["e",1]` {
					t.Errorf("arrived as %s with %+v", got.Data, got.Meta)
				}
			})
		}
	}
}

// The wires of envelopes have no request for rooms.
func TestAllRoomsOnEveryWire(t *testing.T) {
	t.Parallel()
	for _, variant := range []string{"classic", "sharded", "streams"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			addr, key := testutil.SharedRedis(t).Addr(), testutil.Prefix(t)
			a := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), Options{Key: key}, "/", "a")
			b := startWith(t, variant, goredis.NewClient(&goredis.Options{Addr: addr}), Options{Key: key}, "/", "b")
			b.a.Join(b.sock, "only there")
			rooms, err := a.a.(adapter.RoomLister).AllRooms(t.Context())
			if slices.Sort(rooms); err != nil || !slices.Equal(rooms, []string{"a", "all", "b", "only there"}) {
				t.Errorf("%q, %v", rooms, err)
			}
		})
	}
}
