package redis

import (
	"context"
	"errors"
	"maps"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// Of a batch for several servers, what one took is not sent again because another
// was away.
func TestABatchForSeveralServersIsNotRepeated(t *testing.T) {
	t.Parallel()
	up := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr(), MaxRetries: -1})
	defer up.Close()
	away := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer away.Close()
	key, down := testutil.Prefix(t), true
	l := &link{single: up}
	p := post{link: l, write: func(_ context.Context, m *cluster.Message) (letter, error) {
		to := up
		switch {
		case m.RequestID == "none":
			return letter{}, errNoForm
		case m.RequestID == "bad":
			return letter{}, errors.New("cannot be encoded")
		case m.RequestID == "nowhere" && down:
			return letter{}, errNoServer{errors.New("no master")}
		case m.RequestID == "away" && down:
			to = away
		}
		return letter{to: to, add: func(ctx context.Context, pipe goredis.Pipeliner) goredis.Cmder {
			return pipe.HIncrBy(ctx, key, m.RequestID, 1)
		}}, nil
	}}
	var batch []*cluster.Message
	for _, id := range []string{"one", "none", "away", "two", "nowhere", "three", "bad", "four"} {
		batch = append(batch, &cluster.Message{RequestID: id})
	}
	for _, want := range []cluster.PublishError{{Sent: 2}, {Sent: 4, Permanent: true}, {Sent: 1}} {
		_, err := p.publish(t.Context(), batch)
		var got *cluster.PublishError
		if err == nil {
			got = &cluster.PublishError{Sent: len(batch)}
		} else if !errors.As(err, &got) {
			t.Fatal(err)
		}
		if got.Sent != want.Sent || got.Permanent != want.Permanent {
			t.Fatalf("%+v, want %+v", got, want)
		}
		batch, down = batch[got.Sent:], false
		if got.Permanent {
			batch = batch[1:]
		}
	}
	counts, err := up.HGetAll(t.Context(), key).Result()
	if want := map[string]string{"one": "1", "away": "1", "two": "1", "nowhere": "1", "three": "1", "four": "1"}; err != nil || !maps.Equal(counts, want) {
		t.Errorf("%v, %v", counts, err)
	}
}
