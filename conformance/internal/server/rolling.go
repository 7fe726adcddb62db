package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/cluster/run"
	"github.com/socketfleet/socketfleet/core"
)

// rollingConfig is the JSON of NODE_CONFIG of a rolling node.
type rollingConfig struct {
	nodeConfig
	Life   string `json:"life"` // the name it emits under
	Secret string `json:"secret"`
	Every  int    `json:"every"` // between two numbers of an emitter
	Grace  int    `json:"grace"`
	Window int    `json:"window"`
}

// rollingNode is one life of a node that is stopped by a signal, as in production:
// it drains while it still serves and emits, and says what came of it.
func rollingNode() error {
	var config rollingConfig
	if err := json.Unmarshal([]byte(os.Getenv("NODE_CONFIG")), &config); err != nil {
		return fmt.Errorf("NODE_CONFIG: %w", err)
	}
	rawURL, err := config.adapterURL()
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(config.Port))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	srv, err := core.New(ctx, &core.Options{
		AdapterURL:    rawURL,
		NodeID:        config.Name,
		ClusterSecret: config.Secret,
		AdvertiseURL:  "http://" + ln.Addr().String(),
		Forwarder:     forward.New(nil),
		Recovery:      config.recovery(),
	})
	if err != nil {
		return err
	}
	srv.OnConnect(joinRooms)
	emits := newTraffic(srv, config.Life, milliseconds(config.Every))
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/readyz", srv.HealthHandler())
	mux.HandleFunc("POST /start", func(http.ResponseWriter, *http.Request) { emits.start() })
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(emits.end()) // the driver may have gone
	})
	return run.Serve(context.Background(), run.Config{
		HTTP:     &http.Server{Handler: mux},
		Listener: ln,
		Node:     srv,
		Drain: func(ctx context.Context) error {
			report, err := srv.Drain(ctx, core.DrainOptions{Grace: milliseconds(config.Grace), Window: milliseconds(config.Window)})
			say("DRAINED", report)
			say("EMITTED", emits.end())
			return err
		},
		Listening: func(a net.Addr) { say("LISTENING", a.(*net.TCPAddr).Port) },
		Logger:    slog.Default(),
	})
}

// joinRooms lets a client into the rooms it asks for. One that is recovered is there.
func joinRooms(_ context.Context, s *core.Socket) error {
	var auth struct{ Rooms []string }
	if err := json.Unmarshal(s.Handshake().Auth(), &auth); err != nil {
		return err
	}
	if s.Recovered() {
		return nil
	}
	return s.Join(auth.Rooms...)
}

// say prints one line for the driver.
func say(what string, v any) {
	text, _ := json.Marshal(v) // numbers and strings
	fmt.Println(what, string(text))
}

// traffic emits numbers, to everybody and to the room "odd".
type traffic struct {
	srv   *core.Server
	name  string
	every time.Duration
	stop  chan struct{}
	done  sync.WaitGroup

	begin, finish sync.Once

	// Owned by the goroutine of emit; read by others when that has ended.
	last   int
	errors []string
}

// emitted is what a traffic has done: the last number, and the emits that failed.
type emitted struct {
	Last   int      `json:"last"`
	Errors []string `json:"errors"`
}

func newTraffic(srv *core.Server, name string, every time.Duration) *traffic {
	return &traffic{srv: srv, name: name, every: every, stop: make(chan struct{}), errors: []string{}}
}

func (t *traffic) start() { t.begin.Do(func() { t.done.Go(t.emit) }) }

// end stops the traffic for good.
func (t *traffic) end() emitted {
	t.finish.Do(func() { close(t.stop) })
	t.done.Wait()
	return emitted{t.last, t.errors}
}

func (t *traffic) emit() {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.stop:
			return
		}
		t.last++
		t.note(t.srv.Emit("m", t.name, t.last))
		t.note(t.srv.To("odd").Emit("m", t.name+"/odd", t.last))
	}
}

func (t *traffic) note(err error) {
	if err != nil {
		t.errors = append(t.errors, err.Error())
	}
}
