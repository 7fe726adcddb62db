//go:build linux

package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// The whole harness against the bare server, with a load too small to measure
// anything: every scenario runs, every figure is there, and the child ends.
func TestEveryScenarioRunsAgainstAServer(t *testing.T) {
	t.Chdir("../..") // as `go run ./bench/compare` in the module's root
	cfg, err := parseFlags([]string{"-servers", "baseline", "-clients", "10", "-idle", "20", "-rounds", "1",
		"-rate", "50", "-echo-rate", "200", "-seconds", "0.2"})
	if err != nil {
		t.Fatal(err)
	}
	kinds, notes, err := prepare(t.Context(), t.TempDir(), cfg)
	if err != nil || len(notes) > 0 {
		t.Fatalf("prepare: %v %q", err, notes)
	}
	all, about, err := rounds(t.Context(), kinds, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if about["baseline"] == "" {
		t.Error("the server did not say what it is")
	}
	for _, key := range []string{"connect", "paced", "burst", "max", "rate", "echo", "close", "goroutines"} {
		if v := all["baseline"][0][key]; v <= 0 {
			t.Errorf("%s = %v, want more than 0", key, v)
		}
	}
}

func TestAServerThatDoesNotListenIsReportedAndEnded(t *testing.T) {
	t.Parallel()
	if _, err := start(t.Context(), kind{name: "cat", argv: []string{"cat", "/nonexistent"}}); err == nil {
		t.Fatal("start succeeded")
	}
	if _, err := start(t.Context(), kind{name: "echo", argv: []string{"echo", "hello"}}); err == nil {
		t.Fatal("start succeeded")
	}
}

func TestAChildEndsWithItsStandardInput(t *testing.T) {
	t.Parallel()
	k := kind{name: "sh", argv: []string{"sh", "-c", "echo LISTENING 1 a shell; exec cat >&2"}}
	s, err := start(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if s.about != "a shell" || s.addr != "127.0.0.1:1" {
		t.Errorf("server = %q at %q", s.about, s.addr)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.pid, 0); err == nil {
		t.Errorf("process %d still runs", s.pid)
	}
}

func TestTheCPUClockOfAnotherProcessIsItsOwn(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	used, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	_ = cmd.Wait() // read fails at the end of its input
	if total := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); used <= 0 || used > 2*total+100*time.Millisecond {
		t.Errorf("clock said %v, the process used %v", used, total)
	}
	if _, err := cpuTime(cmd.Process.Pid); err == nil {
		t.Error("an ended process still has a CPU clock")
	}
	if n, err := residentBytes(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("residentBytes = %d, %v", n, err)
	}
}
