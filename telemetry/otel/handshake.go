package otel

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Handshake returns a middleware for core.Options.Use that makes the first request of
// every connection a span, which the spans of the connection's sockets are linked to.
// Other requests pass untouched. nil options mean the defaults.
func Handshake(opts *Options) func(http.Handler) http.Handler {
	tracer := opts.tracer()
	trust := opts != nil && opts.TrustHeaders
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			if query.Has("sid") {
				next.ServeHTTP(w, r)
				return
			}
			ctx := r.Context()
			if trust {
				ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
			}
			ctx, span := tracer.Start(ctx, "socketio handshake", trace.WithSpanKind(trace.SpanKindServer),
				trace.WithAttributes(
					attribute.String("http.request.method", method(r.Method)),
					attribute.String("socketio.transport", transport(query.Get("transport"))),
				))
			defer span.End()
			sw := &statusWriter{ResponseWriter: w, status: http.StatusSwitchingProtocols}
			next.ServeHTTP(sw, r.WithContext(ctx))
			span.SetAttributes(attribute.Int("http.response.status_code", sw.status))
			if sw.status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
			}
		})
	}
}

// method keeps what a client may send as a method from growing without bound.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodConnect, http.MethodOptions:
		return m
	}
	return "_OTHER"
}

func transport(name string) string {
	switch name {
	case "polling", "websocket", "webtransport":
		return name
	}
	return other
}

// statusWriter keeps the status of the response: 101 where the connection was taken
// over.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, status >= http.StatusOK
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.status, w.wrote = http.StatusOK, true
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets the server reach what the writer underneath can do.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
