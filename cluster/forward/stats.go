package forward

import (
	"sync/atomic"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/hist"
)

// Kind is what was forwarded.
type Kind string

// Kinds of requests. Whatever is neither a GET nor an upgrade is a Post.
const (
	Poll    Kind = "poll"
	Post    Kind = "post"
	Upgrade Kind = "upgrade"
)

// Failure is why a request could not be forwarded. The client was told that its
// session is unknown; when it was Busy, to try again.
type Failure string

// Failures.
const (
	OwnerUnknown  Failure = "owner_unknown"  // the registry does not know the owner
	RegistryError Failure = "registry_error" // and an address was not known
	Unreachable   Failure = "unreachable"    // the owner takes no connection
	Broken        Failure = "broken"         // the owner did not answer, or not properly
	HopRefused    Failure = "hop_refused"    // the owner refused this node's signature
	Busy          Failure = "busy"           // too much is under way to the owner
	Looped        Failure = "looped"         // the request had been forwarded before
	ClientGone    Failure = "client_gone"    // the client did not wait for the answer
	NoHijack      Failure = "no_hijack"      // a ResponseWriter hides Hijack
)

// Refusal is why a hop of another node was refused.
type Refusal string

// Refusals.
const (
	Malformed Refusal = "malformed"
	Forged    Refusal = "forged"
	Expired   Refusal = "expired"
	Replayed  Refusal = "replayed"
	WrongNode Refusal = "wrong_node"
	WrongBody Refusal = "wrong_body"
)

// Stats is a snapshot of a Forwarder. InFlight and Tunnels are current numbers, all
// others count since the start.
type Stats struct {
	Forwarded map[Kind]uint64    // requests that their owners answered
	Failed    map[Failure]uint64 // requests that were not
	InFlight  int                // requests under way, without tunnels
	Tunnels   int                // WebSockets that pass through this node

	// Durations is how long the polls and posts took that their owners answered. A
	// poll waits for something to answer with.
	Durations map[Kind]cluster.Histogram

	Accepted uint64             // hops of other nodes
	Refused  map[Refusal]uint64 // hops that were not accepted

	Lookups       uint64 // in the registry
	LookupErrors  uint64 // of these, those the registry did not answer
	LeaseFailures uint64 // attempts to renew the lease that failed
}

var (
	kinds    = [...]Kind{Poll, Post, Upgrade}
	failures = [...]Failure{OwnerUnknown, RegistryError, Unreachable, Broken, HopRefused, Busy, Looped, ClientGone, NoHijack}
	refusals = [...]Refusal{Malformed, Forged, Expired, Replayed, WrongNode, WrongBody}
)

// counters are what Stats is read from.
type counters struct {
	forwarded                            [len(kinds)]atomic.Uint64
	failed                               [len(failures)]atomic.Uint64
	refused                              [len(refusals)]atomic.Uint64
	accepted, lookups, lookupErrs, lease atomic.Uint64
	inFlight, tunnels                    atomic.Int64
	polls, posts                         *hist.Recorder
}

func (c *counters) init() { c.polls, c.posts = hist.NewDurations(), hist.NewDurations() }

// answered counts a request that its owner answered.
func (c *counters) answered(kind Kind, began time.Time) {
	count(kinds[:], c.forwarded[:], kind)
	if kind == Poll {
		c.polls.Since(began)
	} else {
		c.posts.Since(began)
	}
}

func count[T comparable](names []T, counts []atomic.Uint64, name T) {
	for i := range names {
		if names[i] == name {
			counts[i].Add(1)
		}
	}
}

func snapshot[T comparable](names []T, counts []atomic.Uint64) map[T]uint64 {
	m := make(map[T]uint64, len(names))
	for i := range names {
		m[names[i]] = counts[i].Load()
	}
	return m
}

// Stats returns the counters.
func (f *Forwarder) Stats() Stats {
	c := &f.count
	return Stats{
		Forwarded:     snapshot(kinds[:], c.forwarded[:]),
		Failed:        snapshot(failures[:], c.failed[:]),
		InFlight:      int(c.inFlight.Load()),
		Tunnels:       int(c.tunnels.Load()),
		Durations:     map[Kind]cluster.Histogram{Poll: c.polls.Snapshot(), Post: c.posts.Snapshot()},
		Accepted:      c.accepted.Load(),
		Refused:       snapshot(refusals[:], c.refused[:]),
		Lookups:       c.lookups.Load(),
		LookupErrors:  c.lookupErrs.Load(),
		LeaseFailures: c.lease.Load(),
	}
}
