package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

// group dials the one of its servers that is the master, as the dialer of a client
// of Sentinel does.
type group struct {
	addrs  []string
	master atomic.Int32
}

func (g *group) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, g.addrs[g.master.Load()])
}

// client returns what NewFailoverClient would.
func (g *group) client() *goredis.Client {
	return goredis.NewClient(&goredis.Options{Addr: failoverAddr, Dialer: g.dial})
}

// newListeners returns a group whose servers take connections and say nothing.
func newListeners(t *testing.T) *group {
	t.Helper()
	g := new(group)
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		g.addrs = append(g.addrs, ln.Addr().String())
	}
	return g
}

func dialMaster(t *testing.T, m *masters) net.Conn {
	t.Helper()
	c, err := m.dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// closed reports whether a connection was closed on this side.
func closed(c net.Conn) bool { return errors.Is(c.SetDeadline(time.Time{}), net.ErrClosed) }

func TestANewMasterEndsAllConnectionsToTheOld(t *testing.T) {
	t.Parallel()
	g := newListeners(t)
	m := watchMasters(g.dial)
	t.Cleanup(m.close)
	gaps := make(chan Gap, 1)
	m.report(func(gap Gap) { gaps <- gap })
	before := time.Now()
	old := []net.Conn{dialMaster(t, m), dialMaster(t, m)}
	g.master.Store(1) // nobody dials: it has to be noticed all the same
	select {
	case gap := <-gaps:
		if gap.Kind != GapFailover || gap.From.After(before.Add(masterEvery)) || gap.To.Before(gap.From) {
			t.Errorf("%+v", gap)
		}
	case <-time.After(patience):
		t.Fatal("the new master was not noticed")
	}
	for _, c := range old {
		if !closed(c) {
			t.Error("a connection to the old master is open")
		}
	}
	c := dialMaster(t, m)
	if closed(c) || c.RemoteAddr().String() != g.addrs[1] {
		t.Errorf("the new connection leads to %v", c.RemoteAddr())
	}
}

// A connection that was on its way to the old master when another one had found the
// new does not lead back.
func TestASlowConnectionToTheOldMasterIsRefused(t *testing.T) {
	t.Parallel()
	g := newListeners(t)
	var others atomic.Bool
	asked, goOn := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := g.dial(ctx, network, addr)
		if !others.Swap(true) {
			close(asked)
			<-goOn
		}
		return c, err
	}
	m := &masters{connect: slow, conns: make(map[*masterConn]struct{})}
	failed := make(chan error, 1)
	go func() {
		_, err := m.dial(context.Background(), "tcp", "")
		failed <- err
	}()
	<-asked
	g.master.Store(1)
	c := dialMaster(t, m)
	close(goOn)
	if err := <-failed; !errors.Is(err, errOldMaster) {
		t.Errorf("error %v", err)
	}
	if closed(c) {
		t.Error("the connection to the new master was closed")
	}
	c.Close()
	if len(m.conns) != 0 {
		t.Errorf("%d connections are remembered", len(m.conns))
	}
}

// Two servers share the begin of a stream. A reader of the first has read on there
// when the second becomes the master: it goes back to where they parted.
func TestAReaderGoesBackToWhereStreamsParted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                string
		first, second, want []string // id=content
	}{
		{"entries with smaller ids", []string{"1=a", "2=b", "5=c", "9=d"}, []string{"1=a", "2=b", "4=x", "9=y", "10=z"}, []string{"4=x", "9=y", "10=z"}},
		{"the same id for another entry", []string{"1=a", "2=b", "3=c"}, []string{"1=a", "2=b", "3=x"}, []string{"3=x"}},
		{"an end before the last entry", []string{"1=a", "2=b", "8=c", "9=d"}, []string{"1=a", "2=b", "6=x"}, []string{"6=x"}},
		{"nothing in common", []string{"1=a", "2=b", "3=c"}, []string{"2=x", "7=y"}, []string{"2=x", "7=y"}},
		{"all in common", []string{"1=a", "2=b"}, []string{"1=a", "2=b", "3=c"}, []string{"3=c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := new(group)
			for _, entries := range [][]string{tt.first, tt.second} {
				s := testutil.LocalRedis(t)
				g.addrs = append(g.addrs, s.Addr())
				for _, e := range entries {
					var id, text string
					if _, err := fmt.Sscanf(e, "%1s=%s", &id, &text); err != nil {
						_, _ = fmt.Sscanf(e, "%2s=%s", &id, &text)
					}
					s.CLI(t, "xadd", "s", id+"-0", "nsp", "/", "data", text)
				}
			}
			r := startReader(t, g.client(), "s")
			for range tt.first {
				r.next(t)
			}
			g.master.Store(1)
			for _, want := range tt.want {
				if got := r.next(t); got != want {
					t.Fatalf("read %s, want %s", got, want)
				}
			}
			select {
			case gap := <-r.gaps:
				if tt.name == "all in common" || gap.Kind != GapRewound {
					t.Errorf("gap %+v", gap)
				}
			default:
				if tt.name != "all in common" {
					t.Error("no gap")
				}
			}
		})
	}
}

// reading is a streamReader under test, which begins before the first entry.
type reading struct {
	entries chan streamEntry
	gaps    chan Gap
}

func startReader(t *testing.T, client goredis.UniversalClient, key string) *reading {
	t.Helper()
	t.Cleanup(func() { client.Close() })
	l, err := newLink(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	out := &reading{entries: make(chan streamEntry), gaps: make(chan Gap, 10)}
	o, err := (&StreamsOptions{Options: Options{OnGap: func(g Gap) { out.gaps <- g }}}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	o.OnGap = func(g Gap) { out.gaps <- g }
	r := newStreamReader(l, key, &o, func(ctx context.Context, e streamEntry) error {
		select {
		case out.entries <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	r.known, r.lastOK = true, time.Now()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return out
}

func (r *reading) next(t *testing.T) string {
	t.Helper()
	select {
	case e := <-r.entries:
		id, err := parseStreamID(e.id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d=%s", id.ms, e.data)
	case <-time.After(patience):
		t.Fatal("no entry arrived")
		return ""
	}
}
