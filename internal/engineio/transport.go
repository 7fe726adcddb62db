package engineio

// transport carries the packets of a session. Its methods are called with the
// session's lock held, except kill, and do no I/O themselves.
type transport interface {
	name() string
	// wake tells that packets are queued.
	wake()
	// ready reports whether a packet queued now would leave without waiting behind
	// much else.
	ready() bool
	// finish begins a graceful end. True: nothing is left to send and the session
	// can end now. False: the transport ends it when the queue is empty, or the
	// session's timer does.
	finish() bool
	// end tells the peer that the session is over.
	end()
	// kill frees what the transport may be blocked in. It is called without the
	// lock, once, after end.
	kill(abrupt bool)
}

var (
	_ transport = (*polling)(nil)
	_ candidate = (*wsConn)(nil)
	_ candidate = (*streamConn)(nil)
)
