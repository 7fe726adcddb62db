// Package sid makes and checks identifiers.
//
// A plain id is 20 characters of the URL-safe base64 alphabet, 120 bits from
// crypto/rand. The reference server (engine.io contrib/base64id.ts) has the same
// length, which some of its adapters rely on, but spends 24 of the bits on a
// counter. An Engine.IO session id may carry the id of the node that owns the
// session in front: "<node>.<20 characters>", so that any node, or a load
// balancer, can tell where a request belongs.
//
// Where nodes share a secret, a Signer adds ".<epoch><code>": six characters drawn
// when the process starts, which tell it from an earlier one of the same name, and
// eight of an HMAC-SHA256 over the rest. Who does not know the secret cannot make a
// node ask for, or talk to, an owner that does not exist. The code's 48 bits are few
// on purpose: guessing one right buys a lookup and a refusal.
//
// # Concurrency
//
// All functions are safe for concurrent use.
package sid
