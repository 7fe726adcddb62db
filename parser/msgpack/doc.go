// Package msgpack is the MessagePack parser, for clients with the option
// parser: require("socket.io-msgpack-parser"):
//
//	srv, err := core.New(ctx, &core.Options{Parser: msgpack.Parser{}})
//
// A packet is one binary message: a map with the keys type, data, nsp and id.
// Binary stands in the data as bin. The wire is that of socket.io-msgpack-parser
// 3.0.2 over notepack.io 2.2: undefined is fixext 1 of type 0, a date is fixext 8
// of type 0, an ArrayBuffer is ext of type 0. Handlers see what they would see
// with the text parser: a date is its ISO string, an undefined member of an
// object is absent, other undefined values, NaN and infinities are null, and all
// binary is binary.
//
// # Where it differs from the reference
//
// In what it accepts:
//
//   - Reserved event names are refused, as the text parser does.
//   - The limits of the text parser hold: attachments, depth, values.
//   - Acknowledgement ids are 0 to 2^53-1, namespaces begin with "/" and are UTF-8.
//   - Map keys are strings or numbers; a value of an unknown ext type is no array.
//   - Timestamps of the MessagePack specification (ext type -1), which the
//     reference leaves as pairs, are dates.
//   - Binary in a CONNECT packet's data becomes {"type":"Buffer","data":[...]} in
//     the handshake, as a Buffer does in JSON.
//
// In what it writes: id stands before nsp also in the packet of a broadcast, and
// nsp behind data also in the refusal of a namespace that does not exist. Their
// order means nothing to readers of a map.
//
// # Concurrency
//
// A Parser has no state. A decoder belongs to one connection's goroutine.
package msgpack
