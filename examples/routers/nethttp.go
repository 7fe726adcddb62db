package main

import "net/http"

func netHTTP(srv http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", requireUser(srv))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}
