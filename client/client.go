// Package client holds the browser client that a server offers to the pages it
// serves: client/src compiled to client/dist.
//
// # Concurrency
//
// Files may be read by any number of goroutines.
package client

import (
	"embed"
	"io/fs"
)

//go:embed dist/*.js dist/*.map dist/*.br
var dist embed.FS

// Files returns the built files: socket.io.js, socket.io.min.js,
// socket.io.esm.min.js, socket.io.msgpack.min.js, those of WebTransport, and their
// source maps; and each of them compressed with Brotli, with .br behind its name.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}
