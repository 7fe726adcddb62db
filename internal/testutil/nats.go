package testutil

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const natsStartTimeout = 20 * time.Second

const noNATS = `no NATS for this test: install nats-server and put it in PATH (apt-get install nats-server)`

// NATSServer is a nats-server process for tests.
type NATSServer struct {
	// URL of the server, as nats.Connect takes it.
	URL string

	addr string
	args []string

	mu    sync.Mutex
	pid   int
	stdin io.Closer // closing it makes the keeper kill the server
	wait  func() error
}

// NATS returns a server of the test's own, without JetStream. args are more flags
// for it. Without a nats-server binary the test fails. It is stopped when the test
// ends.
func NATS(tb testing.TB, args ...string) *NATSServer {
	tb.Helper()
	var errs []error
	for range 3 { // another process may take the port first
		port, err := freePort()
		if err != nil {
			tb.Fatalf("testutil: %v", err)
		}
		s := &NATSServer{addr: "127.0.0.1:" + strconv.Itoa(port), args: args}
		s.URL = "nats://" + s.addr
		if err = s.start(); err == nil {
			tb.Cleanup(s.stop)
			return s
		}
		errs = append(errs, err)
	}
	tb.Fatalf("testutil: start nats-server: %v\n%s", errors.Join(errs...), noNATS)
	return nil
}

// JetStream is NATS with JetStream, whose files are in the test's temporary
// directory: they outlive Kill and Restart.
func JetStream(tb testing.TB, args ...string) *NATSServer {
	tb.Helper()
	return NATS(tb, append([]string{"-js", "-sd", filepath.Join(tb.TempDir(), "js")}, args...)...)
}

// NATSCluster returns n servers that forward to each other.
func NATSCluster(tb testing.TB, n int) []*NATSServer {
	tb.Helper()
	return natsCluster(tb, n, func(int) []string { return nil })
}

// JetStreamCluster is NATSCluster with JetStream. It takes a while until it works.
func JetStreamCluster(tb testing.TB, n int) []*NATSServer {
	tb.Helper()
	dir := tb.TempDir()
	return natsCluster(tb, n, func(i int) []string {
		name := "s" + strconv.Itoa(i)
		return []string{"-n", name, "-js", "-sd", filepath.Join(dir, name)}
	})
}

// natsCluster starts servers with more flags for each.
func natsCluster(tb testing.TB, n int, args func(i int) []string) []*NATSServer {
	tb.Helper()
	name, routes := "c"+rand.Text()[:8], make([]string, n)
	for i := range routes {
		port, err := freePort()
		if err != nil {
			tb.Fatalf("testutil: %v", err)
		}
		routes[i] = "nats://127.0.0.1:" + strconv.Itoa(port)
	}
	list := make([]*NATSServer, n)
	for i := range list {
		list[i] = NATS(tb, append([]string{"--cluster_name", name, "--cluster", routes[i],
			"--routes", strings.Join(routes, ","), "--no_advertise"}, args(i)...)...)
	}
	return list
}

func (s *NATSServer) start() error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	bin, err := exec.LookPath("nats-server")
	if err != nil {
		bin = "/usr/sbin/nats-server" // Debian's, which is not in every user's PATH
	}
	args := append([]string{"-c", keeper, "sh", bin, "-a", "127.0.0.1", "-p", port}, s.args...)
	cmd := exec.Command("sh", args...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.stdin, s.wait = stdin, cmd.Wait
	_, err = fmt.Fscan(bufio.NewReader(stdout), &s.pid)
	s.mu.Unlock()
	if err == nil {
		err = s.ready(true)
	}
	if err != nil {
		s.stop()
	}
	return err
}

// ready waits until the server greets, or until it does not any more.
func (s *NATSServer) ready(want bool) error {
	deadline := time.Now().Add(natsStartTimeout)
	for time.Now().Before(deadline) {
		if greets(s.addr) == want {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("nats-server on %s: want it up %v, and it is not after %v", s.addr, want, natsStartTimeout)
}

func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	line, _ := bufio.NewReader(c).ReadString('\n')
	return strings.HasPrefix(line, "INFO ")
}

// Addr returns the server's host and port.
func (s *NATSServer) Addr() string { return s.addr }

// Kill ends the server at once, as a crash does.
func (s *NATSServer) Kill(tb testing.TB) {
	tb.Helper()
	s.stop()
	if err := s.ready(false); err != nil {
		tb.Fatalf("testutil: kill: %v", err)
	}
}

// Restart starts the server again on the same port; a running one is killed
// first.
func (s *NATSServer) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill(tb)
	if err := s.start(); err != nil {
		tb.Fatalf("testutil: restart: %v", err)
	}
}

// Pause stops the process: connections stay open and nothing answers.
func (s *NATSServer) Pause(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGSTOP)
}

// Resume ends Pause.
func (s *NATSServer) Resume(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}

func (s *NATSServer) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin == nil {
		tb.Fatal("testutil: the nats-server is not running")
	}
	if err := syscall.Kill(s.pid, sig); err != nil {
		tb.Fatalf("testutil: signal nats-server: %v", err)
	}
}

// stop makes the keeper kill the server, and waits for both.
func (s *NATSServer) stop() {
	s.mu.Lock()
	stdin, wait := s.stdin, s.wait
	s.stdin, s.pid = nil, 0
	s.mu.Unlock()
	if stdin != nil {
		stdin.Close()
		_ = wait()
	}
}
