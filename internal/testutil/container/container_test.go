//go:build docker

package container

import (
	"net"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestRedisRunsInAContainer(t *testing.T) {
	t.Setenv(testutil.RedisEnv, "container")
	var addr string
	t.Run("server", func(t *testing.T) {
		server := testutil.Redis(t)
		if server.Local() {
			t.Fatal("the server is a process of this machine")
		}
		if addr = server.Addr(); ping(addr) != "+PONG\r\n" {
			t.Fatal("no answer")
		}
	})
	if answer := ping(addr); answer != "" {
		t.Errorf("after the test it answers %q", answer)
	}
}

// ping returns what Redis answers, or "".
func ping(addr string) string {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	c.Write([]byte("PING\r\n"))
	buf := make([]byte, 64)
	n, _ := c.Read(buf)
	return string(buf[:n])
}
