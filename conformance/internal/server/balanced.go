package server

import (
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/forward"
	"github.com/socketfleet/socketfleet/core"
)

const balancedNodes = 3

// balancedServers returns a front of nodes that each have a port of their own.
func balancedServers() (http.Handler, string, error) {
	loop, secret := cluster.NewLoopback(), rand.Text()
	var nodes []http.Handler
	var forwarders []*forward.Forwarder
	for range balancedNodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		f := forward.New(nil)
		at := &url.URL{Scheme: "http", Host: ln.Addr().String()}
		srv, err := socketServer(core.Options{
			Adapter:       cluster.NewProvider(loop.Bus(), cluster.Options{}),
			ClusterSecret: secret,
			AdvertiseURL:  at.String(),
			Forwarder:     f,
		})
		if err != nil {
			return nil, "", err
		}
		go func() { _ = http.Serve(ln, srv) }() // as long as the process
		nodes = append(nodes, &httputil.ReverseProxy{
			Transport: &http.Transport{DisableKeepAlives: true},
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(at)
				r.Out.Host = r.In.Host
			},
		})
		forwarders = append(forwarders, f)
	}
	mux := http.NewServeMux()
	var turn atomic.Uint64
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
		nodes[turn.Add(1)%balancedNodes].ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /forwarded", func(w http.ResponseWriter, _ *http.Request) {
		sum := make(map[string]uint64)
		for _, f := range forwarders {
			st := f.Stats()
			for kind, n := range st.Forwarded {
				sum[string(kind)] += n
			}
			for why, n := range st.Failed {
				sum["failed_"+string(why)] += n
			}
		}
		_ = json.NewEncoder(w).Encode(sum) // the client may have gone
	})
	return mux, portFromEnv("0"), nil
}
