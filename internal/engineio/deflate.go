package engineio

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/socketfleet/socketfleet/internal/wsframe"
)

// DeflateOptions switch the WebSocket extension permessage-deflate (RFC 7692) on.
// Neither side keeps a context from message to message, so that a connection has no
// compressor of its own, and a broadcast is compressed once for all its recipients.
type DeflateOptions struct {
	// Threshold is the size in bytes from which messages are compressed; default
	// 1024.
	Threshold int
	// Level is zlib's, from 1 to 9; default 1.
	Level int
}

// syncTail ends what a flush writes, and is left away on the wire.
var syncTail = []byte{0, 0, 0xff, 0xff}

// deflated returns the message's frames for clients that negotiated
// permessage-deflate: text first, if there is any. Nil stands for a frame that is
// to be sent as it is, because it is short or does not get any smaller.
func (m *Message) deflated(c *compression) [][]byte {
	return m.forms().deflated.get(func() [][]byte {
		frames := make([][]byte, 1+len(m.att))
		frames[0] = deflateFrame(c, wsframe.Text, m.text.packet())
		for i, a := range m.att {
			frames[1+i] = deflateFrame(c, wsframe.Binary, a)
		}
		return frames
	})
}

// deflates reports whether any part of the message is worth compressing.
func (m *Message) deflates(c *compression) bool {
	if c == nil || m.plain {
		return false
	}
	if c.wants(len(m.text.packet())) {
		return true
	}
	for _, a := range m.att {
		if c.wants(len(a)) {
			return true
		}
	}
	return false
}

func deflateFrame(c *compression, op byte, payload []byte) []byte {
	if !c.wants(len(payload)) {
		return nil
	}
	packed := buffers.get()
	defer buffers.put(packed)
	c.append(rawDeflate, payload, packed)
	body := bytes.TrimSuffix(*packed, syncTail)
	if len(body) >= len(payload) {
		return nil
	}
	frame := make([]byte, 0, wsframe.HeaderSize(len(body))+len(body))
	return wsframe.Append(frame, op|wsframe.Compressed, body)
}

// offersDeflate reports whether a client offers permessage-deflate in a form that
// can be accepted: without a limit on the server's window, which compress/flate
// does not have.
func offersDeflate(r *http.Request) bool {
	for _, header := range r.Header["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) == "permessage-deflate" && acceptable(params) {
				return true
			}
		}
	}
	return false
}

func acceptable(params string) bool {
	if params == "" {
		return true
	}
	for param := range strings.SplitSeq(params, ";") {
		name, _, _ := strings.Cut(param, "=")
		switch strings.TrimSpace(name) {
		case "server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits":
		default:
			return false
		}
	}
	return true
}
