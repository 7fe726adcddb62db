// Package sid makes and checks identifiers.
//
// A plain id is 20 characters of the URL-safe base64 alphabet, 120 bits from
// crypto/rand. The reference server (engine.io contrib/base64id.ts) has the same
// length, which some of its adapters rely on, but spends 24 of the bits on a
// counter. An Engine.IO session id may carry the id of the node that owns the
// session in front: "<node>.<20 characters>", so that any node, or a load
// balancer, can tell where a request belongs.
//
// # Concurrency
//
// All functions are safe for concurrent use.
package sid
