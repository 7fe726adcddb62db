package admin_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/socketfleet/socketfleet/admin"
	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	srv, err := core.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	weak, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*admin.Options{
		"none":                {},
		"nil":                 nil,
		"no name":             {PasswordHash: hash},
		"no password":         {Username: user},
		"a clear password":    {Username: user, PasswordHash: password},
		"a cheap hash":        {Username: user, PasswordHash: string(weak)},
		"an expensive hash":   {Username: user, PasswordHash: strings.Replace(hash, "$10$", "$31$", 1)},
		"the main namespace":  {Username: user, PasswordHash: hash, Namespace: "/"},
		"a negative duration": {Username: user, PasswordHash: hash, SessionDuration: -1},
		"negative attempts":   {Username: user, PasswordHash: hash, LoginAttempts: -1},
	} {
		if a, err := admin.Instrument(srv, o); err == nil {
			_ = a.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPasswordsAreComparedWithBcrypt(t *testing.T) {
	t.Parallel()
	if err := admin.RealCompare([]byte(hash), []byte(password)); err != nil {
		t.Error(err)
	}
	if admin.RealCompare([]byte(hash), []byte("x")) == nil {
		t.Error("a wrong password matches")
	}
}

func TestOnlyTheRightCredentialsLetIn(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{LoginAttempts: 100}, core.Options{})
	for name, auth := range map[string]any{
		"nothing":           nil,
		"a wrong password":  map[string]string{"username": user, "password": "x"},
		"no password":       map[string]string{"username": user},
		"a wrong name":      map[string]string{"username": "x", "password": password},
		"no name":           map[string]string{"password": password},
		"an empty session":  map[string]string{"sessionId": ""},
		"a made-up session": map[string]string{"sessionId": "0123456789abcdef"},
		"other types":       map[string]any{"sessionId": []int{1}, "username": true, "password": 1},
	} {
		if got := r.refusal(t, auth, nil); got != "invalid credentials" {
			t.Errorf("%s: %q", name, got)
		}
	}
	equal(t, "right", r.refusal(t, map[string]string{"username": user, "password": password}, nil), "")
}

func TestASessionStandsInForThePassword(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{LoginAttempts: 1}, core.Options{})
	c := r.ui(t)
	id := decode[string](t, c.Expect(t, "session"), 0)
	equal(t, "with the session", r.refusal(t, map[string]string{"sessionId": id}, nil), "")
	equal(t, "with another", r.refusal(t, map[string]string{"sessionId": id + "x"}, nil), "invalid credentials")
	if text := r.logs.String(); strings.Contains(text, id) || strings.Contains(text, password) {
		t.Errorf("the log has secrets:\n%s", text)
	}
}

func TestFailedLoginsAreCountedPerAddress(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{}, core.Options{TrustedProxies: loopback})
	from := func(addr string) map[string][]string { return map[string][]string{"X-Forwarded-For": {addr}} }
	wrong, right := map[string]string{"username": user, "password": "x"}, map[string]string{"username": user, "password": password}
	for range 3 { // what succeeds does not count
		equal(t, "right", r.refusal(t, right, from("203.0.113.1")), "")
	}
	for range 5 {
		equal(t, "wrong", r.refusal(t, wrong, from("203.0.113.1")), "invalid credentials")
	}
	const limited = "too many attempts, try again in a minute"
	equal(t, "the sixth", r.refusal(t, wrong, from("203.0.113.1")), limited)
	equal(t, "even the right one", r.refusal(t, right, from("203.0.113.1")), limited)
	equal(t, "another address", r.refusal(t, right, from("203.0.113.2")), "")
	if text := r.logs.String(); !strings.Contains(text, "admin.login_limited") {
		t.Errorf("not logged:\n%s", text)
	}
}

func TestOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Origins: []string{"https://admin.example"}}, core.Options{Origins: []string{"*"}})
	right := map[string]string{"username": user, "password": password}
	origin := func(o string) map[string][]string { return map[string][]string{"Origin": {o}} }
	equal(t, "another", r.refusal(t, right, origin("https://evil.example")), "origin not allowed")
	equal(t, "the right one", r.refusal(t, right, origin("https://admin.example")), "")
	equal(t, "none", r.refusal(t, right, nil), "")
}

// brokenStore is a store whose backend is away.
type brokenStore struct{}

func (brokenStore) Save(context.Context, string, time.Duration) error { return errors.New("away") }
func (brokenStore) Exists(context.Context, string) (bool, error)      { return true, errors.New("away") }
func sortedKeys[M ~map[string]V, V any](m M) []string                 { return slices.Sorted(maps.Keys(m)) }

func TestAStoreThatFailsLetsNobodyInWithoutPassword(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{Store: brokenStore{}}, core.Options{})
	equal(t, "a session", r.refusal(t, map[string]string{"sessionId": "x"}, nil), "invalid credentials")
	equal(t, "the password", r.refusal(t, map[string]string{"username": user, "password": password}, nil), "")
}

func TestManyLoginsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, admin.Options{LoginAttempts: 5}, core.Options{})
	var group sync.WaitGroup
	got := make(chan string, 10)
	for range cap(got) {
		group.Go(func() {
			c, err := testutil.Dial(t.Context(), r.url, testutil.ClientOptions{
				Namespace: "/admin", Auth: map[string]string{"username": user, "password": "x"},
			})
			if err == nil {
				c.Close()
			}
			var refused *testutil.ConnectError
			if errors.As(err, &refused) {
				got <- refused.Message
			} else {
				got <- "let in"
			}
		})
	}
	group.Wait()
	close(got)
	count := map[string]int{}
	for text := range got {
		count[text]++
	}
	equal(t, "answers", strings.Join(sortedKeys(count), ", "), "invalid credentials, too many attempts, try again in a minute")
	equal(t, "passwords looked at", count["invalid credentials"], 5)
}
