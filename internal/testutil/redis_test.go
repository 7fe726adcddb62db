package testutil

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRedisAnswersAndEndsWithItsTest(t *testing.T) {
	var addr string
	t.Run("server", func(t *testing.T) {
		s := LocalRedis(t)
		if addr = s.Addr(); !ping(addr) {
			t.Fatal("no answer")
		}
	})
	if ping(addr) {
		t.Error("still running after the test")
	}
}

func TestRedisURLNamesAServer(t *testing.T) {
	if u := RedisURL(t); !strings.HasPrefix(u, "redis") {
		t.Errorf("got %q", u)
	}
}

func TestSharedRedisIsOneServer(t *testing.T) {
	a, b := SharedRedis(t), SharedRedis(t)
	if a != b || !ping(a.Addr()) {
		t.Errorf("got %v and %v", a, b)
	}
	if p, q := Prefix(t), Prefix(t); p == q {
		t.Error("two prefixes are equal")
	}
}

func TestRedisSurvivesKillRestartAndPause(t *testing.T) {
	s := LocalRedis(t)
	s.Kill(t)
	if ping(s.Addr()) {
		t.Error("answers after Kill")
	}
	s.Restart(t)
	if !ping(s.Addr()) {
		t.Error("silent after Restart")
	}
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.Pause(t)
	io.WriteString(c, "PING\r\n")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while paused: got %q, %v", line, err)
	}
	s.Resume(t)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := r.ReadString('\n'); line != "+PONG\r\n" {
		t.Errorf("after Resume: got %q, %v", line, err)
	}
}
