package adapter

import (
	"context"
	"log/slog"
)

type loggerKey struct{}

// WithLogger returns a context for Open, whose opener lets the provider log to l: an
// URL cannot say where. A Server passes its own.
func WithLogger(ctx context.Context, l *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, l)
}

// Logger returns the logger that WithLogger put into the context of an Opener, or nil.
func Logger(ctx context.Context) *slog.Logger {
	l, _ := ctx.Value(loggerKey{}).(*slog.Logger)
	return l
}
