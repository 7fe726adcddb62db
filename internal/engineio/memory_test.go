package engineio

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

const (
	childEnv    = "ENGINEIO_MEMORY_CHILD"
	withDeflate = "deflate" // its value
)

// memory is what the child process reports.
type memory struct {
	HeapInuse, HeapAlloc, StackInuse uint64
	Goroutines, Sessions             int
}

type sink struct{}

func (sink) Text([]byte)          {}
func (sink) Binary([]byte)        {}
func (sink) Closed(Reason, error) {}

// memoryChild serves sessions until its standard input ends, so that the clients
// of the measurement take memory elsewhere.
func memoryChild() {
	var opts Options
	if os.Getenv(childEnv) == withDeflate {
		opts.Deflate = new(DeflateOptions)
	}
	srv, err := NewServer(opts, func(*Session) Receiver { return sink{} })
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/mem", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(measure(srv))
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = http.Serve(ln, mux) }()
	fmt.Println(ln.Addr())
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func measure(srv *Server) memory {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return memory{ms.HeapInuse, ms.HeapAlloc, ms.StackInuse, runtime.NumGoroutine(), srv.Stats().Sessions}
}

// An idle WebSocket session may cost 10 KiB of Go memory, the reader's stack and
// the copy of a browser's request headers included.
func TestIdleWebSocketMemory(t *testing.T) { testIdleMemory(t, "1") }

// With permessage-deflate, which these clients negotiate, it may cost no more.
func TestIdleDeflateMemory(t *testing.T) { testIdleMemory(t, withDeflate) }

func testIdleMemory(t *testing.T, mode string) {
	const n, ceiling = 2000, 10 << 10
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait()
	}()
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = addr[:len(addr)-1]

	for range 100 { // what the first connections cost once
		dialIdle(t, addr).Close()
	}
	before := childMemory(t, addr, 0)
	for range n {
		c := dialIdle(t, addr)
		defer c.Close()
	}
	after := childMemory(t, addr, n)
	heap := float64(after.HeapInuse-before.HeapInuse) / n
	stack := (float64(after.StackInuse) - float64(before.StackInuse)) / n
	live := float64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("per idle session: heap %.0f B (%.0f B live), stack %.0f B, %.2f goroutines",
		heap, live, stack, float64(after.Goroutines-before.Goroutines)/n)
	if heap+stack > ceiling && !raceEnabled {
		t.Errorf("%.0f bytes, want at most %d", heap+stack, ceiling)
	}
}

// dialIdle is a browser's handshake on a bare connection.
func dialIdle(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(wait))
	fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\n%s\r\n", addr, addr, browserHeaders)
	buf := make([]byte, 1024)
	for got := ""; ; {
		k, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got += string(buf[:k]); got[len(got)-1] == '}' { // the open packet
			return c
		}
	}
}

const browserHeaders = "Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

func childMemory(t *testing.T, addr string, sessions int) memory {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		resp, err := http.Get("http://" + addr + "/mem")
		if err != nil {
			t.Fatal(err)
		}
		var m memory
		err = json.NewDecoder(resp.Body).Decode(&m)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if m.Sessions == sessions {
			http.DefaultClient.CloseIdleConnections()
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions, want %d", m.Sessions, sessions)
		}
	}
}
