package testutil

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Environment variables that say where tests find Redis.
const (
	// RedisEnv holds the URL of a running server; tests then use that one. Or it is
	// "container": then they use a container although there is a redis-server.
	RedisEnv = "SOCKETIO_TEST_REDIS"
	// RedisImageEnv holds the image to run where there is a Docker engine and no
	// redis-server. Default redis:7-alpine.
	RedisImageEnv = "SOCKETIO_TEST_REDIS_IMAGE"
)

const redisStartTimeout = 30 * time.Second

const noRedis = `no Redis for this test. Do one of these:
  - set ` + RedisEnv + ` to the URL of a running server (redis://127.0.0.1:6379/1)
  - install redis-server and put it in PATH (apt-get install redis-server)
  - start a Docker engine and run the tests with -tags docker`

// inContainer is the value of RedisEnv that asks for a container.
const inContainer = "container"

// Container starts a Redis server in a container and returns its URL and a
// function that stops it. Importing internal/testutil/container sets it, which test
// packages do under the build tag docker: the Docker client would make every test
// binary slow to build.
var Container func(ctx context.Context, image string) (url string, stop func(), err error)

// RedisServer is a Redis server for tests.
type RedisServer struct {
	// URL of the server, as redis.ParseURL takes it.
	URL string

	port int      // 0: not a process of ours
	args []string // more for redis-server; a configuration file comes first

	mu    sync.Mutex
	pid   int
	stdin io.Closer // closing it makes the keeper kill the server
	wait  func() error
}

// Redis returns a server of the test's own: the one RedisEnv names, which is
// shared, a local process, or a container. Without any the test fails. It is
// stopped when the test ends.
func Redis(tb testing.TB) *RedisServer {
	tb.Helper()
	if env := os.Getenv(RedisEnv); env != "" && env != inContainer {
		return fromEnv(tb, env)
	}
	if useBinary() {
		return LocalRedis(tb)
	}
	addr, stop := startContainer(tb)
	tb.Cleanup(stop)
	return &RedisServer{URL: addr}
}

func useBinary() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil && os.Getenv(RedisEnv) != inContainer
}

// RedisURL is the URL of Redis(tb).
func RedisURL(tb testing.TB) string {
	tb.Helper()
	return Redis(tb).URL
}

// LocalRedis returns a server that is a process of this machine, for tests that
// kill or pause it. Without a redis-server binary the test fails.
func LocalRedis(tb testing.TB) *RedisServer {
	tb.Helper()
	s, err := startRedis()
	if err != nil {
		tb.Fatalf("testutil: start redis-server: %v\n%s", err, noRedis)
	}
	tb.Cleanup(s.stop)
	return s
}

// LocalRedisWith is LocalRedis with more arguments for redis-server, which override
// those it has anyway.
func LocalRedisWith(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	return startRedisWith(tb, freePort, args...)
}

var shared struct {
	mu     sync.Mutex
	server *RedisServer
}

// SharedRedis returns one server for the whole test binary. Tests that use it
// keep apart by their key prefixes (see Prefix) and leave it running.
func SharedRedis(tb testing.TB) *RedisServer {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		return shared.server
	}
	if env := os.Getenv(RedisEnv); env != "" && env != inContainer {
		shared.server = fromEnv(tb, env)
	} else if useBinary() {
		var err error
		if shared.server, err = startRedis(); err != nil {
			tb.Fatalf("testutil: start redis-server: %v", err)
		}
	} else {
		addr, _ := startContainer(tb) // its reaper stops it after the binary has ended
		shared.server = &RedisServer{URL: addr}
	}
	return shared.server
}

// Prefix returns a key prefix no other test has.
func Prefix(tb testing.TB) string {
	return strings.NewReplacer("/", "-", " ", "_", "#", "").Replace(tb.Name()) + "-" + rand.Text()[:8]
}

func fromEnv(tb testing.TB, env string) *RedisServer {
	tb.Helper()
	u, err := url.Parse(env)
	if err != nil || u.Host == "" {
		tb.Fatalf("testutil: %s=%q is not a URL like redis://127.0.0.1:6379/1", RedisEnv, env)
	}
	return &RedisServer{URL: env}
}

func startContainer(tb testing.TB) (string, func()) {
	tb.Helper()
	if Container == nil {
		tb.Fatal("testutil: " + noRedis)
	}
	image := os.Getenv(RedisImageEnv)
	if image == "" {
		image = "redis:7-alpine"
	}
	addr, stop, err := Container(context.Background(), image)
	if err != nil {
		tb.Fatalf("testutil: start %s: %v\n%s", image, err, noRedis)
	}
	return addr, stop
}

func startRedis() (*RedisServer, error) {
	var errs []error
	for range 3 { // another process may take the port first
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s := &RedisServer{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port), port: port}
		if err = s.start(); err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// keeper runs a command until its own standard input ends, so that the server
// does not outlive a test binary that panics or is killed.
const keeper = `"$@" >/dev/null 2>&1 & pid=$!; echo $pid; cat >/dev/null; kill -9 $pid 2>/dev/null; wait`

func (s *RedisServer) start() error {
	args := []string{"-c", keeper, "sh", "redis-server"}
	more := s.args
	if len(more) > 0 && !strings.HasPrefix(more[0], "-") {
		args, more = append(args, more[0]), more[1:]
	}
	args = append(args, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", os.TempDir(), "--daemonize", "no")
	cmd := exec.Command("sh", append(args, more...)...)
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

// ready waits until the server answers, or until it does not any more.
func (s *RedisServer) ready(want bool) error {
	deadline := time.Now().Add(redisStartTimeout)
	for time.Now().Before(deadline) {
		if ping(s.Addr()) == want {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("redis-server on %s: want it up %v, and it is not after %v", s.Addr(), want, redisStartTimeout)
}

func ping(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(c, "PING\r\n")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return line == "+PONG\r\n"
}

// Addr returns the server's host and port.
func (s *RedisServer) Addr() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// Local reports whether the server is a process that Kill, Restart, Pause and
// Resume work on.
func (s *RedisServer) Local() bool { return s.port != 0 }

// Kill ends the server at once, as a crash does; what it held is lost. The test
// fails when the server is not a local process.
func (s *RedisServer) Kill(tb testing.TB) {
	tb.Helper()
	s.needLocal(tb)
	s.stop()
	if err := s.ready(false); err != nil {
		tb.Fatalf("testutil: kill: %v", err)
	}
}

// Restart starts the server again, empty, on the same port; a running one is
// killed first.
func (s *RedisServer) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill(tb)
	if err := s.start(); err != nil {
		tb.Fatalf("testutil: restart: %v", err)
	}
}

// Pause stops the process: connections stay open and nothing answers.
func (s *RedisServer) Pause(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGSTOP)
}

// Resume ends Pause.
func (s *RedisServer) Resume(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}

func (s *RedisServer) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.needLocal(tb)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin == nil {
		tb.Fatal("testutil: the redis-server is not running")
	}
	if err := syscall.Kill(s.pid, sig); err != nil {
		tb.Fatalf("testutil: signal redis-server: %v", err)
	}
}

func (s *RedisServer) needLocal(tb testing.TB) {
	tb.Helper()
	if !s.Local() {
		tb.Fatal("testutil: this test needs a redis-server process of its own: use LocalRedis")
	}
}

// stop makes the keeper kill the server, and waits for both.
func (s *RedisServer) stop() {
	s.mu.Lock()
	stdin, wait := s.stdin, s.wait
	s.stdin, s.pid = nil, 0
	s.mu.Unlock()
	if stdin != nil {
		stdin.Close()
		_ = wait()
	}
}
