package server

import (
	"context"
	"net/http"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/engineio"
)

const (
	protocolPingInterval = 300 * time.Millisecond
	protocolPingTimeout  = 200 * time.Millisecond
)

func protocolServer() (http.Handler, string, error) {
	engine, err := engineio.NewServer(engineio.Options{
		Path:         "/engine.io/",
		PingInterval: protocolPingInterval,
		PingTimeout:  protocolPingTimeout,
		Origins:      []string{"*"},
	}, func(s *engineio.Session) engineio.Receiver { return echo{s} })
	if err != nil {
		return nil, "", err
	}
	srv, err := socketServer(core.Options{
		PingInterval:   protocolPingInterval,
		PingTimeout:    protocolPingTimeout,
		ConnectTimeout: time.Second,
	})
	if err != nil {
		return nil, "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", engine)
	mux.Handle("/socket.io/", srv)
	return mux, portFromEnv("3000"), nil
}

// socketServer returns a server of opts that does what the official protocol suite expects.
func socketServer(opts core.Options) (*core.Server, error) {
	opts.Origins = []string{"*"}
	srv, err := core.New(context.Background(), &opts)
	if err != nil {
		return nil, err
	}
	greet := func(_ context.Context, s *core.Socket) error { return s.Emit("auth", s.Handshake().Auth()) }
	srv.OnConnect(greet)
	srv.Of("/custom").OnConnect(greet)
	core.OnArgs(srv, "message", func(_ context.Context, s *core.Socket, a core.Args) error {
		return s.Emit("message-back", a)
	})
	core.OnAck(srv, "message-with-ack", func(_ context.Context, _ *core.Socket, a core.Args) (core.Args, error) {
		return a, nil
	})
	return srv, nil
}

// echo sends every message back as it came.
type echo struct{ s *engineio.Session }

func (e echo) Text(data []byte) {
	_ = e.s.Send(engineio.NewMessage(append(engineio.Reserve(len(data)), data...), nil)) // the client may have gone
}

func (e echo) Binary(data []byte) {
	_ = e.s.Send(engineio.NewBinary(append([]byte(nil), data...))) // the client may have gone
}

func (e echo) Closed(engineio.Reason, error) {}
