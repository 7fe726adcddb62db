package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// front is the load balancer: every request goes to the next node in turn, whoever
// has the session it belongs to. The nodes sort that out among themselves.
type front struct {
	nodes []http.Handler
	next  atomic.Uint64
}

func newFront(nodes []*node) *front {
	f := new(front)
	// A transport that keeps connections would repeat a poll whose answer got
	// lost, and the messages in that answer would be lost with it.
	transport := &http.Transport{DisableKeepAlives: true}
	for _, n := range nodes {
		f.nodes = append(f.nodes, &httputil.ReverseProxy{
			Transport: transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: n.addr})
				r.Out.Host = r.In.Host // the nodes compare it with the Origin
			},
		})
	}
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.nodes[(f.next.Add(1)-1)%uint64(len(f.nodes))].ServeHTTP(w, r)
}
