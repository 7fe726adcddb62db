package main

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// chiRouter mounts srv below a group with its own middlewares. Keep
// middleware.Timeout and middleware.Compress out of that group: a poll lasts as long
// as nothing happens, and what is compressed is the server's business.
func chiRouter(srv http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Logger, middleware.Recoverer) // Logger wraps the ResponseWriter
	r.Get("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r.Group(func(r chi.Router) {
		r.Use(requireUser)
		r.Handle("/socket.io/*", srv)
	})
	return r
}
