package testutil

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo is a TCP server that returns what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func dialProxy(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// say sends s and returns what comes back within the time.
func say(c net.Conn, s string, wait time.Duration) (string, error) {
	if _, err := io.WriteString(c, s); err != nil {
		return "", err
	}
	c.SetReadDeadline(time.Now().Add(wait))
	b := make([]byte, len(s))
	n, err := io.ReadFull(c, b)
	return string(b[:n]), err
}

func TestProxyForwards(t *testing.T) {
	p := NewProxy(t, echo(t))
	c := dialProxy(t, p)
	if got, err := say(c, "hello", 30*time.Second); got != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if p.Conns() != 1 {
		t.Errorf("%d connections", p.Conns())
	}
	start := time.Now()
	p.Latency(20 * time.Millisecond)
	if got, err := say(c, "hello", 30*time.Second); got != "hello" || time.Since(start) < 40*time.Millisecond {
		t.Errorf("with latency: got %q, %v after %v", got, err, time.Since(start))
	}
}

func TestProxyBlackHolesHoldBytesBack(t *testing.T) {
	for _, d := range []Direction{Up, Down} {
		p := NewProxy(t, echo(t))
		c := dialProxy(t, p)
		p.BlackHole(d, true)
		if got, err := say(c, "hello", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("direction %d: got %q, %v", d, got, err)
		}
		p.BlackHole(d, false)
		if got, err := say(c, "", 0); err != nil {
			t.Errorf("direction %d: got %q, %v", d, got, err)
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); string(b) != "hello" {
			t.Errorf("direction %d, healed: got %q, %v", d, b, err)
		}
	}
}

func TestProxyResetsAndCuts(t *testing.T) {
	p := NewProxy(t, echo(t))
	c := dialProxy(t, p)
	if _, err := say(c, "x", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	if _, err := say(c, "x", 30*time.Second); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("reset: got %v", err)
	}
	c = dialProxy(t, p)
	p.CutAfter(8)
	if got, err := say(c, "hello", 30*time.Second); len(got) > 3 || err == nil {
		t.Errorf("cut: got %q, %v", got, err)
	}
	p.Refuse(true)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return // the reset was faster
	}
	defer c.Close()
	if _, err := say(c, "x", 30*time.Second); err == nil {
		t.Error("refused and yet answered")
	}
}
