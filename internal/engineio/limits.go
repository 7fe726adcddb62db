package engineio

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// limit is something that is bounded and whose bound, when it is reached, counts.
type limit uint8

const (
	limitQueueBytes limit = iota
	limitQueuePackets
	limitTotalQueueBytes
	limitWriteTimeout
	limitConnections
	limitAddressConnections
	limitHandshakeRate
	limitAddressHandshakeRate
	limitUnknownSessionRate
	limitSessionRequestRate
	limitRequestURI
	limitPayloadBytes
	limitPayloadPackets
	limitFragments

	limits // their number
)

var limitNames = [limits]string{
	"queue_bytes", "queue_packets", "total_queue_bytes", "write_timeout",
	"connections", "connections_per_address",
	"handshake_rate", "handshake_rate_per_address", "unknown_session_rate", "session_request_rate",
	"request_uri", "payload_bytes", "payload_packets", "fragments",
}

func (l limit) String() string { return limitNames[l] }

func (c *counters) hit(l limit) { c.limits[l].Add(1) }

// limitErrors are the ends of sessions that a limit caused.
var limitErrors = [...]struct {
	err   error
	limit limit
}{
	{ErrQueueFull, limitQueueBytes},
	{ErrQueuePackets, limitQueuePackets},
	{ErrBudget, limitTotalQueueBytes},
	{ErrWriteTimeout, limitWriteTimeout},
	{errRequestRate, limitSessionRequestRate},
	{errTooBig, limitPayloadBytes},
	{websocket.ErrReadLimit, limitPayloadBytes},
	{errTooManyPackets, limitPayloadPackets},
	{errFragments, limitFragments},
}

// hitBy counts the limit behind the end of a session, if there is one.
func (c *counters) hitBy(err error) {
	if err == nil {
		return
	}
	for _, l := range limitErrors {
		if errors.Is(err, l.err) {
			c.hit(l.limit)
			return
		}
	}
}

// bucket is a token bucket. The zero value is full.
type bucket struct {
	used float64 // tokens taken and not yet given back
	at   int64   // when used was last brought up to date, Unix nanoseconds
}

// take takes a token, or returns how long to wait for one. A rate of zero or less
// is no bound.
func (b *bucket) take(now time.Time, rate, burst int) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.settle(now, rate)
	if over := b.used + 1 - float64(max(burst, 1)); over > 0 {
		return time.Duration(over / float64(rate) * float64(time.Second))
	}
	b.used++
	return 0
}

func (b *bucket) settle(now time.Time, rate int) {
	at := now.UnixNano()
	b.used = max(0, b.used-time.Duration(at-b.at).Seconds()*float64(rate))
	b.at = at
}

// idle reports whether the bucket is as good as new.
func (b *bucket) idle(now time.Time, rate int) bool {
	if rate <= 0 {
		return true
	}
	b.settle(now, rate)
	return b.used == 0
}

// throttle is a bucket for many goroutines.
type throttle struct {
	mu sync.Mutex // guards b; leaf lock
	b  bucket
}

func (t *throttle) take(rate, burst int) time.Duration {
	if rate <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.take(time.Now(), rate, burst)
}

const (
	// maxAddresses bounds the addresses without a session that are remembered. One
	// that does not fit is not limited: by then only HandshakeRate helps.
	maxAddresses = 1 << 16
	// sweepEvery is how often the addresses that have been quiet are forgotten, if
	// there are new ones.
	sweepEvery = 10 * time.Second
	// sweepPause is the least time between two sweeps.
	sweepPause = time.Second
)

// addresses is what the clients of each address have done lately.
type addresses struct {
	opts *Options // immutable after NewServer

	mu    sync.Mutex // guards the following; leaf lock, taken under Session.mu too
	m     map[netip.Addr]*address
	swept time.Time
}

// address is guarded by the lock of addresses.
type address struct {
	sessions            int
	handshakes, unknown bucket
}

// addressKey is what is counted for a client's address: of IPv6 the network that a
// single customer usually has. Anything but an IP address, such as the peer on a
// Unix socket, is not counted.
func addressKey(addr string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Addr{}, false
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip, true
	}
	p, err := ip.Prefix(64)
	return p.Addr(), err == nil
}

func (a *addresses) getLocked(key netip.Addr, now time.Time) *address {
	if e := a.m[key]; e != nil {
		return e
	}
	if since := now.Sub(a.swept); since > sweepEvery || len(a.m) >= maxAddresses && since > sweepPause {
		a.sweepLocked(now)
	}
	if len(a.m) >= maxAddresses {
		return nil
	}
	e := new(address)
	a.m[key] = e
	return e
}

// sweepLocked forgets the addresses that have been quiet. It makes a new map, because
// one that was large once stays slow to walk.
func (a *addresses) sweepLocked(now time.Time) {
	a.swept = now
	kept := make(map[netip.Addr]*address)
	for key, e := range a.m {
		if e.sessions > 0 || !e.handshakes.idle(now, a.opts.AddressHandshakeRate) || !e.unknown.idle(now, a.opts.UnknownSessionRate) {
			kept[key] = e
		}
	}
	a.m = kept
}

// handshake decides about a handshake from an address.
func (a *addresses) handshake(addr string) *refusal {
	o := a.opts
	if o.MaxConnectionsPerAddress <= 0 && o.AddressHandshakeRate <= 0 {
		return nil
	}
	key, ok := addressKey(addr)
	if !ok {
		return nil
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.getLocked(key, now)
	if e == nil {
		return nil
	}
	if a.fullLocked(e) {
		return tooMany(limitAddressConnections, http.StatusTooManyRequests, 0)
	}
	if wait := e.handshakes.take(now, o.AddressHandshakeRate, o.AddressHandshakeBurst); wait > 0 {
		return tooMany(limitAddressHandshakeRate, http.StatusTooManyRequests, wait)
	}
	return nil
}

func (a *addresses) fullLocked(e *address) bool {
	return a.opts.MaxConnectionsPerAddress > 0 && e.sessions >= a.opts.MaxConnectionsPerAddress
}

// enter counts a session. It returns false when its address has enough of them:
// handshakes that ran at the same time may have passed the first look.
func (a *addresses) enter(addr string) (*address, bool) {
	if a.opts.MaxConnectionsPerAddress <= 0 {
		return nil, true
	}
	key, ok := addressKey(addr)
	if !ok {
		return nil, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.getLocked(key, time.Now())
	if e == nil {
		return nil, true
	}
	if a.fullLocked(e) {
		return nil, false
	}
	e.sessions++
	return e, true
}

func (a *addresses) leave(e *address) {
	if e == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.sessions--
}

// stranger decides about a request for a session that is not here. With take it
// counts; else it is looked at only.
func (a *addresses) stranger(addr string, take bool) *refusal {
	rate := a.opts.UnknownSessionRate
	if rate <= 0 {
		return nil
	}
	key, ok := addressKey(addr)
	if !ok {
		return nil
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.getLocked(key, now)
	if e == nil {
		return nil
	}
	b := e.unknown
	wait := b.take(now, rate, 5*rate)
	if wait > 0 {
		return tooMany(limitUnknownSessionRate, http.StatusTooManyRequests, wait)
	}
	if take {
		e.unknown = b
	}
	return nil
}

// tooMany refuses a request because of a limit. wait is when another attempt makes
// sense; zero is unknown.
func tooMany(l limit, status int, wait time.Duration) *refusal {
	return &refusal{code: CodeForbidden, context: "LIMIT_REACHED", message: http.StatusText(status),
		status: status, limit: l, wait: wait}
}

// throttle decides about a handshake by the rates. The address comes first, so that
// a client alone cannot use up what there is for all.
func (srv *Server) throttle(r *http.Request) *refusal {
	if no := srv.addresses.handshake(srv.clientAddr(r)); no != nil {
		return no
	}
	if wait := srv.node.take(srv.opts.HandshakeRate, srv.opts.HandshakeBurst); wait > 0 {
		return tooMany(limitHandshakeRate, http.StatusServiceUnavailable, wait)
	}
	return nil
}

// takeRequest ends a session that sends too many requests.
func (s *Session) takeRequest() *refusal {
	rate := s.srv.opts.SessionRequestRate
	if rate <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.requests.take(time.Now(), rate, 2*rate)
	if wait <= 0 {
		return nil
	}
	s.closeLocked(ReasonTransportError, errRequestRate, false)
	no := tooMany(limitSessionRequestRate, http.StatusTooManyRequests, wait)
	no.counted = true // at the end of the session
	return no
}

// refuseLimit counts a refusal and says when to come back.
func (srv *Server) refuseLimit(w http.ResponseWriter, no *refusal) {
	if !no.counted {
		srv.count.hit(no.limit)
	}
	after := retryAfter
	if no.wait > 0 {
		after = strconv.Itoa(int((no.wait + time.Second - 1) / time.Second))
	}
	w.Header().Set("Retry-After", after)
}

// maxURIBytes bounds what a session keeps of the path and the query of its
// handshake.
const maxURIBytes = 8 << 10

// admit makes a new session known and counts it for its address.
func (srv *Server) admit(s *Session) bool {
	e, ok := srv.addresses.enter(s.req.addr)
	s.address = e // nobody knows s yet
	if ok && srv.register(s) {
		return true
	}
	srv.addresses.leave(e)
	s.out.Clear()
	return false
}

// whyNot explains why a session that passed all checks was not admitted: something
// has changed since, or its id is taken.
func (srv *Server) whyNot(r *http.Request) *refusal {
	if no := srv.addresses.full(srv.clientAddr(r)); no != nil {
		return no
	}
	no := refuse(CodeBadRequest, "TRANSPORT_HANDSHAKE_ERROR")
	no.busy = srv.overloaded()
	return no
}

// full refuses an address that has enough sessions.
func (a *addresses) full(addr string) *refusal {
	key, _ := addressKey(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.m[key]; e != nil && a.fullLocked(e) {
		return tooMany(limitAddressConnections, http.StatusTooManyRequests, 0)
	}
	return nil
}
