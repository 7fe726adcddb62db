package loadgen_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/bench/loadgen"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDialTellsWhyAServerWasNotReached(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if _, err := loadgen.Dial(t.Context(), ln.Addr().String(), 3, 2); err == nil {
		t.Fatal("Dial of a closed port succeeded")
	}
}

func TestDialRefusesAServerThatIsNotSocketIO(t *testing.T) {
	t.Parallel()
	addr := serve(t, func(nc net.Conn) { nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	if _, err := loadgen.Dial(t.Context(), addr, 1, 1); err == nil {
		t.Fatal("Dial succeeded")
	}
}

func TestALoadWithAPayloadTheClientsCannotTakeIsRefused(t *testing.T) {
	t.Parallel()
	f, err := loadgen.Dial(t.Context(), serve(t, script), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Broadcast(t.Context(), loadgen.Load{Messages: 1, Payload: 4000}); err == nil {
		t.Error("a payload of 4000 bytes was accepted")
	}
}

func TestALostConnectionEndsTheLoad(t *testing.T) {
	t.Parallel()
	f, err := loadgen.Dial(t.Context(), serve(t, func(nc net.Conn) { script(nc); nc.Close() }), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Echo(t.Context(), loadgen.Load{Messages: 1}); err == nil {
		t.Error("an echo over a lost connection succeeded")
	}
}

func TestALostMessageEndsTheLoadAtItsDeadline(t *testing.T) {
	t.Parallel()
	f, err := loadgen.Dial(t.Context(), serve(t, script), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = f.Broadcast(ctx, loadgen.Load{Messages: 1})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v, want the deadline", err)
	}
}

// script plays the handshake of a server that then says nothing.
func script(nc net.Conn) {
	b := make([]byte, 4096)
	nc.Read(b)
	nc.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
	nc.Write([]byte("\x81\x02" + "0{"))
	nc.Read(b)
	nc.Write([]byte("\x81\x02" + "40"))
}

// serve runs fn on each connection and keeps it until the peer closes it.
func serve(t *testing.T, fn func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			fn(nc)
			go func() {
				defer nc.Close()
				b := make([]byte, 512)
				for {
					n, err := nc.Read(b)
					if err != nil {
						return
					}
					if n > 0 && b[0] == 0x88 {
						nc.Write([]byte{0x88, 0})
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}
