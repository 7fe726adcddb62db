// Package wire encodes and decodes what Node.js cluster adapters say to each
// other: the envelope {type, data, uid, nsp} of socket.io-adapter's
// cluster-adapter.ts, as JSON or MessagePack, whole or split over the fields of a
// Redis stream entry. Every bus but the classic Redis one speaks it; the classic
// one shares its parts.
//
// An envelope is built as JSON text and transcoded where MessagePack is wanted,
// so there is one encoder; msgpack.Value takes both apart, so there is one
// decoder. Optional members are left out, never null: the reference tests for
// undefined. Unknown members are ignored, a member of the wrong type makes the
// message invalid.
//
// # Concurrency
//
// There is no shared state. Decoded messages hold no part of the input except
// their attachments' bytes, which alias it.
package wire
