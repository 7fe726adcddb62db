//go:build !linux

package forward

import (
	"net"
	"time"
)

// setUserTimeout reports that the kernel cannot be asked to time out writes here.
func setUserTimeout(*net.TCPConn, time.Duration) bool { return false }
