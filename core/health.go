package core

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/socketfleet/socketfleet/adapter"
)

// HealthHandler returns a handler for the probes of load balancers and
// orchestrators. It looks at the end of the request's path only, so that it can
// be mounted anywhere:
//
//   - /livez answers 200 as long as the server's locks can be taken.
//   - /readyz answers 200 while new connections are welcome, and 503 once Drain,
//     Shutdown or Close has been called or MaxConnections is reached. The state of
//     the adapter does not count unless Options.ReadyRequiresAdapter is set.
//   - /readyz?verbose and /livez?verbose say in plain text what was looked at, in
//     the form of Kubernetes' own endpoints, and the state of the adapter.
//
// Anything else is 404. The answers hold no ids and no addresses of clients, but
// belong on a listener that clients do not reach all the same.
func (srv *Server) HealthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var checks []check
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/livez"):
			checks = srv.live()
		case strings.HasSuffix(path, "/readyz"):
			checks = srv.ready()
		default:
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		answerHealth(w, r, checks)
	})
}

// check is one line of an answer.
type check struct {
	name  string
	fault string // empty: passed
	info  string
	only  bool // for information: a fault does not count
}

func (srv *Server) live() []check {
	// Whoever holds one of these for good makes the probe time out.
	srv.mu.Lock()
	n := len(srv.namespaces)
	srv.mu.Unlock()
	return []check{{name: "server", info: fmt.Sprintf("%d namespaces", n)}}
}

func (srv *Server) ready() []check {
	serving := check{name: "serving"}
	select {
	case <-srv.draining:
		serving.fault = "draining"
	default:
	}
	st := srv.engine.Stats()
	connections := check{name: "connections", info: fmt.Sprintf("%d open", st.Sessions)}
	if limit := srv.opts.MaxConnections; limit > 0 {
		connections.info += fmt.Sprintf(" of %d", limit)
	}
	if srv.engine.Full() {
		connections.fault = "full"
	}
	return []check{
		serving,
		connections,
		{name: "queues", info: fmt.Sprintf("%d bytes to send", st.QueuedBytes)},
		srv.adapterCheck(),
		{name: "version", info: version()},
	}
}

func (srv *Server) adapterCheck() check {
	c := check{name: "adapter", only: !srv.opts.ReadyRequiresAdapter}
	reporter, ok := srv.provider.(adapter.HealthReporter)
	if !ok {
		c.info = "in memory"
		return c
	}
	h := reporter.Health()
	c.info = fmt.Sprintf("for %v, %d reconnections, %d messages dropped",
		time.Since(h.Since).Round(time.Second), h.Reconnects, h.Dropped)
	if !h.Up {
		c.fault = "down"
	}
	return c
}

// version returns the version of this module in the running program.
func version() string {
	const unknown = "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	const module = "github.com/socketfleet/socketfleet"
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return unknown
}

// answerHealth writes 200 when all checks that count have passed, else 503 and
// the reasons.
func answerHealth(w http.ResponseWriter, r *http.Request, checks []check) {
	var text strings.Builder
	status := http.StatusOK
	verbose := r.URL.Query().Has("verbose")
	for _, c := range checks {
		mark := "[+]"
		switch {
		case c.fault == "":
		case c.only:
			mark = "[!]"
		default:
			mark, status = "[-]", http.StatusServiceUnavailable
		}
		if !verbose && mark != "[-]" {
			continue
		}
		fmt.Fprintf(&text, "%s%s %s", mark, c.name, cmp.Or(c.fault, "ok"))
		if c.info != "" {
			fmt.Fprintf(&text, ": %s", c.info)
		}
		text.WriteByte('\n')
	}
	if status == http.StatusOK && !verbose {
		text.WriteString("ok\n")
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text.String()))
}
