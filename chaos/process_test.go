package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/chaos/history"
)

// patience bounds every wait of a run. It is long because the machine may be busy.
const patience = 30 * time.Second

// process is one of the nodes. Its methods belong to the goroutine of the test,
// except those that say otherwise.
type process struct {
	w    *world
	name string // of all its lives
	cfg  nodeConfig

	life    int
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	reading chan struct{} // closed when everything the process said was read

	mu      sync.Mutex // guards the following; leaf lock
	addr    string
	alive   bool
	stopped bool
	down    bool   // by its own word, without Redis
	last    uint64 // the last number emitted in this life
}

// start begins a life, at the address of the one before.
func (p *process) start(tb testing.TB) {
	tb.Helper()
	var err error
	for range 5 { // somebody may have the port for a moment
		if err = p.spawn(); err == nil {
			return
		}
	}
	tb.Fatalf("chaos: node %s does not start: %v", p.name, err)
}

func (p *process) spawn() error {
	p.life++
	cfg := p.cfg
	cfg.Name = fmt.Sprintf("%s.%d", p.name, p.life)
	cfg.Listen = "127.0.0.1:0"
	if addr, _ := p.address(); addr != "" {
		cfg.Listen = addr
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), nodeEnv+"="+string(text))
	cmd.Stderr = os.Stderr
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
	up := make(chan struct{})
	p.cmd, p.stdin, p.reading = cmd, stdin, make(chan struct{})
	go p.read(cfg.Name, stdout, up)
	select {
	case <-up:
		return nil
	case <-p.reading:
	case <-time.After(patience):
	}
	p.kill()
	return errors.New("it ended, or does not listen")
}

// read takes what one life says, on a goroutine of its own.
func (p *process) read(name string, stdout io.Reader, up chan struct{}) {
	defer close(p.reading)
	for in := bufio.NewScanner(stdout); in.Scan(); {
		e, err := parseEvent(in.Bytes())
		if err != nil {
			continue // "PASS", and a line cut short by kill -9
		}
		p.take(name, e, up)
	}
}

func (p *process) take(name string, e history.Event, up chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case listening:
		p.addr, p.alive, p.stopped, p.down, p.last = e.Reason, true, false, false, 0
		close(up)
		return
	case stopped:
		p.stopped = true
		return
	case health:
		p.down = e.Reason == "down"
		return
	case history.Emit:
		p.last = e.Seq
	}
	p.w.log.Add(e)
}

// address returns where clients find the node, and whether it is there. It is safe
// for concurrent use.
func (p *process) address() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr, p.alive
}

// emitted returns the name of the present life and its last number, also after it
// has been told to stop, and whether it has stopped.
func (p *process) emitted() (name string, last uint64, stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s.%d", p.name, p.life), p.last, p.stopped
}

// isDown reports whether the node has noticed that it does not hear Redis.
func (p *process) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

// kill ends the life as kill -9 does and notes it.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	p.wait()
	p.w.log.Add(history.Event{Kind: history.Exit, At: now(), Node: fmt.Sprintf("%s.%d", p.name, p.life)})
}

// end lets the process end by itself. Nothing is noted: the run is over.
func (p *process) end() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	p.wait()
	late.Stop()
}

func (p *process) wait() {
	<-p.reading
	_ = p.cmd.Wait() // it was killed
	p.cmd = nil
	p.mu.Lock()
	p.alive = false
	p.mu.Unlock()
}

func (p *process) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("chaos: signal node %s: %v", p.name, err)
	}
}

func (p *process) say(tb testing.TB, line string) {
	tb.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		tb.Fatalf("chaos: tell node %s to %s: %v", p.name, line, err)
	}
}
