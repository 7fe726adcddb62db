package core_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"time"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// serve mounts srv, and returns a function that connects clients to it and one
// that ends everything.
func serve(srv *core.Server) (connect func(namespace string) *testutil.Client, stop func()) {
	web := httptest.NewServer(srv)
	var clients []*testutil.Client
	connect = func(namespace string) *testutil.Client {
		c, err := testutil.Dial(context.Background(), web.URL, testutil.ClientOptions{Namespace: namespace})
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, c)
		return c
	}
	return connect, func() {
		for _, c := range clients {
			c.Close()
		}
		_ = srv.Shutdown(context.Background())
		web.Close()
	}
}

func ExampleNew() {
	// nil options mean the reference's defaults: one node, both transports.
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	srv.OnConnect(func(_ context.Context, s *core.Socket) error {
		return s.Emit("welcome", "it works")
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)

	web := httptest.NewServer(mux) // http.ListenAndServe in a program
	client, err := testutil.Dial(context.Background(), web.URL, testutil.ClientOptions{})
	if err != nil {
		log.Fatal(err)
	}
	welcome, _ := client.Next(context.Background(), "welcome")
	fmt.Println(welcome.At(0))

	client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("shutdown:", srv.Shutdown(ctx))
	web.Close()
	// Output:
	// it works
	// shutdown: <nil>
}

func ExampleOn() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	type message struct {
		Room string `json:"room"`
		Text string `json:"text"`
	}
	// The event's first argument is decoded into what the function takes.
	core.On(srv, "chat", func(_ context.Context, s *core.Socket, m message) error {
		return s.Emit("heard", m.Room+": "+m.Text)
	})

	connect, stop := serve(srv)
	defer stop()
	client := connect("/")
	_ = client.Emit("chat", map[string]string{"room": "lobby", "text": "hello"})
	heard, _ := client.Next(context.Background(), "heard")
	fmt.Println(heard.At(0))
	// Output: lobby: hello
}

func ExampleOnAck() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	// The result is the acknowledgement: socket.emit("double", 21, console.log).
	core.OnAck(srv, "double", func(_ context.Context, _ *core.Socket, n int) (int, error) {
		return 2 * n, nil
	})

	connect, stop := serve(srv)
	defer stop()
	answer, _ := connect("/").EmitWithAck(context.Background(), "double", 21)
	fmt.Println(answer.At(0))
	// Output: 42
}

func ExampleEmitWithAck() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	// A handler may wait for an answer of its own socket.
	core.OnAck(srv, "order", func(ctx context.Context, s *core.Socket, item string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		sure, err := core.EmitWithAck[bool](ctx, s, "confirm", item)
		if err != nil {
			return "", err
		}
		return fmt.Sprint("ordered: ", sure), nil
	})

	connect, stop := serve(srv)
	defer stop()
	client := connect("/")
	client.On("confirm", func(a testutil.Args) { _ = a.Ack(true) })
	answer, _ := client.EmitWithAck(context.Background(), "order", "tea")
	fmt.Println(answer.At(0))
	// Output: ordered: true
}

func ExampleBroadcastOperator() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	core.OnAck(srv, "join", func(_ context.Context, s *core.Socket, room string) (bool, error) {
		return true, s.Join(room)
	})

	connect, stop := serve(srv)
	defer stop()
	alice, bob := connect("/"), connect("/")
	for client, room := range map[*testutil.Client]string{alice: "red", bob: "blue"} {
		_, _ = client.EmitWithAck(context.Background(), "join", room)
	}
	// A value that can be kept: every method returns a changed copy.
	both := srv.To("red", "blue")
	_ = both.Emit("news", "for both")
	_ = both.Except("red").Emit("news", "for blue alone")
	_ = both.Emit("news", "the end")
	for name, client := range map[string]*testutil.Client{"alice": alice, "bob": bob} {
		for text := any(nil); text != "the end"; {
			news, _ := client.Next(context.Background(), "news")
			text = news.At(0)
			fmt.Printf("%s: %s\n", name, text)
		}
	}
	// Unordered output:
	// alice: for both
	// alice: the end
	// bob: for both
	// bob: for blue alone
	// bob: the end
}

func ExampleServer_OfPattern() {
	srv, err := core.New(context.Background(), &core.Options{CleanupEmptyNamespaces: true})
	if err != nil {
		log.Fatal(err)
	}
	// One namespace per document, made when the first client asks for it.
	documents := srv.OfPattern(regexp.MustCompile(`^/doc-\d+$`))
	documents.OnConnect(func(_ context.Context, s *core.Socket) error {
		return s.Emit("opened", s.Namespace().Name())
	})

	connect, stop := serve(srv)
	defer stop()
	opened, _ := connect("/doc-7").Next(context.Background(), "opened")
	fmt.Println(opened.At(0))
	// Output: /doc-7
}

func ExampleNamespace_RemoteSocket() {
	srv, err := core.New(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	connect, stop := serve(srv)
	defer stop()
	client := connect("/")
	client.On("ping me", func(a testutil.Args) { _ = a.Ack("here") })

	// An id is enough, whichever node the socket lives on.
	remote := srv.RemoteSocket(client.ID())
	answer, err := core.EmitWithAck[string](context.Background(), remote, "ping me")
	fmt.Println(answer, err)
	// Output: here <nil>
}

func ExampleOptionsFromEnv() {
	_ = os.Setenv("EXAMPLE_PING_INTERVAL", "10s")
	_ = os.Setenv("EXAMPLE_ORIGINS", "https://a.example, https://b.example")
	_ = os.Setenv("EXAMPLE_ADAPTER", "memory://")
	opts, err := core.OptionsFromEnv("EXAMPLE_")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(opts.PingInterval, opts.Origins, opts.AdapterURL)

	_ = os.Setenv("EXAMPLE_MAX_PAYLOAD", "large")
	_, err = core.OptionsFromEnv("EXAMPLE_")
	fmt.Println(err)
	// Output:
	// 10s [https://a.example https://b.example] memory://
	// socketio: environment variable EXAMPLE_MAX_PAYLOAD: "large" is not a whole number
}
