package main

import (
	"context"
	"net/http"
	"strings"
)

// users by token; a real program asks its session store.
var users = map[string]string{"alice-token": "alice", "bob-token": "bob"}

type userKey struct{}

// authenticate returns ctx with the request's user in it; ok is false when there is
// none. A socket's context has the values of the request that opened it.
func authenticate(r *http.Request) (ctx context.Context, ok bool) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		token = r.URL.Query().Get("token")
	}
	user, ok := users[token]
	return context.WithValue(r.Context(), userKey{}, user), ok
}

// userOf returns the user that authenticate put into a context.
func userOf(ctx context.Context) string {
	user, _ := ctx.Value(userKey{}).(string)
	return user
}

// requireUser is authenticate as a middleware of net/http, which chi's are too.
func requireUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, ok := authenticate(r)
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
