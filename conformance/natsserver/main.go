// Command natsserver is the server under test in the conformance suites, with the
// adapters of NATS too. It is a module of its own, as they are.
package main

import (
	_ "github.com/socketfleet/socketfleet/adapter/nats"
	"github.com/socketfleet/socketfleet/conformance/internal/server"
)

func main() { server.Main() }
