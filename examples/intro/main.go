// Command intro is the program of docs/getting-started.md: a page and a socket on
// one port, a greeting and an answer, messages to everybody, to one, and to
// everybody but one.
package main

import (
	"context"
	_ "embed"
	"flag"
	"log"
	"net/http"
	"strings"

	"github.com/socketfleet/socketfleet/core"
)

//go:embed index.html
var page []byte

// whisper is a text for one socket.
type whisper struct {
	To   string `json:"to"` // a socket's id
	Text string `json:"text"`
}

func main() {
	addr := flag.String("addr", "localhost:3000", "address to listen on")
	origins := flag.String("origins", "", "other origins whose pages may connect, by comma")
	flag.Parse()
	srv, err := newServer(context.Background(), *origins)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("http://%s", *addr)
	log.Fatal(http.ListenAndServe(*addr, routes(srv)))
}

func newServer(ctx context.Context, origins string) (*core.Server, error) {
	opts := &core.Options{}
	if origins != "" {
		opts.Origins = strings.Split(origins, ",")
	}
	srv, err := core.New(ctx, opts)
	if err != nil {
		return nil, err
	}
	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
		// To this socket, then to everybody but this socket.
		if err := s.Emit("welcome", map[string]string{"message": "Hello!", "id": s.ID()}); err != nil {
			return err
		}
		return s.Broadcast().Emit("joined", s.ID())
	})
	core.On(srv, "thanks", func(ctx context.Context, s *core.Socket, text string) error {
		log.Printf("%s says thanks: %q", s.ID(), text)
		return nil
	})
	core.On(srv, "shout", func(ctx context.Context, s *core.Socket, text string) error {
		return srv.Emit("message", s.ID(), text) // to everybody
	})
	core.On(srv, "whisper", func(ctx context.Context, s *core.Socket, w whisper) error {
		return srv.To(w.To).Emit("message", s.ID(), w.Text) // to one id, on whichever node
	})
	srv.OnDisconnect(func(ctx context.Context, s *core.Socket, reason core.DisconnectReason) {
		log.Printf("%s disconnected: %s", s.ID(), reason)
		_ = srv.Emit("left", s.ID()) // nobody may be left to tell
	})
	return srv, nil
}

func routes(srv *core.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // the browser may have gone
	})
	return mux
}
