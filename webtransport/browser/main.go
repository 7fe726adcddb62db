// Command browser serves a page, Socket.IO and WebTransport on one free port of the
// loopback, for the tests in a browser. It prints the port, and the hash of the
// certificate that the browser is to trust, and ends when its input does.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/webtransport"
)

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv, err := core.New(context.Background(), &core.Options{
		Transports: []string{"polling", "websocket", "webtransport"},
		Origins:    []string{"http://" + ln.Addr().String()}, // WebTransport is https, the page is not
	})
	if err != nil {
		return err
	}
	defer srv.Close()
	core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, v core.Args) (core.Args, error) { return v, nil })
	core.OnAck(srv, "transport", func(_ context.Context, s *core.Socket, _ any) (string, error) { return s.Transport(), nil })
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	wt, err := webtransport.NewServer(srv, &webtransport.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}})
	if err != nil {
		return err
	}
	defer wt.Close()
	conn, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		return err
	}
	go func() { _ = wt.Serve(conn) }() // ends with the process
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<!doctype html><script src="/socket.io/socket.io.js"></script><script src="/socket.io/socket.io.webtransport.min.js"></script>`)
	})
	go func() { _ = http.Serve(ln, mux) }() // likewise
	hash := sha256.Sum256(cert.Certificate[0])
	fmt.Printf("%d %s\n", ln.Addr().(*net.TCPAddr).Port, hex.EncodeToString(hash[:]))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// selfSigned returns a certificate browsers accept by its hash: ECDSA, and valid for
// less than two weeks.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
