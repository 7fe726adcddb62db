package nats

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// nodeEnv turns this binary into one node of a cluster, whose adapter URL it holds.
const nodeEnv = "SOCKETFLEET_NATS_CHILD"

// nodeChild serves, and emits all the time, until it is killed or its parent ends.
func nodeChild(adapterURL string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	srv, err := core.New(ctx, &core.Options{
		AdapterURL: adapterURL, MaxQueueBytes: 16 << 20, Recovery: &core.RecoveryOptions{MaxReplayPackets: -1},
	})
	if err != nil {
		return err
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("red") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(ln, srv) }()
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		for n := 0; ; n++ {
			<-tick.C
			_ = srv.To("red").Emit("tick", os.Getpid(), n) // an outage may refuse it
		}
	}()
	fmt.Println(ln.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the parent has gone
	return nil
}

// child is a node in a process of its own.
type child struct {
	url string
	cmd *exec.Cmd
}

func startChild(t *testing.T, adapterURL string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), nodeEnv+"="+adapterURL)
	c.cmd.Stderr = os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c.url = "http://" + strings.TrimSpace(line)
	return c
}

// listener is a client of a child and what it got.
type listener struct {
	*testutil.Client
	t   *testing.T
	got []string
}

// listen connects a client; auth is what it comes back with.
func (c *child) listen(t *testing.T, auth any) *listener {
	t.Helper()
	return &listener{t: t, Client: testutil.MustDial(t, c.url, testutil.ClientOptions{Transports: []string{"websocket"}, Auth: auth})}
}

// read takes n events.
func (l *listener) read(n int) *listener {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range n {
		a, err := l.Next(ctx, "tick")
		if err != nil {
			l.t.Fatal(err)
		}
		l.got = append(l.got, fmt.Sprintf("%.0f %.0f", a.At(0), a.At(1)))
	}
	return l
}

// back is the client on another node, which must recover it.
func (l *listener) back(c *child, auth map[string]string) *listener {
	l.t.Helper()
	again := c.listen(l.t, auth)
	if again.PID() != auth["pid"] || again.ID() != l.ID() {
		l.t.Fatalf("the client of socket %s was not recovered", l.ID())
	}
	return again
}

// Three processes emit without a pause to one room. The node of two clients is
// killed; they come back to another one. One got all events before, the other has
// lost all it was sent, and has only its pid. Together with what they missed and what
// came after, they have what a client of a third node got, in that order.
func TestClientsOfAKilledNodeMissNothing(t *testing.T) {
	t.Parallel()
	adapterURL := strings.Replace(testutil.JetStream(t).URL, "nats://", "nats+jetstream://", 1)
	doomed, other, third := startChild(t, adapterURL), startChild(t, adapterURL), startChild(t, adapterURL)
	watcher := third.listen(t, nil).read(50)

	reader, deaf := doomed.listen(t, nil), doomed.listen(t, nil)
	deafPID := deaf.PID()
	reader.read(300)
	pid := reader.PID()
	if err := doomed.cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := reader.WaitDisconnect(ctx); err != nil {
		t.Fatal(err)
	}
	for range reader.Pending() { // what had arrived before
		reader.read(1)
	}
	offset := reader.Offset()
	watcher.read(500)

	again := reader.back(other, map[string]string{"pid": pid, "offset": offset}).read(1000)
	silent := deaf.back(other, map[string]string{"pid": deafPID}).read(1300)
	reader.got = append(reader.got, again.got...)
	last := reader.got[len(reader.got)-1]
	for n := 0; !slices.Contains(watcher.got, last) && n < 100; n++ {
		watcher.read(100)
	}
	sameTail(t, "the client that had read", reader.got, watcher.got)
	sameTail(t, "the client that had read nothing", silent.got, watcher.got)
}

// sameTail checks that got is a part of log without a hole or a repetition. The log
// may end earlier, but not before events of after the kill.
func sameTail(t *testing.T, who string, got, log []string) {
	t.Helper()
	at := slices.Index(log, got[0])
	if at < 0 {
		t.Fatalf("%s got %q first, which the watcher did not get", who, got[0])
	}
	n := min(len(got), len(log)-at)
	for i := range n {
		if got[i] != log[at+i] {
			t.Fatalf("%s: event %d is %q, want %q", who, i, got[i], log[at+i])
		}
	}
	if n < 1000 {
		t.Errorf("only %d events were compared", n)
	}
}
