// Command server is the server under test in the conformance suites.
package main

import "github.com/socketfleet/socketfleet/conformance/internal/server"

func main() { server.Main() }
