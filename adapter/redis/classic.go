package redis

import (
	"context"
	"errors"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
)

// maxLegacy bounds the answers to old requests that wait to be sent.
const maxLegacy = 64

// classic is the dialect of the classic adapter.
type classic struct {
	// Immutable.
	bus    *wireBus
	legacy chan outgoing
}

type outgoing struct {
	channel string
	payload []byte
}

func newClassicBus(l *link, o Options, release func() error) *wireBus {
	b := newWireBus(l, plain, o, release)
	d := &classic{bus: b, legacy: make(chan outgoing, maxLegacy)}
	b.dialect, b.post.write = d, d.letter
	b.start(d.answerLegacy)
	return b
}

func (d *classic) channels(namespace string) channels {
	return channelsOf(d.bus.opts.Key, namespace)
}

// topics returns the channels of requests and answers and, for broadcasts, either
// the pattern of the reference or the one channel for all rooms.
func (d *classic) topics(m *member) []topic {
	ch := d.channels(m.Namespace)
	all := topic{kind: pattern, name: escapeGlob(ch.broadcast) + "*"}
	if d.adaptive() {
		all = topic{name: ch.broadcast}
	}
	answers := []topic{{name: ch.response}, {name: ch.own(m.Self)}}
	if m.Emitter {
		return answers
	}
	return append(answers, all, d.counted(m))
}

func (d *classic) counted(m *member) topic {
	return topic{name: d.channels(m.Namespace).request}
}

func (d *classic) adaptive() bool { return d.bus.opts.Subscription == SubscribeAdaptive }

// room gives every room a channel: senders use it for whatever goes to one room.
func (d *classic) room(m *member, r adapter.Room) (string, bool) {
	return d.channels(m.Namespace).room(r), d.adaptive()
}

func (d *classic) sent(m *member, payload string) bool { return senderOf(payload) == m.Self }

func (d *classic) decode(to *member, channel, payload string) (m *cluster.Message, err error) {
	var old legacy
	switch ch := d.channels(to.Namespace); channel {
	case ch.request:
		m, old, err = decodeRequest(to.Namespace, []byte(payload))
	case ch.response, ch.own(to.Self):
		m, err = decodeResponse(to.Namespace, []byte(payload))
	default:
		room, ok := ch.roomOf(channel)
		if !ok {
			return nil, nil
		}
		if room != "" && !to.AllRooms && !to.HasRoom(room) {
			d.skip(to, payload)
			return nil, nil
		}
		m, err = decodeBroadcast(to.Namespace, []byte(payload))
	}
	if errors.Is(err, errElsewhere) {
		return nil, nil
	}
	if err == nil && old.sid != "" && m.From != to.Self {
		d.acknowledge(to, m, old)
	}
	return m, err
}

// answer sends answers to server-side emits to the shared channel always, as the
// reference does; so it does those to senders without a name.
func (d *classic) answer(to adapter.NodeID, m *cluster.Message) (string, []byte, error) {
	ch := d.channels(m.Namespace)
	channel := ch.response
	if m.Kind == cluster.Heartbeat {
		channel = ch.own(to) // peers of the reference need not see it
	} else if d.bus.opts.SpecificResponseChannel && to != "" && to != cluster.EmitterID && m.Kind != cluster.ServerSideEmitResponse {
		channel = ch.own(to)
	}
	payload, err := encodeAnswer(m)
	return channel, payload, err
}

// lane counts the broadcasts to one room apart when that is how this node hears
// them. The other nodes may differ.
func (d *classic) lane(m *cluster.Message) (cluster.Lane, bool) {
	ok := d.channels(m.Namespace).target(m) != ""
	if !d.adaptive() {
		return cluster.Lane{Rooms: true}, ok
	}
	return cluster.Lane{Room: oneRoom(m)}, ok
}

func (d *classic) letter(ctx context.Context, m *cluster.Message) (letter, error) {
	channel := d.channels(m.Namespace).target(m)
	if channel == "" {
		return letter{}, errNoForm
	}
	payload, err := encode(m)
	if err != nil {
		return letter{}, err
	}
	return d.bus.letterTo(ctx, channel, payload)
}

// acknowledge answers a request in the old form if the socket is here.
func (d *classic) acknowledge(to *member, m *cluster.Message, old legacy) {
	if m.RequestID == "" || !to.HasRoom(old.sid) {
		return
	}
	out := outgoing{channel: d.channels(to.Namespace).response, payload: encodeLegacy(m.RequestID)}
	select {
	case d.legacy <- out:
	default: // the requester times out
	}
}

func (d *classic) answerLegacy(ctx context.Context) {
	for {
		select {
		case out := <-d.legacy:
			if err := d.bus.link.publish(ctx, out.channel, out.payload); err != nil {
				d.bus.opts.Logger.Debug("socketio: redis: reply failed", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
