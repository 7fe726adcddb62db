package core_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/socketfleet/socketfleet/core"
)

const childEnv = "CORE_MEMORY_CHILD"

// footprint is what the child process reports.
type footprint struct {
	HeapInuse, HeapAlloc, StackInuse uint64
	Goroutines, Sockets              int
}

// memoryChild serves sockets until its standard input ends, so that the clients of
// the measurement take memory elsewhere.
func memoryChild() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		panic(err)
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error { return s.Join("everybody") })
	core.On(srv, "e", func(context.Context, *core.Socket, string) error { return nil })
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/mem", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(measure(srv)) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { _ = http.Serve(ln, mux) }()
	fmt.Println(ln.Addr())
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

func measure(srv *core.Server) footprint {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return footprint{ms.HeapInuse, ms.HeapAlloc, ms.StackInuse, runtime.NumGoroutine(), srv.Stats().Sockets}
}

// An idle socket over WebSocket may cost 10 KiB of Go memory: its session, the
// reader's stack, two rooms, and a copy of a browser's request headers.
func TestMemoryOfAnIdleSocket(t *testing.T) {
	const n, most = 1500, 10 << 10
	addr := startChild(t)
	for range 50 { // what the first connections cost once
		dialIdle(t, addr).Close()
	}
	before := childFootprint(t, addr, 0)
	for range n {
		c := dialIdle(t, addr)
		defer c.Close()
	}
	after := childFootprint(t, addr, n)
	per := func(a, b uint64) float64 { return (float64(a) - float64(b)) / n }
	heap, stack := per(after.HeapInuse, before.HeapInuse), per(after.StackInuse, before.StackInuse)
	t.Logf("per idle socket: heap %.0f B (%.0f B live), stack %.0f B, %.2f goroutines",
		heap, per(after.HeapAlloc, before.HeapAlloc), stack, float64(after.Goroutines-before.Goroutines)/n)
	if heap+stack > most && !raceEnabled {
		t.Errorf("%.0f bytes, want at most %d", heap+stack, most)
	}
}

func startChild(t *testing.T) (addr string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// dialIdle joins "/" with the headers of a browser.
func dialIdle(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/socket.io/?EIO=4&transport=websocket", http.Header{
		"Origin":          {"http://" + addr},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
		"Accept-Language": {"en-US,en;q=0.9,de;q=0.8"},
		"Accept-Encoding": {"gzip, deflate, br, zstd"},
		"Cache-Control":   {"no-cache"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(wait))
	_ = ws.WriteMessage(websocket.TextMessage, []byte("40"))
	for range 2 { // open and CONNECT
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

func childFootprint(t *testing.T, addr string, sockets int) (f footprint) {
	t.Helper()
	eventually(t, fmt.Sprint(sockets, " sockets are connected"), func() bool {
		resp, err := http.Get("http://" + addr + "/mem")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
			t.Fatal(err)
		}
		return f.Sockets == sockets
	})
	http.DefaultClient.CloseIdleConnections()
	return f
}
