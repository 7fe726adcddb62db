package main

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/examples/internal/chatroom"
)

// front is the load balancer: every request goes to the next node in turn, whoever
// has the session it belongs to. The nodes sort that out among themselves.
type front struct {
	nodes     []*node
	next      atomic.Uint64
	transport *http.Transport
}

// newFront returns the front's handler: the balancer, the chat's page, and what
// that page shows of the nodes and does to them.
func newFront(nodes []*node) http.Handler {
	// A transport that keeps connections would repeat a poll whose answer got
	// lost, and the messages in that answer would be lost with it.
	f := &front{nodes: nodes, transport: &http.Transport{DisableKeepAlives: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("/socket.io/", f.balance)
	mux.HandleFunc("GET /nodes", f.list)
	mux.HandleFunc("POST /nodes/{name}/kill", f.on(func(r *http.Request, n *node) error { n.kill(); return nil }))
	mux.HandleFunc("POST /nodes/{name}/start", f.on(func(r *http.Request, n *node) error { return n.start(r.Context()) }))
	mux.Handle("/", chatroom.Page())
	return http.NewCrossOriginProtection().Handler(mux)
}

func (f *front) balance(w http.ResponseWriter, r *http.Request) {
	for range f.nodes {
		addr, alive := f.nodes[(f.next.Add(1)-1)%uint64(len(f.nodes))].address()
		if !alive {
			continue // as a health check would find out
		}
		proxy := &httputil.ReverseProxy{
			Transport: f.transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: addr})
				r.Out.Host = r.In.Host // the nodes compare it with the Origin
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		}
		proxy.ServeHTTP(w, r)
		return
	}
	http.Error(w, "no node is up", http.StatusServiceUnavailable)
}

// list says which nodes are up.
func (f *front) list(w http.ResponseWriter, _ *http.Request) {
	type state struct {
		Name  string `json:"name"`
		Alive bool   `json:"alive"`
	}
	var out []state
	for _, n := range f.nodes {
		_, alive := n.address()
		out = append(out, state{n.name, alive})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the browser may have gone
}

// on runs do for the node that a request names.
func (f *front) on(do func(*http.Request, *node) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, n := range f.nodes {
			if n.name != r.PathValue("name") {
				continue
			}
			if err := do(r, n); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.NotFound(w, r)
	}
}
