package redis

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/cluster/wire"
)

// envelopes is the dialect of the sharded adapter and of the streams adapter: the
// envelopes of package wire.
type envelopes struct {
	key        string
	kind       topicKind
	append     func(dst []byte, m *cluster.Message) ([]byte, error)
	ownChannel func(adapter.Room) bool // whether a room has a channel of its own; nil: none has
}

// public returns the name of the public channel of a namespace, to
// which a room or the id of a node, and "#", are added for the others.
func (d *envelopes) public(namespace string) string { return d.key + "#" + namespace + "#" }

func (d *envelopes) own(namespace string, id adapter.NodeID) string {
	return d.public(namespace) + id + "#"
}

func (d *envelopes) topics(m *member) []topic {
	own := topic{d.kind, d.own(m.Namespace, m.Self)}
	if m.Emitter {
		return []topic{own}
	}
	return []topic{d.counted(m), own}
}

func (d *envelopes) counted(m *member) topic { return topic{d.kind, d.public(m.Namespace)} }

func (d *envelopes) room(m *member, r adapter.Room) (string, bool) {
	if d.ownChannel == nil || !d.ownChannel(r) || r == m.Self {
		return "", false
	}
	return d.public(m.Namespace) + r + "#", true
}

func (d *envelopes) sent(m *member, payload string) bool {
	if strings.HasPrefix(payload, "{") {
		return strings.HasSuffix(payload, m.text)
	}
	return strings.HasSuffix(payload, m.packed)
}

func (d *envelopes) decode(m *member, channel, payload string) (*cluster.Message, error) {
	if room, ok := d.roomOf(m, channel); ok && !m.HasRoom(room) {
		return nil, nil
	}
	return wire.Decode([]byte(payload))
}

// roomOf returns the room a channel is for; not ok when it is for the namespace,
// or for this node.
func (d *envelopes) roomOf(m *member, channel string) (room adapter.Room, ok bool) {
	public := d.public(m.Namespace)
	if channel == public || channel == d.own(m.Namespace, m.Self) {
		return "", false
	}
	return strings.CutSuffix(strings.TrimPrefix(channel, public), "#")
}

func (d *envelopes) answer(to adapter.NodeID, m *cluster.Message) (string, []byte, error) {
	if to == "" || to == cluster.EmitterID {
		return "", nil, errors.New("socketio: redis: nobody to reply to")
	}
	payload, err := d.append(nil, m)
	return d.own(m.Namespace, to), payload, err
}

// letter writes m for the channel it belongs on.
func (d *envelopes) letter(ctx context.Context, b *wireBus, m *cluster.Message) (letter, error) {
	if m.Kind > cluster.AdapterClose {
		return letter{}, errNoForm
	}
	payload, err := d.append(nil, m)
	if err != nil {
		return letter{}, err
	}
	return b.letterTo(ctx, d.channel(m), payload)
}

// channel returns the channel a message is published to. A broadcast that asks for
// acknowledgements is for all nodes, because all of them are counted.
func (d *envelopes) channel(m *cluster.Message) string {
	public := d.public(m.Namespace)
	if r := d.roomFor(m); r != "" {
		return public + r + "#"
	}
	return public
}

// roomFor returns the room on whose channel m travels, empty for the public one.
func (d *envelopes) roomFor(m *cluster.Message) adapter.Room {
	if r := oneRoom(m); r != "" && d.ownChannel != nil && d.ownChannel(r) {
		return r
	}
	return ""
}

func (d *envelopes) lane(m *cluster.Message) (cluster.Lane, bool) {
	return cluster.Lane{Room: d.roomFor(m)}, m.Kind <= cluster.AdapterClose
}

// ends returns the last bytes of every envelope a node sends, as JSON and as
// MessagePack: its id and the namespace.
func ends(a cluster.Attach) (text, packed string, err error) {
	probe := &cluster.Message{Kind: cluster.AdapterClose, From: a.Self, Namespace: a.Namespace}
	t, err := wire.Append(nil, probe)
	if err != nil {
		return "", "", err
	}
	p, err := wire.AppendPacked(nil, probe)
	if err != nil {
		return "", "", err
	}
	_, p, _ = bytes.Cut(p, []byte("\xa4type\x0d"))
	return string(bytes.TrimPrefix(t, []byte(`{"type":13`))), string(p), nil
}
