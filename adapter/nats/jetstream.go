package nats

import (
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// JetStream are the settings of the stream a deployment keeps its messages in, and of
// that of its sessions, which is made where a server has Options.Recovery. They count
// when a stream is made; one that exists is used as it is.
type JetStream struct {
	// Stream is its name. Empty means the prefix, with "_" for dots. The name of the
	// stream of sessions has "_sessions" behind it.
	Stream string
	// MaxAge is how long entries are kept, and so how long a node or a client can be
	// away without missing any. With Options.Recovery of the server it should exceed
	// MaxDisconnection by a minute. 0 means 5 min.
	MaxAge time.Duration
	// MaxMsgs and MaxBytes bound the stream. 0 means 100,000 messages and 256 MiB.
	MaxMsgs  int64
	MaxBytes int64
	// Replicas is on how many servers the stream is kept. 0 means 1.
	Replicas int
	// Memory keeps the stream in the server's memory instead of on disk.
	Memory bool
}

const (
	defaultMaxAge   = 5 * time.Minute
	defaultMaxMsgs  = 100_000
	defaultMaxBytes = 256 << 20
	maxDuplicates   = 2 * time.Minute
)

func (o JetStream) withDefaults(prefix string) (JetStream, error) {
	if o.Stream == "" {
		o.Stream = strings.ReplaceAll(prefix, ".", "_")
	}
	if !plain(o.Stream) {
		return o, errors.New("socketio: nats: the name of the stream consists of letters, digits, _ and -")
	}
	if o.MaxAge < 0 || o.MaxMsgs < 0 || o.MaxBytes < 0 || o.Replicas < 0 || o.MaxAge > 0 && o.MaxAge < time.Second {
		return o, errors.New("socketio: nats: max_age is at least 1s, and max_msgs, max_bytes and replicas are positive")
	}
	for _, f := range []struct {
		value *int64
		def   int64
	}{{(*int64)(&o.MaxAge), int64(defaultMaxAge)}, {&o.MaxMsgs, defaultMaxMsgs}, {&o.MaxBytes, defaultMaxBytes}} {
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	o.Replicas = max(o.Replicas, 1)
	return o, nil
}

func (o JetStream) config(prefix string) jetstream.StreamConfig {
	storage := jetstream.FileStorage
	if o.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name: o.Stream, Subjects: []string{logPrefix(prefix) + "*"},
		Description: "what the nodes of a Socketfleet deployment tell each other",
		Retention:   jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: o.MaxAge, MaxMsgs: o.MaxMsgs, MaxBytes: o.MaxBytes, MaxConsumers: -1,
		Storage: storage, Replicas: o.Replicas, Duplicates: min(maxDuplicates, o.MaxAge),
	}
}
