package core_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// Published advisories about other servers that only show above the transport, or
// that the tests of the layers below do not name.

// An event called "error" that nobody listened to ended the process.
func TestCVE_2024_38355_AnEventCalledErrorIsAnEvent(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "alive", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	c := r.dial(t)
	for range 3 {
		if err := c.Emit("error", map[string]string{"message": "x"}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "without a listener", ack(t, c.Socket, "alive"), any(true))
	heard := make(chan any, 1)
	core.On(r, "error", func(_ context.Context, _ *core.Socket, v any) error { heard <- v; return nil })
	if err := c.Emit("error", "text"); err != nil {
		t.Fatal(err)
	}
	equal(t, "with a listener", recv(t, "the event", heard), any("text"))
	equal(t, "HandlerErrors", r.Stats().HandlerErrors, 0)
}

// A ping was answered with memory that was not the client's.
func TestCVE_2016_10518_PongsCarryThePingsBytes(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, ping := range []string{"", "x", strings.Repeat("p", 125)} {
		c := r.rawUpgrade(t, webSocketQuery, frame(0x89, ping))
		for {
			op, payload, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if op == 10 {
				equal(t, "pong", payload, ping)
				break
			}
		}
		c.Close()
	}
}

// Several pongs in a row closed a channel twice.
func TestPRISMA_2021_0118_PongsInARowDoNothing(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "alive", func(context.Context, *core.Socket, none) (bool, error) { return true, nil })
	c := r.rawUpgrade(t, webSocketQuery, textFrames("40")+strings.Repeat(frame(0x8a, "pong"), 500)+textFrames(`421["alive"]`))
	for payload := ""; payload != "431[true]"; {
		var err error
		if _, payload, err = c.next(); err != nil {
			t.Fatal(err)
		}
	}
}

// Extension names that objects have by themselves ended the process.
func TestGHSA_5v72_xg48_5rpm_ExtensionNamesAreOrdinary(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	for _, name := range []string{"constructor", "__proto__", "toString; x", ";", ",", "=", `x="`, "permessage-deflate; __proto__=1"} {
		c := r.rawDial(t)
		c.upgrade(t, webSocketQuery, textFrames("40"), "Sec-WebSocket-Extensions: "+name)
		c.Close()
	}
	r.healthy(t)
}

// A subprotocol header took exponential time.
func TestCVE_2021_32640_SubprotocolsTakeLinearTime(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	started := time.Now()
	for _, value := range []string{"b" + strings.Repeat(" ", 60_000) + "x", strings.Repeat("a,", 30_000), strings.Repeat("\t,", 30_000)} {
		c := r.rawDial(t)
		c.write(t, "GET /socket.io/?"+webSocketQuery+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: "+value+"\r\n\r\n")
		if _, err := http.ReadResponse(c.in, nil); err != nil {
			t.Error(err)
		}
	}
	if d := time.Since(started); d > wait {
		t.Errorf("took %v", d)
	}
}

// More headers than the library kept room for ended the process.
func TestCVE_2024_37890_ManyHeadersAreNoFault(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.rawDial(t)
	c.upgrade(t, webSocketQuery, textFrames("40"), headers(3000)...)
	c.Close()
	r.healthy(t)
}

// Unfinished binary packets were held, before a namespace was joined and after the
// client had gone.
func TestCVE_2026_48804_UnfinishedPacketsAreNotKept(t *testing.T) {
	// It measures the heap, and so runs by itself.
	r := start(t, nil)
	early := r.bare(t)
	send(t, early, `51-["e",`+placeholder+`]`)
	ended(t, early)
	before := heap()
	for range 20 {
		e := r.engine(t)
		send(t, e, `52-["e",`+placeholder+`,{"_placeholder":true,"num":1}]`)
		if err := e.Send(t.Context(), testutil.BinaryMessage(make([]byte, 900_000))); err != nil {
			t.Fatal(err)
		}
		e.Abort()
	}
	r.gone(t)
	eventually(t, "18 MB are free again", func() bool { return int64(heap())-int64(before) < 8<<20 })
}
