package core_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/socketfleet/socketfleet/core"
)

type userKey struct{}

// HTTP middleware sees every request of the protocol, and what it puts into the
// request's context is in the sockets' context.
func ExampleOptions_middleware() {
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user := r.Header.Get("X-User")
			if user == "" {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
		})
	}
	srv, err := core.New(context.Background(), &core.Options{
		Use:       []func(http.Handler) http.Handler{authenticate},
		AllowEIO3: true,                   // clients of Socket.IO 2.x
		Deflate:   &core.DeflateOptions{}, // permessage-deflate
	})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	srv.OnConnect(func(ctx context.Context, s *core.Socket) error {
		return s.Emit("welcome", ctx.Value(userKey{}))
	})

	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling", nil))
	fmt.Println(w.Code)
	// Output: 401
}
