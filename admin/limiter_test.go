package admin

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiterForgetsAfterAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{max: 2}
		for i, want := range []bool{true, true, false} {
			if got := l.take("192.0.2.1"); got != want {
				t.Errorf("attempt %d = %v, want %v", i, got, want)
			}
		}
		time.Sleep(limitWindow - time.Nanosecond)
		if l.take("192.0.2.1") {
			t.Error("an attempt within the window passed")
		}
		time.Sleep(time.Nanosecond)
		if !l.take("192.0.2.1") {
			t.Error("the next window has no attempts")
		}
	})
}

func TestLimiterCountsNetworksOfIPv6(t *testing.T) {
	t.Parallel()
	l := &limiter{max: 1}
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"2001:db8::1", true}, {"2001:db8::ffff:1", false}, {"2001:db8:0:1::1", true},
		{"192.0.2.1", true}, {"::ffff:192.0.2.1", false}, {"192.0.2.2", true},
		{"no address", true}, {"another", false}, {"fe80::1%eth0", true}, {"fe80::2%eth1", false},
	} {
		if got := l.take(tt.addr); got != tt.want {
			t.Errorf("take(%s) = %v, want %v", tt.addr, got, tt.want)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	l := &limiter{max: 2}
	for i := range maxAddresses {
		l.take(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	if l.take("192.0.2.1") || len(l.tries) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(l.tries))
	}
	if !l.take("10.0.0.0") {
		t.Error("a known address has lost its attempts")
	}
}

func TestSessionsInMemoryExpireAndAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, m := context.Background(), newMemoryStore()
		exists := func(id string) bool {
			ok, err := m.Exists(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		save := func(id string, ttl time.Duration) {
			if err := m.Save(ctx, id, ttl); err != nil {
				t.Fatal(err)
			}
		}
		save("a", time.Hour)
		time.Sleep(time.Hour - time.Nanosecond)
		if !exists("a") || exists("b") {
			t.Error("a is not known, or b is")
		}
		time.Sleep(time.Nanosecond)
		if exists("a") {
			t.Error("a has not expired")
		}
		for i := range maxSessions {
			save(fmt.Sprint(i), time.Hour+time.Duration(i)*time.Second)
		}
		save("last", time.Minute)
		if len(m.until) != maxSessions || exists("0") || !exists("1") || !exists("last") {
			t.Errorf("%d sessions; first %v, second %v, last %v", len(m.until), exists("0"), exists("1"), exists("last"))
		}
	})
}
