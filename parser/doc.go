// Package parser is the seam between a server and the form of its packets.
//
// A server speaks the text of socket.io-protocol v5 unless Options.Parser names
// another Parser, which its clients must then use too. Package parser/msgpack
// has the other official one. What a Parser sees is JSON text and the binary
// values inside it, so that it transcodes bytes and builds no trees of values.
//
// The seam is that of the reference server's parser option (socket.io index.ts):
// one encoder per server, one decoder per connection. Nodes of one cluster may
// have different parsers; what they tell each other does not depend on it.
//
// # Concurrency
//
// A Parser is shared by all goroutines of a server, a Decoder belongs to one.
package parser
