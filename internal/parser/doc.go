// Package parser reads and writes Socket.IO packets: the text grammar of
// socket.io-protocol v5, binary attachments, and the arguments inside.
//
// Decoding never builds values. One pass over the text validates it, after
// which the arguments stay raw JSON until somebody asks for a Go value, so a
// packet nobody listens to costs no allocation. Encoding turns every []byte in
// the arguments, however deep, into an attachment.
//
// # What the decoder accepts
//
// It accepts and rejects what socket.io-parser 4.2 (index.ts, binary.ts) does,
// oddities included: "2" is an event without data, white space counts as the ack
// id 0, a number is an event name. It differs on purpose in these points:
//
//   - A packet that announces no attachments ("50-[...]") is a plain event and
//     waits for nothing (CVE-2026-69185); from 4.2.7 on the reference rejects it.
//   - Every attachment must be used by exactly one placeholder. A mismatch is
//     found in the text, before any attachment is held.
//   - Ack ids above 2^53-1, JSON nested deeper than [Limits.MaxDepth]
//     or of more than [Limits.MaxTokens] values and keys,
//     namespaces longer than [Limits.MaxNamespace], and invalid UTF-8 are errors.
//   - An attachment count is written in decimal digits and nothing else, and an ack
//     id with white space between its digits, NaN in the reference, is an error.
//   - A binary packet is bounded in bytes, and [Decoder.Since] lets the caller
//     bound it in time (CVE-2026-33151).
//
// Placeholders are recognized in any key order and with extra keys, as clients
// in other languages write them; the Data of a decoded packet always has them in
// the form this package writes, numbered in document order.
//
// # What the encoder writes
//
// JSON as JSON.stringify writes it where that is cheap: no HTML escaping, -0 as
// 0, U+2028 and U+2029 raw except where encoding/json does the work. NaN and
// infinities are errors. A nil []byte is null, as in encoding/json; an empty one
// is an empty attachment. Types that encode themselves (json.Marshaler,
// encoding.TextMarshaler) are left to do so, bytes inside included, and [N]byte
// is an array of numbers. A user's object that looks like a placeholder,
// {"_placeholder":true,...}, is sent as it is; official clients misread it when
// the same packet has attachments.
//
// # Concurrency
//
// A Decoder belongs to one goroutine. A Codec is a value and safe for concurrent
// use if its functions are. Everything else is a pure function. The package
// starts no goroutines. What Text returns aliases its argument unless the packet
// has attachments; what Binary completes is the caller's alone.
package parser
