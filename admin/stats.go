package admin

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// statsInterval is the pause between two reports. The UI takes a server for dead
// after 10 s without one.
const statsInterval = 2 * time.Second

// serverStats is the argument of server_stats.
type serverStats struct {
	ServerID  string           `json:"serverId"`
	Hostname  string           `json:"hostname"`
	PID       int              `json:"pid"`
	Uptime    float64          `json:"uptime"` // seconds
	Clients   int              `json:"clientsCount"`
	Polling   int              `json:"pollingClientsCount"`
	Events    []aggregate      `json:"aggregatedEvents"`
	Namespace []namespaceStats `json:"namespaces"`
}

type namespaceStats struct {
	Name    string `json:"name"`
	Sockets int    `json:"socketsCount"`
}

// aggregate is what happened since the last report.
type aggregate struct {
	Timestamp int64  `json:"timestamp"` // milliseconds, of a full second
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"`
	Count     uint64 `json:"count"`
}

// report sends the statistics of this node until Close, or the end of the server.
func (a *Admin) report() {
	defer close(a.ended)
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		if errors.Is(a.emit("server_stats", a.stats()), core.ErrClosed) {
			return
		}
		select {
		case <-tick.C:
		case <-a.done:
			return
		}
	}
}

func (a *Admin) stats() serverStats {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	engine := a.srv.Stats().Engine
	out := serverStats{
		ServerID:  a.opts.ServerID,
		Hostname:  host,
		PID:       os.Getpid(),
		Uptime:    time.Since(a.start).Seconds(),
		Clients:   engine.Sessions,
		Polling:   engine.Polling,
		Events:    a.traffic.since(engine, time.Now()),
		Namespace: []namespaceStats{},
	}
	for _, n := range a.srv.OfAll().Namespaces() {
		out.Namespace = append(out.Namespace, namespaceStats{n.Name(), n.SocketCount()})
	}
	slices.SortFunc(out.Namespace, func(x, y namespaceStats) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// traffic is what the counters were at the last report.
type traffic struct{ last core.EngineStats }

// since returns what has been counted since the last call.
func (t *traffic) since(now core.EngineStats, at time.Time) []aggregate {
	out := []aggregate{} // never null: the UI loops over it
	add := func(typ, sub string, n, before uint64) {
		if n > before {
			out = append(out, aggregate{at.Truncate(time.Second).UnixMilli(), typ, sub, n - before})
		}
	}
	last := t.last
	add("rawConnection", "", now.Opened, last.Opened)
	for reason, n := range now.Closed {
		add("rawDisconnection", string(reason), n, last.Closed[reason])
	}
	add("packetsIn", "", now.PacketsIn, last.PacketsIn)
	add("bytesIn", "", now.BytesIn, last.BytesIn)
	add("packetsOut", "", now.PacketsOut, last.PacketsOut)
	add("bytesOut", "", now.BytesOut, last.BytesOut)
	t.last = now
	return out
}
