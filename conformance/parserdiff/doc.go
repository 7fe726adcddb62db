// Command parserdiff decodes what the differential test of the conformance suite
// (test/parserdiff.test.mjs) feeds to the official JavaScript decoders as well.
//
// Each line of the input is a case: the decoder's name, then the messages one
// connection receives, each "t:" or "b:" and base64. Each line of the output is
// what came of it as JSON: the packets, binary written as {"$bin":"<base64>"},
// and the error that ended the connection. The decoders:
//
//	text     the Socket.IO packets of package internal/parser
//	msgpack  those of package parser/msgpack; every packet is also encoded again
//	payload  one polling payload, through a whole Engine.IO server
//
// # Concurrency
//
// There is one goroutine; the Engine.IO server is called in process.
package main
