package redis

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestURLParameters(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("redis://me:pw@host:1/3?key=k&requests_timeout=7s&specific_response_channel=true&probe_interval=3s")
	if err != nil {
		t.Fatal(err)
	}
	c, o, err := parseURL(u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := c.(*goredis.Client).Options()
	if got.Addr != "host:1" || got.Username != "me" || got.Password != "pw" || got.DB != 3 || got.TLSConfig != nil {
		t.Errorf("client %+v", got)
	}
	if o.Key != "k" || o.Cluster.RequestsTimeout != 7*time.Second || !o.SpecificResponseChannel || o.ProbeInterval != 3*time.Second {
		t.Errorf("options %+v", o)
	}
}

func TestURLTopologies(t *testing.T) {
	t.Parallel()
	tests := []struct{ url, want string }{
		{"redis://", "single localhost:6379"},
		{"rediss://h", "single tls h:6379"},
		{"redis://a:1?cluster=true", "cluster [a:1]"},
		{"redis://a:1?addr=b:2", "cluster [a:1 b:2]"},
		{"redis://a:1/2?master=m&addr=b:2", "single FailoverClient"},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := parseURL(u)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		got := ""
		switch c := c.(type) {
		case *goredis.ClusterClient:
			got = "cluster [" + strings.Join(c.Options().Addrs, " ") + "]"
		case *goredis.Client:
			got = "single "
			if c.Options().TLSConfig != nil {
				got += "tls "
			}
			got += c.Options().Addr
		}
		c.Close()
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"redis://h?kye=k":                     "kye",
		"redis://h?requests_timeout=5":        "requests_timeout",
		"redis://h/x":                         "database",
		"redis://h/3?cluster=true":            "database",
		"redis://h?cluster=true&master=m":     "exclude",
		"redis://h?specific_response_channel": "specific_response_channel",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openURL(context.Background(), u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestNewLeavesTheClientAlone(t *testing.T) {
	t.Parallel()
	c := goredis.NewClient(&goredis.Options{Addr: testutil.SharedRedis(t).Addr(), MaxRetries: 7})
	defer c.Close()
	p, err := New(c, &Options{Key: testutil.Prefix(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(context.Background(), adaptertest.NewHost("/", "a")); err != nil {
		t.Fatal(err)
	}
	closeNode(t, p)
	if err := c.Ping(context.Background()).Err(); err != nil || c.Options().MaxRetries != 7 {
		t.Errorf("the client was touched: %v, %+v", err, c.Options())
	}
}

func TestNewRejectsWhatHasNoPubSubOfItsOwn(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, nil); err == nil {
		t.Error("nil was taken")
	}
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	if _, err := New(ring, nil); err == nil {
		t.Error("a ring was taken")
	}
}

func TestANamespaceCanBeOpenedAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := openNode(t, testutil.SharedRedis(t).URL, testutil.Prefix(t))
	defer closeNode(t, p)
	for range 3 {
		a, err := p.Open(ctx, adaptertest.NewHost("/again", "a"))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := a.ServerCount(ctx); n != 1 || err != nil {
			t.Errorf("%d nodes, %v", n, err)
		}
		if err := a.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
