package admin

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

const (
	// fetchTimeout bounds the wait for the sockets of other nodes.
	fetchTimeout = 5 * time.Second
	// fetchConcurrency bounds the namespaces that are asked for at a time.
	fetchConcurrency = 8
	// maxAllSockets bounds all_sockets, in bytes: more than core.Options.MaxQueueBytes
	// would end the UI's connection.
	maxAllSockets = 512 << 10
)

// adminKey is where nodes put what the UI shows about a socket into the data that
// FetchSockets shows.
const adminKey = "_admin"

// adminData is the value of adminKey.
type adminData struct {
	ClientID  string `json:"clientId"`
	Transport string `json:"transport"`
}

// socketInfo is a socket in the form the UI knows.
type socketInfo struct {
	ID        string          `json:"id"`
	ClientID  string          `json:"clientId"`
	Transport string          `json:"transport,omitempty"`
	Namespace string          `json:"nsp"`
	Data      json.RawMessage `json:"data"`
	Handshake handshakeInfo   `json:"handshake"`
	Rooms     []string        `json:"rooms"`
}

// handshakeInfo is a handshake without its auth.
type handshakeInfo struct {
	Address string         `json:"address"`
	Headers map[string]any `json:"headers"`
	Query   map[string]any `json:"query"`
	Issued  int64          `json:"issued"`
	Secure  bool           `json:"secure"`
	Time    string         `json:"time"`
	URL     string         `json:"url"`
	XDomain bool           `json:"xdomain"`
}

// secretHeaders would let who sees them act for the client.
var secretHeaders = []string{"authorization", "cookie", "proxy-authorization"}

func describeSocket(nsp string, r core.RemoteSocket) socketInfo {
	out := socketInfo{ID: r.ID(), ClientID: r.ID(), Namespace: nsp, Rooms: r.Rooms()}
	var more adminData
	out.Data, more = splitData(r)
	if more.ClientID != "" {
		out.ClientID, out.Transport = more.ClientID, more.Transport
	}
	_ = json.Unmarshal(r.Handshake(), &out.Handshake) // what another node sends is shown as far as it is understood
	h := &out.Handshake
	for _, name := range secretHeaders {
		if _, ok := h.Headers[name]; ok {
			h.Headers[name] = "(not shown)"
		}
	}
	for _, name := range []string{"x-forwarded-for", "cf-connecting-ip"} {
		if addr, ok := h.Headers[name].(string); ok && addr != "" {
			h.Address = addr
		}
	}
	return out
}

// splitData returns the data attribute as the program set it, and what describe
// has added.
func splitData(r core.RemoteSocket) (data json.RawMessage, more adminData) {
	if err := r.Data(&data); err != nil || len(data) == 0 {
		return json.RawMessage("{}"), more
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil || fields[adminKey] == nil {
		return data, more
	}
	_ = json.Unmarshal(fields[adminKey], &more) // left empty where it is something else
	delete(fields, adminKey)
	if text, err := json.Marshal(fields); err == nil {
		data = text
	}
	return data, more
}

// describe adds to a socket's data what splitData takes out of it. Data that is no
// object stays as it is.
func (a *Admin) describe(s *core.Socket, data json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if a.closed.Load() || json.Unmarshal(data, &fields) != nil || fields == nil {
		return data
	}
	var err error
	if fields[adminKey], err = json.Marshal(adminData{s.ConnectionID(), s.Transport()}); err != nil {
		return data
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return data
	}
	return out
}

// local describes a socket of this node, unless it has gone.
func local(s *core.Socket) (socketInfo, bool) {
	all, err := s.Namespace().Local().To(s.ID()).FetchSockets(context.Background())
	if err != nil {
		return socketInfo{}, false
	}
	for _, r := range all {
		if r.ID() == s.ID() {
			info := describeSocket(s.Namespace().Name(), r)
			info.ClientID, info.Transport = s.ConnectionID(), s.Transport()
			return info, true
		}
	}
	return socketInfo{}, false
}

// allSockets describes the sockets of all nodes in the namespaces of this one.
func (a *Admin) allSockets(ctx context.Context) []json.RawMessage {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	namespaces := a.srv.OfAll().Namespaces()
	found := make([][]socketInfo, len(namespaces))
	slots := make(chan struct{}, fetchConcurrency)
	var work sync.WaitGroup
	for i, n := range namespaces {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			found[i] = a.fetch(ctx, n)
		})
	}
	work.Wait()
	return a.fitting(found)
}

func (a *Admin) fetch(ctx context.Context, n *core.Namespace) (out []socketInfo) {
	all, err := n.FetchSockets(ctx)
	if err != nil { // all has those of the nodes that answered
		a.log.Warn("socketio: admin: sockets are missing", "event", "admin.fetch_failed", "namespace", n.Name(), "error", err)
	}
	for _, r := range all {
		out = append(out, describeSocket(n.Name(), r))
	}
	return out
}

// fitting returns as many as may be sent in one event.
func (a *Admin) fitting(found [][]socketInfo) []json.RawMessage {
	out, size, left := []json.RawMessage{}, 0, 0
	for _, list := range found {
		for _, s := range list {
			text, err := json.Marshal(s)
			if err != nil || size+len(text) > maxAllSockets {
				left++
				continue
			}
			size += len(text) + 1
			out = append(out, text)
		}
	}
	if left > 0 {
		a.log.Warn("socketio: admin: too many sockets to show", "event", "admin.truncated", "shown", len(out), "left_out", left)
	}
	return out
}
