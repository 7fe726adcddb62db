// Package webtransport serves Socket.IO over WebTransport, that is over HTTP/3,
// for a [core.Server].
package webtransport
