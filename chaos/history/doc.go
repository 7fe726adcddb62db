// Package history judges what clients of a cluster received against what its nodes
// emitted and reported. It holds the promise of package adapter/redis in executable
// form: every message a node did not get lies in a gap that node reported, or was
// reported to the program that emitted it. A run of real processes writes Events
// into a Log; Check reads them. The package starts nothing and knows no adapter.
//
// # Who is entitled to what
//
// All times are of one clock. A session is one connection of a client; sessions
// joined by connection state recovery are one chain, and the time between them
// belongs to it. A chain is entitled to a message when all of this holds:
//
//   - The message is for everybody, or for a room the client is in.
//   - The emit began after the client had been told by its node that it had joined
//     (Ready), and Config.JoinGrace later: in modes that subscribe per room the
//     promise starts when Redis has confirmed the subscription.
//   - The emit began before the chain ended.
//   - The chain received a later message of the same emitter, or lasted for
//     Config.Settle after the emit began. What a client misses in its last moments,
//     without anything later, cannot be told from what was on its way. A chain that
//     never ended lasted long enough: the run waits before it is judged.
//
// A message a chain was entitled to and did not get is missing. It is missing with
// a reason when
//
//   - the emit returned an error, or the emitting node counted a drop, or (where
//     Config.AtMostOnce is set) a failed attempt to publish, between the last time
//     its queue was seen empty before the emit and the first time after it; or the
//     node died before its queue was seen empty, or reported a gap of the kind publish
//     or failover at that time: then the caller was told, or is no more (Report.Told);
//   - a node of the chain reported a gap that overlaps the time from the begin of the
//     emit to the first time the emitting node's queue was seen empty after it. The
//     gap begins Config.Margin early, for messages on their way when it began
//     (Report.InGap).
//
// Neither reason counts for the sockets of the emitting node, which are served
// whatever Redis does, unless Config.Logged says otherwise. Everything else is a finding: missing without a reason, the
// same message twice in one chain, an older message of an emitter after a newer one,
// and a message nobody emitted. An emitter emits to one room only, because order is
// promised per node and room.
//
// # Concurrency
//
// A Log is safe for concurrent use. Check and Report are not, and start no
// goroutine.
package history
