package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
)

// front is the load balancer: a request of an existing session goes to the node
// whose name its session id starts with, any other to the next node in turn.
type front struct {
	nodes  []http.Handler
	byName map[string]http.Handler
	next   atomic.Uint64
}

func newFront(nodes []*node) *front {
	f := &front{byName: make(map[string]http.Handler)}
	// A transport that keeps connections would repeat a poll whose answer got
	// lost, and the messages in that answer would be lost with it.
	transport := &http.Transport{DisableKeepAlives: true}
	for _, n := range nodes {
		proxy := &httputil.ReverseProxy{
			Transport: transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: n.addr})
				r.Out.Host = r.In.Host // the nodes compare it with the Origin
			},
		}
		f.nodes = append(f.nodes, proxy)
		f.byName[n.name] = proxy
	}
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(r.URL.Query().Get("sid"), ".")
	if h, ok := f.byName[name]; ok {
		h.ServeHTTP(w, r)
		return
	}
	f.nodes[(f.next.Add(1)-1)%uint64(len(f.nodes))].ServeHTTP(w, r)
}
