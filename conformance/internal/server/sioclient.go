package server

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// admissionDelay makes handshakes asynchronous, as the suite's own server does.
const admissionDelay = 10 * time.Millisecond

// socketClientServer is the server the test suite of socket.io-client expects.
func socketClientServer() (http.Handler, string, error) {
	srv, err := core.New(context.Background(), &core.Options{
		PingInterval: 2 * time.Second,
		Recovery:     &core.RecoveryOptions{},
		Origins:      []string{"*"},
		AllowRequest: func(r *http.Request) error {
			select {
			case <-time.After(admissionDelay):
			case <-r.Context().Done():
			}
			return nil
		},
	})
	if err != nil {
		return nil, "", err
	}
	srv.Use(func(_ context.Context, s *core.Socket) error {
		if s.Handshake().Query()["fail"] != "" {
			return &core.ConnectError{Message: "Auth failed (main namespace)"}
		}
		return nil
	})
	mainNamespace(srv)
	core.OnAck(srv.Of("/foo"), "getId", ownID)
	srv.Of("/abc").OnConnect(func(_ context.Context, s *core.Socket) error {
		return s.Emit("handshake", s.Handshake())
	})
	srv.Of("/no").Use(func(context.Context, *core.Socket) error {
		return &core.ConnectError{Message: "Auth failed (custom namespace)"}
	})
	for _, name := range []string{"/asd", "/valid", "/timeout_socket"} {
		srv.Of(name)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	return mux, portFromEnv("3210"), nil
}

func ownID(_ context.Context, s *core.Socket, _ core.Args) (string, error) { return s.ID(), nil }

func isoDate() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

func mainNamespace(srv *core.Server) {
	answer(srv, "hi", func(s *core.Socket) error { return s.Emit("hi") })
	core.OnAck(srv, "echo", func(_ context.Context, _ *core.Socket, v any) (any, error) { return v, nil })
	core.OnArgs(srv, "ack", askBack)
	core.OnAck(srv, "getAckDate", func(context.Context, *core.Socket, any) (string, error) { return isoDate(), nil })
	answer(srv, "getDate", func(s *core.Socket) error { return s.Emit("takeDate", isoDate()) })
	answer(srv, "getDateObj", func(s *core.Socket) error {
		return s.Emit("takeDateObj", map[string]string{"date": isoDate()})
	})
	answer(srv, "getUtf8", func(s *core.Socket) error {
		for _, text := range []string{"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"} {
			if err := s.Emit("takeUtf8", text); err != nil {
				return err
			}
		}
		return nil
	})
	answer(srv, "false", func(s *core.Socket) error { return s.Emit("false", false) })
	answer(srv, "doge", func(s *core.Socket) error { return s.Emit("doge", []byte("asdfasdf")) })
	answer(srv, "getbin", func(s *core.Socket) error { return s.Emit("takebin", []byte("asdfasdf")) })
	core.OnAck(srv, "getHandshake", func(_ context.Context, s *core.Socket, _ core.Args) (*core.Handshake, error) {
		return s.Handshake(), nil
	})
	core.OnAck(srv, "getId", ownID)
	binaryEvents(srv)
}

// answer reacts to an event whose arguments do not matter.
func answer(srv *core.Server, event string, fn func(*core.Socket) error) {
	core.OnArgs(srv, event, func(_ context.Context, s *core.Socket, _ core.Args) error { return fn(s) })
}

// askBack waits off the dispatcher: the suite sends the event again while its
// answers are still missing.
func askBack(_ context.Context, s *core.Socket, _ core.Args) error {
	go func() {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		args, err := core.EmitWithAck[core.Args](ctx, s, "ack")
		if err != nil {
			return // one case of the suite never answers
		}
		var number int
		var object struct{ Test bool }
		if args.Decode(0, &number) == nil && args.Decode(1, &object) == nil && number == 5 && object.Test {
			_ = s.Emit("got it") // the client may have gone
		}
	}()
	return nil
}

// greeting is the object with a binary part that the suite sends.
type greeting struct {
	Hello   string `json:"hello"`
	Message []byte `json:"message"`
	Goodbye string `json:"goodbye"`
}

func (g greeting) ok() bool { return g.Hello == "lol" && len(g.Message) > 0 && g.Goodbye == "gotcha" }

func binaryEvents(srv *core.Server) {
	for event, reply := range map[string]string{"buffa": "buffack", "blob": "back"} {
		core.OnArgs(srv, event, func(_ context.Context, s *core.Socket, a core.Args) error {
			if isBinary(a) {
				return s.Emit(reply)
			}
			return nil
		})
	}
	for event, reply := range map[string]string{"jsonbuff": "jsonbuff-ack", "jsonblob": "jsonblob-ack"} {
		core.On(srv, event, func(_ context.Context, s *core.Socket, g greeting) error {
			if g.ok() {
				return s.Emit(reply)
			}
			return nil
		})
	}
	sequence(srv, "abuff2-ack", "abuff1", "abuff2")
	sequence(srv, "blob3-ack", "blob1", "blob2", "blob3")
}

// sequence emits reply when the events arrive one after the other, of which the
// odd ones carry bytes and the even ones text. The socket's data holds how far
// it has come.
func sequence(srv *core.Server, reply string, events ...string) {
	for i, event := range events {
		core.OnArgs(srv, event, func(_ context.Context, s *core.Socket, a core.Args) error {
			if at, _ := core.Data[int](s); at != i || isBinary(a) != (i%2 == 0) {
				return nil
			}
			if i+1 < len(events) {
				return s.SetData(i + 1)
			}
			return s.Emit(reply)
		})
	}
}

// isBinary reports whether the first argument is bytes rather than JSON.
func isBinary(a core.Args) bool {
	var data []byte
	var text string
	return a.Decode(0, &text) != nil && a.Decode(0, &data) == nil && !bytes.Equal(data, nil)
}
