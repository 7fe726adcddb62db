package child

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// Memory answers the command "mem". All sizes are in bytes.
type Memory struct {
	Heap        uint64 `json:"heap"`        // in use after a garbage collection
	Stack       uint64 `json:"stack"`       // stacks of goroutines
	Goroutines  int    `json:"goroutines"`  // 0 where there is no such thing
	Connections int    `json:"connections"` // as the server counts them
}

// Main serves h on a free port of 127.0.0.1 until standard input ends, which it
// does at the latest when the parent dies. The first line on standard output is
// "LISTENING <port> <about>". connections counts the open ones; nil is allowed.
func Main(h http.Handler, about string, connections func() int) {
	profile := flag.String("cpuprofile", "", "write a CPU profile of the whole run to this `file`")
	flag.Parse()
	if err := run(h, about, connections, *profile); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(h http.Handler, about string, connections func() int, profile string) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	fmt.Printf("LISTENING %d %s, %s\n", ln.Addr().(*net.TCPAddr).Port, about, runtime.Version())

	err = Control(os.Stdin, os.Stdout, connections)
	srv.Close()
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Control answers commands, one a line, until in ends.
func Control(in io.Reader, out io.Writer, connections func() int) error {
	answer := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() != "mem" {
			return fmt.Errorf("unknown command %q", lines.Text())
		}
		if err := answer.Encode(measure(connections)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func measure(connections func() int) Memory {
	// Twice: sync.Pool gives its content up at the second collection.
	runtime.GC()
	debug.FreeOSMemory()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m := Memory{Heap: s.HeapInuse, Stack: s.StackInuse, Goroutines: runtime.NumGoroutine()}
	if connections != nil {
		m.Connections = connections()
	}
	return m
}
