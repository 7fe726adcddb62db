package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/bench/child"
)

// kind is one of the servers to compare.
type kind struct {
	name string
	argv []string
}

// stopWait bounds how long a server may take to end by itself.
const stopWait = 5 * time.Second

// prepare builds the Go servers into dir and finds Node.js. It leaves out the
// reference server, with a note, where that cannot run.
func prepare(ctx context.Context, dir string, cfg config) (kinds []kind, notes []string, err error) {
	for _, name := range cfg.servers {
		k := kind{name: name}
		switch name {
		case "node":
			if note := nodeMissing(); note != "" {
				notes = append(notes, note)
				continue
			}
			k.argv = []string{"node", "--expose-gc", "bench/node/server.mjs"}
		default:
			pkg := map[string]string{"socketfleet": "./bench/server", "baseline": "./bench/baseline"}[name]
			k.argv = []string{filepath.Join(dir, name)}
			if cfg.profile != "" {
				k.argv = append(k.argv, "-cpuprofile", filepath.Join(cfg.profile, name+".pprof"))
			}
			if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
				return nil, nil, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
			}
		}
		k.argv = slices.Concat(cfg.wrap, k.argv)
		kinds = append(kinds, k)
	}
	return kinds, notes, nil
}

func nodeMissing() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not installed: no reference server, no ratios"
	}
	if _, err := os.Stat("bench/node_modules/socket.io"); err != nil {
		return "bench/node_modules is missing (run `npm ci` in bench/): no reference server, no ratios"
	}
	return ""
}

// server is a running child.
type server struct {
	about string // what it says about its versions
	addr  string
	pid   int

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // its standard output; closed when that ends
	stderr bytes.Buffer
}

func start(ctx context.Context, k kind) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, k.argv[0], k.argv[1:]...), lines: make(chan string, 1)}
	s.cmd.Stderr = &s.stderr
	s.cmd.WaitDelay = stopWait
	s.cmd.Env = append(os.Environ(), "NODE_ENV=production")
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.pid = s.cmd.Process.Pid
	go func() {
		defer close(s.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.lines <- sc.Text()
		}
	}()
	line, err := s.line(ctx)
	var port int
	if err == nil {
		_, err = fmt.Sscanf(line, "LISTENING %d", &port)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", k.name, err), s.stop())
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", port)
	s.about = strings.Join(strings.Fields(line)[2:], " ")
	return s, nil
}

// line returns the next line the server prints.
func (s *server) line(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case line, ok := <-s.lines:
		if !ok {
			return "", errors.New("the server's output ended")
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stop ends the server and waits for it, and for its output's reader.
func (s *server) stop() error {
	s.stdin.Close()
	kill := time.AfterFunc(stopWait, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	for range s.lines { // until its output ends, as Wait demands
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", s.cmd.Args[0], err, s.stderr.Bytes())
	}
	return nil
}

// memory is what a server holds after a garbage collection, in bytes.
type memory struct {
	resident int64
	child.Memory
}

func (s *server) memory(ctx context.Context) (memory, error) {
	if _, err := io.WriteString(s.stdin, "mem\n"); err != nil {
		return memory{}, err
	}
	line, err := s.line(ctx)
	if err != nil {
		return memory{}, err
	}
	var m memory
	if err := json.Unmarshal([]byte(line), &m.Memory); err != nil {
		return memory{}, fmt.Errorf("answer %q: %w", line, err)
	}
	m.resident, err = residentBytes(s.pid)
	return m, err
}

// settle waits until the server uses next to no CPU and returns its clock.
func (s *server) settle(ctx context.Context) (time.Duration, error) {
	const (
		step  = 50 * time.Millisecond
		quiet = 500 * time.Microsecond // of CPU time per step
		limit = 60                     // steps
	)
	last, err := cpuTime(s.pid)
	for calm, i := 0, 0; err == nil && calm < 2 && i < limit; i++ {
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now time.Duration
		now, err = cpuTime(s.pid)
		if calm++; now-last > quiet {
			calm = 0
		}
		last = now
	}
	return last, err
}
