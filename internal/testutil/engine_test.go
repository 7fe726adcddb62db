package testutil

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
)

func dialEngine(t *testing.T, target string, opts EngineOptions) *Engine {
	t.Helper()
	e, err := DialEngine(timeout(t), target, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestRawPacketsGoOutAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, list := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, engineio.Options{})
			e := dialEngine(t, f.URL, EngineOptions{Transports: list})
			if e.Handshake.SID == "" || e.Handshake.PingInterval != 25000 {
				t.Errorf("handshake %+v", e.Handshake)
			}
			err := e.Send(timeout(t), Message(`51-["echo",{"_placeholder":true,"num":0}]`), BinaryMessage([]byte{1, 2}))
			if err != nil {
				t.Fatal(err)
			}
			text, err := e.Read(timeout(t))
			if err != nil || text.text() != `451-["echo",{"_placeholder":true,"num":0}]` {
				t.Errorf("got %q, %v", text.text(), err)
			}
			bin, err := e.Read(timeout(t))
			if err != nil || !bin.Binary || string(bin.Data) != "\x01\x02" {
				t.Errorf("got %+v, %v", bin, err)
			}
			if err := e.Send(timeout(t), Message(`7`)); err != nil {
				t.Logf("send: %v", err) // the server may be faster
			}
			var why *CloseError
			if _, err := e.Read(timeout(t)); !errors.As(err, &why) || e.Err() == nil {
				t.Errorf("after a wrong packet: %v", err)
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	opts := engineio.Options{PingInterval: 20 * time.Millisecond, PingTimeout: 200 * time.Millisecond}
	for name, list := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, opts)
			silent := dialEngine(t, f.URL, EngineOptions{Transports: list, NoPong: true})
			lively := dialEngine(t, f.URL, EngineOptions{Transports: list})
			select {
			case <-silent.Done():
			case <-timeout(t).Done():
				t.Error("the server keeps a client that does not answer pings")
			}
			if err := lively.Err(); err != nil {
				t.Errorf("a client that answers was dropped: %v", err)
			}
		})
	}
}

func TestSilentServersAreLeft(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, engineio.Options{PingInterval: 20 * time.Millisecond, PingTimeout: 30 * time.Millisecond})
	p := NewProxy(t, f.Listener.Addr().String())
	e := dialEngine(t, "http://"+p.Addr(), EngineOptions{})
	p.BlackHole(Down, true)
	select {
	case <-e.Done():
	case <-timeout(t).Done():
	}
	var why *CloseError
	if !errors.As(e.Err(), &why) || why.Reason != "ping timeout" {
		t.Errorf("got %v", e.Err())
	}
}

func TestRawRequests(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, engineio.Options{})
	e := dialEngine(t, f.URL, EngineOptions{Transports: []string{"polling"}})
	var refused *HTTPError
	if _, err := e.Request(timeout(t), http.MethodPut, e.URL("polling"), ""); !errors.As(err, &refused) || refused.Status != 500 {
		t.Errorf("got %v", err)
	}
	if e.WebSocket() != nil {
		t.Error("a WebSocket while polling")
	}
	e.Abort()
	var why *CloseError
	if !errors.As(e.Err(), &why) || why.Reason != "transport close" {
		t.Errorf("got %v", e.Err())
	}
}
