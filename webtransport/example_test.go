package webtransport_test

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/webtransport"
)

// One program serves HTTP over TCP and WebTransport over UDP, both at port 443.
func Example() {
	srv, err := core.New(context.Background(), &core.Options{
		Transports: []string{"polling", "websocket", "webtransport"},
	})
	if err != nil {
		log.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	wt, err := webtransport.NewServer(srv, &webtransport.Options{Addr: ":443", TLSConfig: conf})
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Print(wt.ListenAndServe()) }()

	http.Handle("/socket.io/", srv)
	web := &http.Server{Addr: ":443", TLSConfig: conf}
	log.Print(web.ListenAndServeTLS("", ""))
}
