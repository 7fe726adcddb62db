package forward

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout makes the kernel cut a connection whose peer does not take what is
// sent, or does not acknowledge it. It reports whether that works here.
func setUserTimeout(c *net.TCPConn, d time.Duration) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	set := err
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(d, 0).Milliseconds()))
	})
	return err == nil && set == nil
}
