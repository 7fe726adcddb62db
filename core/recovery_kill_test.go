package core_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// nodeEnv turns this binary into one node of a cluster, whose adapter URL it holds.
const nodeEnv = "SOCKETFLEET_NODE_CHILD"

// nodeChild serves, and emits all the time, until it is killed or its parent ends.
func nodeChild(adapterURL string) {
	srv, err := core.New(context.Background(), &core.Options{
		AdapterURL: adapterURL, MaxQueueBytes: 16 << 20, Recovery: &core.RecoveryOptions{MaxReplayPackets: -1},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("red") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { _ = http.Serve(ln, srv) }()
	go func() {
		for n := range 1 << 30 {
			_ = srv.To("red").Emit("tick", os.Getpid(), n)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	fmt.Println(ln.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // the parent has gone
	os.Exit(0)
}

// child is a node in a process of its own.
type child struct {
	rig
	cmd *exec.Cmd
}

func startNodeChild(t *testing.T, adapterURL string) *child {
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

// Three processes emit without a pause to one room. The node of two clients is
// killed; they come back to another one. One got all events before, the other has
// lost all it was sent. Together with what they missed and what came after, they
// have what a client of a third node got, in that order.
func TestClientsOfAKilledNodeMissNothing(t *testing.T) {
	t.Parallel()
	adapterURL := streamsURL(t)
	doomed, other := startNodeChild(t, adapterURL), startNodeChild(t, adapterURL)
	third := start(t, &core.Options{AdapterURL: adapterURL, Recovery: &core.RecoveryOptions{}})
	third.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("red") })

	watcher, wk := third.arrive(t)
	third.joined(t, wk.SID)
	next := func() string { return wk.note(t, read(t, watcher)) }
	next()

	reader, k := doomed.arrive(t)
	_, deaf := doomed.arrive(t)
	var got []string
	for range 300 {
		got = append(got, k.note(t, read(t, reader)))
	}
	if err := doomed.cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	var log []string // what the client of the third node got
	for len(log) == 0 || log[len(log)-1] != "end of the outage" {
		log = append(log, next())
		if len(log) == 500 {
			emitTo(t, third, "red", "end of the outage")
		}
	}

	reader, missed := other.returned(t, &k)
	got = append(got, missed...)
	var none []string
	silent, none := other.returned(t, &deaf)
	for range 200 {
		got = append(got, k.note(t, read(t, reader)))
		none = append(none, deaf.note(t, read(t, silent)))
	}
	for n := 0; n < 3000 && (log[len(log)-1] != got[len(got)-1] || n == 0); n++ {
		log = append(log, next())
	}
	sameTail(t, "the client that had read", got, log)
	sameTail(t, "the client that had read nothing", none, log)
	t.Logf("%d events missed and replayed, %d for the client that had read nothing", len(missed), len(none)-200)
}

// sameTail checks that got is a part of log without a hole or a repetition, and
// long enough to prove something.
func sameTail(t *testing.T, who string, got, log []string) {
	t.Helper()
	at := -1
	for i, e := range log {
		if e == got[0] {
			at = i
		}
	}
	if len(got) < 500 || at < 0 {
		// The watcher came earlier: it saw all the client did.
		t.Fatalf("%s got %d events beginning with %q, which is event %d of the log", who, len(got), got[0], at)
	}
	for i, e := range got {
		if at+i >= len(log) {
			break
		}
		if e != log[at+i] {
			t.Fatalf("%s: event %d is %q, want %q", who, i, e, log[at+i])
		}
	}
}
