package core_test

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
	"github.com/socketfleet/socketfleet/parser/msgpack"
)

// Limits that are off by default, or that only an option makes reachable.

// Guessing costs: requests with unknown ids are limited per address, and who knows
// his id is not affected.
func TestT03_GuessingIsLimited(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{UnknownSessionRate: 1})
	query := r.openPolling(t)
	statuses := make(map[int]int)
	for i := range 40 {
		statuses[r.request(t, "GET", fmt.Sprintf("%s&sid=%s.%020d", pollingQuery, r.NodeID(), i), "").status]++
	}
	if statuses[http.StatusTooManyRequests] < 20 || statuses[http.StatusBadRequest] == 0 || len(statuses) != 2 {
		t.Errorf("statuses %v", statuses)
	}
	equal(t, "a session that exists", r.request(t, "POST", query, "40").status, http.StatusOK)
}

// A packet's values are counted before any is decoded.
func TestT09_ValuesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	core.OnAck(r, "any", func(context.Context, *core.Socket, any) (bool, error) { return true, nil })
	r.violates(t, "330,000 empty objects", testutil.Message(`2["any",[`+strings.Repeat("{},", 330_000)+`0]]`))
	r.violates(t, "a CONNECT", testutil.Message(`0/x,{"a":[`+strings.Repeat("1,", 70_000)+`0]}`))
	e := r.engine(t)
	send(t, e, `21["any",[`+strings.Repeat("1,", 60_000)+`0]]`)
	equal(t, "60,000 numbers", read(t, e), "31[true]")
}

// Where clients speak MessagePack, what a length announces must be there before it
// is believed, and nesting is bounded.
func TestT10_MessagePackBombsAreRefused(t *testing.T) {
	// It measures the heap, and so runs by itself.
	r := start(t, &core.Options{Parser: msgpack.Parser{}})
	before := heap()
	event := []byte("\x83\xa4type\x02\xa3nsp\xa1/\xa4data")
	for name, bomb := range map[string][]byte{
		"an array of 2 G":          {0xdd, 0x7f, 0xff, 0xff, 0xff},
		"a map of 4 G":             {0xdf, 0xff, 0xff, 0xff, 0xff},
		"a string of 4 G":          {0xdb, 0xff, 0xff, 0xff, 0xff},
		"a packet with 2 G values": append(bytes.Clone(event), 0xdd, 0x7f, 0xff, 0xff, 0xff),
		"bytes of 4 G in an event": append(bytes.Clone(event), 0x92, 0xa1, 'e', 0xc6, 0xff, 0xff, 0xff, 0xff),
		"nested 990,000 times":     append(bytes.Clone(event), bytes.Repeat([]byte{0x91}, 990_000)...),
	} {
		e := r.bare(t)
		if err := e.Send(t.Context(), testutil.BinaryMessage(bomb)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-e.Done():
		case <-time.After(wait):
			t.Errorf("%s: accepted", name)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	equal(t, "panics", r.Stats().Engine.Panics, 0)
}

// Where messages are inflated, MaxPayload counts what they become.
func TestT13_InflatedMessagesAreBounded(t *testing.T) {
	// It measures the heap, and so runs by itself.
	r := start(t, &core.Options{Deflate: &core.DeflateOptions{}})
	var small bytes.Buffer
	w, _ := flate.NewWriter(&small, flate.BestSpeed)
	zeros := make([]byte, 1<<20)
	for range 20 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Flush()
	c := r.rawDial(t)
	c.upgrade(t, webSocketQuery, textFrames("40"), "Sec-WebSocket-Extensions: permessage-deflate")
	before := heap()
	c.write(t, frame(0xc2, strings.TrimSuffix(small.String(), "\x00\x00\xff\xff")))
	equal(t, "close code", c.closeCode(), 1009)
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("%d bytes became 20 MB, and the heap grew by %d", small.Len(), grown)
	}
}

// A session that asks too often ends.
func TestT18_RequestsOfASessionAreLimited(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{SessionRequestRate: 5})
	query := r.openPolling(t)
	last := http.StatusOK
	for i := 0; i < 50 && last == http.StatusOK; i++ {
		last = r.request(t, "POST", query, "3").status
	}
	if last == http.StatusOK {
		t.Error("50 requests at once were served")
	}
	eventually(t, "the session is over", func() bool { return r.Stats().Engine.Sessions == 0 })
}

// One address gets so many connections, and new ones only so fast; the others do not
// suffer.
func TestT19_AddressesAreLimited(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxConnectionsPerAddress: 5, TrustedProxies: loopback})
	for range 5 {
		r.openPollingFrom(t, "192.0.2.1", http.StatusOK)
	}
	for range 10 {
		r.openPollingFrom(t, "192.0.2.1", http.StatusTooManyRequests)
	}
	r.openPollingFrom(t, "192.0.2.2", http.StatusOK)
	forged := r.request(t, "GET", pollingQuery, "", "X-Forwarded-For", "198.51.100.7, 192.0.2.1")
	equal(t, "an address the client made up", forged.status, http.StatusTooManyRequests)

	fast := start(t, &core.Options{AddressHandshakeRate: 1, AddressHandshakeBurst: 3, TrustedProxies: loopback})
	statuses := make(map[int]int)
	for range 40 {
		statuses[fast.request(t, "GET", pollingQuery, "", "X-Forwarded-For", "192.0.2.1").status]++
	}
	if statuses[http.StatusOK] < 3 || statuses[http.StatusTooManyRequests] < 20 || len(statuses) != 2 {
		t.Errorf("statuses %v", statuses)
	}
	fast.openPollingFrom(t, "192.0.2.2", http.StatusOK)
	_ = fast.Close() // nobody will poll
}

// loopback is where the tests' own proxy would be.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// openPollingFrom opens a polling session for a client behind a proxy, expecting a
// status.
func (r *rig) openPollingFrom(t testing.TB, addr string, want int) {
	t.Helper()
	res := r.request(t, "GET", pollingQuery, "", "X-Forwarded-For", addr)
	equal(t, "status for "+addr, res.status, want)
	if res.status == http.StatusOK {
		query := pollingQuery + "&sid=" + sidOf(t, res.body)
		t.Cleanup(func() { r.request(t, "POST", query, "1", "X-Forwarded-For", addr) })
	}
}

// Who goes on answering what nobody asked is cut off.
func TestT22_UnknownAcksEndTheConnection(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	acks := make([]testutil.EnginePacket, 200)
	for i := range acks {
		acks[i] = testutil.Message(fmt.Sprintf(`3%d[]`, 1_000_000+i))
	}
	r.violates(t, "200 unknown acknowledgements", acks...)
	if n := r.Stats().UnknownAcks; n > 101 {
		t.Errorf("%d were taken", n)
	}
	r.healthy(t)
}

// A client over its rate is slowed down, and only that one.
func TestT23_TheRateOfEventsIsLimited(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, &core.Options{EventRate: 10, EventBurst: 20}, func(t *testing.T, r *rig, p *pipes) {
		core.On(r, "e", func(context.Context, *core.Socket, none) error { return nil })
		c, other := p.dial(), p.dial()
		c.upgrade(t, webSocketQuery, textFrames("40"))
		other.upgrade(t, webSocketQuery, textFrames("40"))
		go c.answerPings()
		go other.answerPings()
		synctest.Wait()
		started := time.Now()
		go func() { _, _ = io.WriteString(c, strings.Repeat(textFrames(`42["e"]`), 120)) }()
		other.write(t, textFrames(`42["e"]`))
		synctest.Wait()
		equal(t, "events at once", r.Stats().Events, 21)
		for r.Stats().Events < 121 && time.Since(started) < time.Minute {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		about(t, "120 events", time.Since(started), 10*time.Second)
		c.Close()
		other.Close()
	})
}

// Many slow clients together meet a bound of their own, before memory does.
func TestT04_QueuesOfAllClientsAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, &core.Options{MaxTotalQueueBytes: 2 << 20})
	for range 20 {
		deaf(t, r)
	}
	good := r.dial(t)
	blob := make([]byte, 32<<10)
	for i := 0; r.Stats().Engine.SlowConsumers < 20; i++ {
		if i == 2000 {
			t.Fatalf("64 MB for each of 20 clients that do not read: %d were cut", r.Stats().Engine.SlowConsumers)
		}
		if err := r.Emit("n", i, blob); err != nil {
			t.Fatal(err)
		}
		equal(t, "the client that reads", good.Expect(t, "n").At(0), any(float64(i)))
	}
	equal(t, "the client that reads", good.Connected(), true)
}
