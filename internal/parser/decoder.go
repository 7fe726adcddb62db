package parser

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits bound what a Decoder accepts. The zero value of each field is its
// default.
type Limits struct {
	// MaxAttachments per packet. Default 10, as in socket.io-parser.
	MaxAttachments int
	// MaxDepth of nested arrays and objects in a payload. Default 128.
	MaxDepth int
	// MaxTokens of a payload: its values, however deep, containers among them, and
	// the keys of its objects. Default 65,536.
	MaxTokens int
	// MaxBytes of a packet with attachments, its text included. Default 1e6.
	MaxBytes int
	// MaxNamespace is the length of a namespace in bytes. Default 256.
	MaxNamespace int
}

var defaults = Limits{MaxAttachments: MaxAttachments, MaxDepth: 128, MaxTokens: 1 << 16, MaxBytes: 1e6, MaxNamespace: 256}

func (l Limits) withDefaults() Limits {
	l.MaxAttachments = orDefault(l.MaxAttachments, defaults.MaxAttachments)
	l.MaxDepth = orDefault(l.MaxDepth, defaults.MaxDepth)
	l.MaxTokens = orDefault(l.MaxTokens, defaults.MaxTokens)
	l.MaxBytes = orDefault(l.MaxBytes, defaults.MaxBytes)
	l.MaxNamespace = orDefault(l.MaxNamespace, defaults.MaxNamespace)
	return l
}

func orDefault(v, d int) int {
	if v <= 0 {
		return d
	}
	return v
}

// Decoder turns the messages of one connection into packets. The zero value has
// the default limits. It is used by one goroutine. After an error the
// connection's packets no longer line up; the decoder holds nothing then.
type Decoder struct {
	limits  *Limits // nil: the defaults; may be shared by many decoders
	nsp     string  // the last namespace seen, so that repeats do not allocate
	pending *pending
}

// pending is a packet that waits for attachments.
type pending struct {
	packet Packet
	got    int
	bytes  int
	order  []int // order[k]: the attachment that the k-th message fills
	since  time.Time
}

// NewDecoder returns a Decoder with limits l.
func NewDecoder(l Limits) *Decoder {
	return &Decoder{limits: &l}
}

// Init resets d and makes it use the limits l, nil for the defaults. l must not
// change any more and may be shared by many decoders. Init is meant for a
// Decoder that is a field of something larger.
func (d *Decoder) Init(l *Limits) { *d = Decoder{limits: l} }

func (d *Decoder) lim() Limits {
	if d.limits == nil {
		return defaults
	}
	return d.limits.withDefaults()
}

// Pending reports whether a packet waits for attachments.
func (d *Decoder) Pending() bool { return d.pending != nil }

// Since returns when the packet that waits for attachments began, so that the
// caller can bound the wait; the zero time when none does.
func (d *Decoder) Since() time.Time {
	if d.pending == nil {
		return time.Time{}
	}
	return d.pending.since
}

// Text takes a text message. It reports whether the packet is complete; if not,
// Binary has to follow. Data of a complete packet aliases b.
func (d *Decoder) Text(b []byte) (Packet, bool, error) {
	if d.pending != nil {
		d.pending = nil
		return Packet{}, false, ErrUnexpectedText
	}
	h, err := d.header(b)
	if err != nil {
		return Packet{}, false, err
	}
	p := h.packet
	marks, err := d.payload(&p, h)
	if err != nil {
		return Packet{}, false, err
	}
	if h.attachments == 0 {
		return p, true, nil
	}
	return Packet{}, false, d.wait(p, marks)
}

// Binary takes a binary message and keeps a copy of it. It returns the packet
// that has been waiting when this was its last attachment.
func (d *Decoder) Binary(b []byte) (Packet, bool, error) {
	w := d.pending
	if w == nil {
		return Packet{}, false, ErrUnexpectedBinary
	}
	if w.bytes+len(b) > d.lim().MaxBytes {
		d.pending = nil
		return Packet{}, false, ErrTooLarge
	}
	w.bytes += len(b)
	data := make([]byte, len(b))
	copy(data, b)
	w.packet.Attachments[w.order[w.got]].Data = data
	if w.got++; w.got < len(w.order) {
		return Packet{}, false, nil
	}
	d.pending = nil
	return w.packet, true, nil
}

// wait keeps p, whose text is checked, until its attachments have arrived.
func (d *Decoder) wait(p Packet, marks []mark) error {
	if len(p.Data) > d.lim().MaxBytes {
		return ErrTooLarge
	}
	w := &pending{packet: p, bytes: len(p.Data), order: make([]int, len(marks)), since: time.Now()}
	w.packet.Owned = true
	w.packet.Data, w.packet.Attachments = canonical(p.Data, marks)
	for i, m := range marks {
		w.order[m.num] = i
	}
	d.pending = w
	return nil
}

// canonical copies data with the placeholders numbered in document order and
// written as AppendArray writes them, so that no reader of a Packet has to deal
// with other forms.
func canonical(data []byte, marks []mark) ([]byte, []Attachment) {
	out := make([]byte, 0, len(data)+len(marks))
	atts := make([]Attachment, len(marks))
	from := 0
	for i, m := range marks {
		out = append(out, data[from:m.at]...)
		atts[i].At = len(out)
		out = appendPlaceholder(out, i)
		from = m.end
	}
	return append(out, data[from:]...), atts
}

// header is the part of a text packet before its payload.
type header struct {
	packet      Packet
	attachments int
	rest        []byte
}

func (d *Decoder) header(b []byte) (header, error) {
	var h header
	if len(b) == 0 {
		return h, ErrType
	}
	switch c := b[0]; {
	case '0' <= c && c <= '6':
		h.packet.Type = Type(c - '0')
	case isIDSpace(c): // Number(" ") is 0
	default:
		return h, ErrType
	}
	b = b[1:]
	var err error
	if h.packet.Type >= BinaryEvent {
		h.packet.Type -= BinaryEvent - Event
		if h.attachments, b, err = attachmentCount(b, d.lim().MaxAttachments); err != nil {
			return h, err
		}
	}
	if h.packet.Namespace, b, err = d.namespace(b); err != nil {
		return h, err
	}
	h.packet.ID, h.packet.HasID, h.rest, err = packetID(b)
	return h, err
}

// attachmentCount reads "<digits>-". No digits are zero, as in the reference.
func attachmentCount(b []byte, limit int) (int, []byte, error) {
	n, i := 0, 0
	for ; i < len(b) && isDigit(b[i]); i++ {
		n = min(n*10+int(b[i]-'0'), limit+1)
	}
	if i == len(b) || b[i] != '-' {
		return 0, nil, ErrAttachments
	}
	if n > limit {
		return 0, nil, ErrTooManyAttachments
	}
	return n, b[i+1:], nil
}

// namespace reads "/name," or "/name" at the end of the packet.
func (d *Decoder) namespace(b []byte) (string, []byte, error) {
	if len(b) == 0 || b[0] != '/' {
		return "/", b, nil
	}
	name, rest, _ := bytes.Cut(b, []byte{','})
	if len(name) == 1 {
		return "/", rest, nil
	}
	if d.nsp != string(name) {
		if len(name) > d.lim().MaxNamespace || !utf8.Valid(name) {
			return "", nil, ErrNamespace
		}
		d.nsp = string(name)
	}
	return d.nsp, rest, nil
}

// packetID reads the ack id. White space around the digits is part of it, and
// white space alone is 0, because the reference tests each character with
// Number().
func packetID(b []byte) (id uint64, has bool, rest []byte, err error) {
	i := 0
	for i < len(b) && (isDigit(b[i]) || isIDSpace(b[i])) {
		i++
	}
	for _, c := range bytes.TrimSpace(b[:i]) {
		if !isDigit(c) {
			return 0, false, nil, ErrID
		}
		if id = id*10 + uint64(c-'0'); id > MaxID {
			return 0, false, nil, ErrID
		}
	}
	return id, i > 0, b[i:], nil
}

func isIDSpace(c byte) bool { return isSpace(c) || c == '\v' || c == '\f' }

// payload checks the payload of p and sets p.Data. It returns the placeholders
// of a packet with attachments, each number once.
func (d *Decoder) payload(p *Packet, h header) ([]mark, error) {
	if len(h.rest) == 0 {
		if h.attachments > 0 {
			return nil, ErrAttachments
		}
		return nil, nil
	}
	s := scanner{data: h.rest, maxDepth: d.lim().MaxDepth, collect: h.attachments}
	if err := s.scan(); err != nil {
		if s.deep {
			return nil, fmt.Errorf("%w: %w: %w", ErrPayload, ErrTooDeep, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if tooManyTokens(h.rest, d.lim().MaxTokens) {
		return nil, ErrTooManyTokens
	}
	p.Data = bytes.TrimRight(h.rest, " \t\r\n")
	if !validPayload(p) {
		return nil, ErrPayload
	}
	if !eachOnce(s.marks, h.attachments) {
		return nil, ErrAttachments
	}
	return s.marks, nil
}

// validPayload says whether p.Data, a JSON value, suits the packet's type.
func validPayload(p *Packet) bool {
	first := p.Data[0]
	switch p.Type {
	case Connect:
		return first == '{'
	case ConnectError:
		return first == '{' || first == '"'
	case Ack:
		return first == '['
	case Event:
		name, ok := NameBytes(p.Data)
		return ok && !IsReserved(string(name))
	}
	return false
}

// eachOnce reports whether the placeholders number the n attachments, each
// exactly once.
func eachOnce(marks []mark, n int) bool {
	if len(marks) != n {
		return false
	}
	for i, m := range marks {
		if m.num < 0 || m.num >= n {
			return false
		}
		for _, other := range marks[:i] {
			if other.num == m.num {
				return false
			}
		}
	}
	return true
}
