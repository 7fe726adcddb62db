package engineio

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

type ctxKey struct{}

func TestRequestIsCopied(t *testing.T) {
	t.Parallel()
	r := newBareRig(t, Options{}, nil)
	r.serve(newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.srv.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), ctxKey{}, "user-1")))
	})))
	query := v4Polling + "&token=a+b%20c%zz&token=%E2%82%AC&x"
	if resp := r.do("GET", query, "", "X-A", "1", "X-A", "2", "Origin", r.http.URL, "Host", strings.TrimPrefix(r.http.URL, "http://")); resp.status != 200 {
		t.Fatalf("%+v", resp)
	}
	s := recvFrom(t, "session", r.recv).s
	q := s.Request()
	h := q.Header()
	if !reflect.DeepEqual(h["X-A"], []string{"1", "2"}) || h.Get("Host") != r.http.Listener.Addr().String() || h.Get("Accept-Encoding") != "gzip" {
		t.Errorf("headers %v", h)
	}
	if q.URL() != "/socket.io/?"+query {
		t.Errorf("url %q", q.URL())
	}
	v := q.Query()
	if v.Get("token") != "€" || len(v["token"]) != 1 || !v.Has("x") || v.Get("EIO") != "4" {
		t.Errorf("query %v", v)
	}
	if q.RemoteAddr() != "127.0.0.1" || q.Secure() || !q.CrossDomain() || time.Since(q.Issued()) > time.Minute {
		t.Errorf("%+v", q)
	}
	if s.Context().Value(ctxKey{}) != "user-1" || s.Context().Err() != nil || s.Context().Done() != nil {
		t.Error("context values are lost, or it can be canceled")
	}
	if s.Protocol() != 4 || s.Transport() != Polling {
		t.Errorf("%d %s", s.Protocol(), s.Transport())
	}
}

func TestBigHeadersAreCut(t *testing.T) {
	t.Parallel()
	r := &http.Request{Host: "h", Header: http.Header{"A": {strings.Repeat("x", 5000)}, "B": {strings.Repeat("y", 5000)}, "C": {"z"}}}
	q := Request{headers: packHeaders(r)}
	if len(q.headers) > maxHeaderBytes {
		t.Errorf("kept %d bytes", len(q.headers))
	}
	h := q.Header()
	if len(h.Get("A")) != 5000 || h.Get("B") != "" || h.Get("C") != "z" {
		t.Errorf("kept %d headers", len(h))
	}
}

func TestQueryValue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ query, name, want string }{
		{"a=1&b=2", "b", "2"},
		{"a=1&a=2", "a", "2"},
		{"a=1;b=2", "a", "1;b=2"},
		{"a+b=%2B", "a b", "+"},
		{"%61=1", "a", "1"},
		{"a=%", "a", "%"},
		{"a=%4", "a", "%4"},
		{"a", "a", ""},
		{"", "a", ""},
		{"&&a=1&", "a", "1"},
		{"a=b=c", "a", "b=c"},
	} {
		if got := queryValue(tc.query, tc.name); got != tc.want {
			t.Errorf("%q of %q = %q, want %q", tc.name, tc.query, got, tc.want)
		}
	}
}
