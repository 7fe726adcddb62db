package engineio

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPollingExchangesMessages(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).poll()
	resp := p.do(http.MethodPost, p.query, "4hello\x1ebAQIDBA==\x1e4€", "Content-Type", "text/plain;charset=UTF-8")
	if resp.status != 200 || resp.body != "ok" || resp.header.Get("Content-Type") != "text/html" || resp.header.Get("Cache-Control") != "no-store" {
		t.Errorf("POST: %+v", resp)
	}
	p.wantMessage("t:hello")
	p.wantMessage("b:\x01\x02\x03\x04")
	p.wantMessage("t:€")
	resp = p.do(http.MethodGet, p.query, "")
	if resp.status != 200 || resp.body != "4hello\x1e4€" {
		t.Errorf("GET: %d %q", resp.status, resp.body)
	}
	if resp.header.Get("Content-Type") != "text/plain; charset=UTF-8" || resp.header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET headers: %v", resp.header)
	}
}

func TestWaitingGetIsAnswered(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	if err := p.recv.s.Send(NewMessage(append(Reserve(0), "1-x"...), [][]byte{{1, 2, 3, 4}})); err != nil {
		t.Fatal(err)
	}
	if resp := recvFrom(t, "GET", get); resp.body != "41-x\x1ebAQIDBA==" {
		t.Errorf("%q", resp.body)
	}
}

// writing calls a function, once, when a response is about to be written.
type writing struct {
	unwrapper
	hook func()
}

func (w writing) Write(body []byte) (int, error) {
	w.hook()
	return w.unwrapper.Write(body)
}

// A client may send its next request, over another connection, when it has the last
// byte of an answer and its handler has not returned yet.
func TestTheNextRequestMayComeBeforeTheHandlerReturns(t *testing.T) {
	t.Parallel()
	during := make(map[string]func()) // by method; each is taken once
	var mu sync.Mutex
	hook := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(writing{unwrapper{w}, func() {
				mu.Lock()
				do := during[r.Method]
				delete(during, r.Method)
				mu.Unlock()
				if do != nil {
					do()
				}
			}}, r)
		})
	}
	p := newRig(t, Options{Use: []func(http.Handler) http.Handler{hook}}, nil).poll()
	var nested [2]response
	ask := func(i int, method, body string) func() {
		return func() { // not on the test's goroutine
			var err error
			if nested[i], err = p.try(method, p.query, body); err != nil {
				nested[i].body = err.Error()
			}
		}
	}
	mu.Lock()
	during[http.MethodGet] = func() {
		_ = p.recv.s.Send(text("two")) // the answer says whether it came
		ask(0, http.MethodGet, "")()
	}
	during[http.MethodPost] = ask(1, http.MethodPost, "4second")
	mu.Unlock()
	_ = p.recv.s.Send(text("one"))
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != "4one" || nested[0].body != "4two" {
		t.Errorf("GET: %+v, and within it %+v", resp, nested[0])
	}
	if resp := p.do(http.MethodPost, p.query, "4first"); resp.body != "ok" || nested[1].body != "ok" {
		t.Errorf("POST: %+v, and within it %+v", resp, nested[1])
	}
	p.wantMessage("t:first")
	p.wantMessage("t:second")
}

func TestOverlappingGets(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	first := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	if resp := p.do(http.MethodGet, p.query, ""); resp.status != 400 || resp.body != "" {
		t.Errorf("second: %d %q", resp.status, resp.body)
	}
	if resp := recvFrom(t, "first GET", first); resp.status != 200 || resp.body != "1" {
		t.Errorf("first: %d %q", resp.status, resp.body)
	}
	p.wantClosed(ReasonTransportError, errPollOverlap)
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != `{"code":1,"message":"Session ID unknown"}` {
		t.Errorf("later: %+v", resp)
	}
}

// startPost sends the head of a POST and the first bytes of its body.
func (p *peer) startPost(body string) *raw {
	p.t.Helper()
	c := p.raw()
	fmt.Fprintf(c, "POST /socket.io/?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n%s", p.query, body)
	if through { // the other node reads it first
		return c
	}
	p.eventually("POST being read", func() bool {
		p.recv.s.mu.Lock()
		defer p.recv.s.mu.Unlock()
		t, ok := p.recv.s.transport.(*polling)
		return ok && t.post != nil
	})
	return c
}

func TestOverlappingPosts(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	first := p.startPost("4x")
	if resp := p.do(http.MethodPost, p.query, "4y"); resp.status != 400 || resp.body != "" {
		t.Errorf("second: %d %q", resp.status, resp.body)
	}
	if resp := recvFrom(t, "GET", get); resp.body != "1" {
		t.Errorf("waiting GET: %q", resp.body)
	}
	if resp, err := http.ReadResponse(first.Reader, nil); err == nil && resp.StatusCode != 400 {
		t.Errorf("first: %v", resp.Status)
	}
	p.wantClosed(ReasonTransportError, errPostOverlap)
}

func TestAbortedRequestsCloseTheSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	c := p.raw()
	fmt.Fprintf(c, "GET /socket.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", p.query)
	p.waitPolling()
	c.Close()
	p.wantClosed(ReasonTransportError, errPollAborted)

	p = r.poll()
	p.startPost("4x").Close()
	p.wantClosed(ReasonTransportError, errPostAborted)
}

// A client that never finishes its POST is cut off.
func TestSlowPostBodyHasADeadline(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{BodyTimeout: 30 * time.Millisecond}, nil).poll()
	c := p.startPost("4x")
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
	p.wantClosed(ReasonTransportError, errPostAborted)
}

func TestOversizedPostKeepsTheSession(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{MaxPayload: 100}, nil).poll()
	fits := "4" + strings.Repeat("x", 99)
	if resp := p.do(http.MethodPost, p.query, fits); resp.status != 200 {
		t.Errorf("limit itself: %d", resp.status)
	}
	p.wantMessage("t:" + fits[1:])
	if resp := p.do(http.MethodPost, p.query, fits+"x"); resp.status != 413 || resp.body != "" {
		t.Errorf("one more: %d %q", resp.status, resp.body)
	}
	// Without a declared length, so that only counting helps.
	req, _ := http.NewRequest(http.MethodPost, p.url(p.query), io.MultiReader(strings.NewReader("4y\x1e"), strings.NewReader(fits)))
	resp, err := p.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
	if resp := p.do(http.MethodPost, p.query, "4still"); resp.status != 200 {
		t.Errorf("after: %d", resp.status)
	}
	p.wantMessage("t:still")
}

func TestBadPayloads(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxPacketsPerPayload: 3}, nil)
	for _, tc := range []struct {
		name, body string
		messages   int
		reason     Reason
		err        error
	}{
		{"empty", "", 0, ReasonParseError, errParser},
		{"unknown type", "abc", 0, ReasonParseError, errParser},
		{"trailing separator", "4x\x1e", 1, ReasonParseError, errParser},
		{"double separator", "4x\x1e\x1e4y", 1, ReasonParseError, errParser},
		{"good before bad", "4x\x1e4y\x1e7", 2, ReasonParseError, errParser},
		{"too many packets", "4a\x1e4b\x1e4c\x1e4d", 3, ReasonParseError, errTooManyPackets},
		{"ping", "2", 0, ReasonTransportError, errHeartbeat},
	} {
		p := r.poll()
		get := p.later(http.MethodGet, p.query, "")
		p.waitPolling()
		if resp := p.do(http.MethodPost, p.query, tc.body); resp.status != 400 || resp.body != "" {
			t.Errorf("%s: %d %q", tc.name, resp.status, resp.body)
		}
		if resp := recvFrom(t, "GET", get); resp.status != 200 || resp.body != "1" {
			t.Errorf("%s: waiting GET: %d %q", tc.name, resp.status, resp.body)
		}
		p.wantClosed(tc.reason, tc.err)
		if len(p.recv.msgs) != tc.messages {
			t.Errorf("%s: %d messages", tc.name, len(p.recv.msgs))
		}
	}
}

func TestIgnoredPacketsAndInvalidUTF8(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	if resp := p.do(http.MethodPost, p.query, "6\x1e0x\x1e3\x1e5\x1e4a\xffb"); resp.status != 200 {
		t.Errorf("%+v", resp)
	}
	p.wantMessage("t:a\uFFFDb")
	if n := p.srv.Stats().UnsolicitedPongs; n != 1 {
		t.Errorf("%d unsolicited pongs", n)
	}
}

func TestLenientBase64(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"AQIDBA==": "\x01\x02\x03\x04", "AQIDBA": "\x01\x02\x03\x04", "_-8=": "\xff\xef", "!!!AQ ID": "\x01\x02\x03", "": "", "A": "",
	} {
		if got := string(decodeBase64([]byte(in))); got != want {
			t.Errorf("%q = %x, want %x", in, got, want)
		}
	}
}

func TestClosePacketByPost(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	if resp := p.do(http.MethodPost, p.query, "4x\x1e1\x1e4y"); resp.status != 200 || resp.body != "ok" {
		t.Errorf("POST: %d %q", resp.status, resp.body)
	}
	if resp := recvFrom(t, "GET", get); resp.status != 200 || resp.body != "6" {
		t.Errorf("GET: %d %q", resp.status, resp.body)
	}
	p.wantClosed(ReasonTransportClose, nil)
	if len(p.recv.msgs) != 1 {
		t.Errorf("%d messages", len(p.recv.msgs))
	}
}

func TestGracefulCloseWithWaitingGet(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	p.recv.s.Close(ReasonForcedClose, true)
	if resp := recvFrom(t, "GET", get); resp.body != "1" {
		t.Errorf("%q", resp.body)
	}
	p.wantClosed(ReasonForcedClose, nil)
}

func TestGracefulCloseFlushesWhatTheWaitingGetTakes(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	for range 20 {
		p = p.rig.poll()
		get := p.later(http.MethodGet, p.query, "")
		p.waitPolling()
		_ = p.recv.s.Send(text("bye"))
		p.recv.s.Close(ReasonForcedClose, true)
		if resp := recvFrom(t, "GET", get); resp.body != "4bye" {
			t.Errorf("GET %q", resp.body)
		}
		if resp := p.do(http.MethodGet, p.query, ""); resp.body != "6\x1e1" {
			t.Errorf("next GET %q", resp.body)
		}
		p.wantClosed(ReasonForcedClose, nil)
	}
}

func TestDeferredPollingClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	p := r.poll()
	p.recv.s.Close(ReasonForcedClose, true)
	if err := p.recv.s.Send(text("late")); err != ErrClosed {
		t.Errorf("Send while closing: %v", err)
	}
	if resp := p.do(http.MethodPost, p.query, "4ignored"); resp.status != 200 {
		t.Errorf("POST while closing: %d", resp.status)
	}
	if resp := p.do(http.MethodGet, p.query, ""); resp.body != "6\x1e1" {
		t.Errorf("next GET: %q", resp.body)
	}
	p.wantClosed(ReasonForcedClose, nil)
	if len(p.recv.msgs) != 0 {
		t.Error("a closing session received")
	}

	p = r.poll()
	_ = p.recv.s.Send(text("last"))
	p.recv.s.Close(ReasonForcedClose, true)
	for _, want := range []string{"4last", "6\x1e1"} { // never together
		if resp := p.do(http.MethodGet, p.query, ""); resp.body != want {
			t.Errorf("next GET: %q, want %q", resp.body, want)
		}
	}
	p.wantClosed(ReasonForcedClose, nil)
}

func TestDeferredPollingCloseGivesUp(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{CloseTimeout: 20 * time.Millisecond}, nil).poll()
	p.recv.s.Close(ReasonForcedClose, true)
	p.wantClosed(ReasonForcedClose, errFlushTimeout)
}

func TestPollResponseIsCapped(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{MaxPayload: 100}, nil).poll()
	big := strings.Repeat("b", 300)
	for _, m := range []string{strings.Repeat("a", 48), strings.Repeat("a", 49), "c", big, "d"} {
		_ = p.recv.s.Send(text(m))
	}
	for i, want := range []string{
		"4" + strings.Repeat("a", 48) + "\x1e4" + strings.Repeat("a", 49), "4c", "4" + big, "4d",
	} {
		if got := p.do(http.MethodGet, p.query, "").body; got != want {
			t.Errorf("poll %d: %d bytes, want %d", i, len(got), len(want))
		}
	}
}

func TestVolatileOverPolling(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, nil).poll()
	if p.recv.s.SendVolatile(text("dropped")) {
		t.Error("sent without a waiting GET")
	}
	get := p.later(http.MethodGet, p.query, "")
	p.waitPolling()
	if !p.recv.s.SendVolatile(text("sent")) {
		t.Error("dropped in spite of a waiting GET")
	}
	if resp := recvFrom(t, "GET", get); resp.body != "4sent" {
		t.Errorf("%q", resp.body)
	}
	if st := p.srv.Stats(); st.VolatileDropped != 1 || st.VolatileDrops["no_poll"] != 1 {
		t.Errorf("counted %d, %v", st.VolatileDropped, st.VolatileDrops)
	}
	p.recv.s.Close(ReasonForcedClose, false)
	p.recv.s.SendVolatile(text("too late"))
	if st := p.srv.Stats(); st.VolatileDropped != 2 || st.VolatileDrops["closed"] != 1 {
		t.Errorf("counted %d, %v", st.VolatileDropped, st.VolatileDrops)
	}
}

func TestReceiverThatPanicsLosesItsSessionOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, func(s *Session, data []byte) {
		if string(data) == "boom" {
			panic("boom")
		}
	})
	other, p := r.poll(), r.poll()
	p.do(http.MethodPost, p.query, "4boom")
	p.wantClosed(ReasonTransportError, ErrPanic)
	w := r.ws()
	w.write("4boom")
	w.wantClosed(ReasonTransportError, ErrPanic)
	if resp := other.do(http.MethodPost, other.query, "4fine"); resp.status != 200 {
		t.Errorf("%+v", resp)
	}
	if n := r.srv.Stats().Panics; n != 2 {
		t.Errorf("%d panics counted", n)
	}
}

// The receiver of a session never runs twice at a time, and Closed comes last,
// however the session ends.
func TestClosedComesAfterTheLastMessage(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	p := newRig(t, Options{}, func(*Session, []byte) {
		entered <- struct{}{}
		<-leave
	}).poll()
	post := p.later(http.MethodPost, p.query, "4x")
	recvFrom(t, "Text", entered)
	p.recv.s.Close(ReasonForcedClose, false)
	select {
	case <-p.recv.closed:
		t.Error("Closed while Text runs")
	default:
	}
	close(leave)
	p.wantClosed(ReasonForcedClose, nil)
	if resp := recvFrom(t, "POST", post); resp.status != 200 {
		t.Errorf("POST: %+v", resp)
	}
}
