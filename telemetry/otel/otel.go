package otel

import (
	"context"
	"encoding/json"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/core"
)

const scope = "github.com/socketfleet/socketfleet/telemetry/otel"

// other stands for names that a client chose.
const other = "_other"

// Options configure Observe and Handshake. The zero value means the defaults.
type Options struct {
	// TracerProvider makes the spans. Default: the global one.
	TracerProvider trace.TracerProvider
	// AuthField names a string of a CONNECT's auth payload that holds a W3C
	// traceparent, which the connect span is linked to. Default: none.
	AuthField string
	// TrustHeaders makes the handshake span a part of the trace that the request's
	// traceparent header names, and so lets clients decide what is sampled: for
	// servers behind a proxy that sets the header. Default off.
	TrustHeaders bool
}

func (o *Options) tracer() trace.Tracer {
	var p trace.TracerProvider
	if o != nil {
		p = o.TracerProvider
	}
	if p == nil {
		p = otelapi.GetTracerProvider()
	}
	return p.Tracer(scope)
}

// Observe traces srv until the returned function is called. nil options mean the
// defaults.
func Observe(srv *core.Server, opts *Options) (cancel func()) {
	t := &tracer{tracer: opts.tracer()}
	if opts != nil {
		t.authField = opts.AuthField
	}
	return srv.Observe(t)
}

// tracer makes operations spans.
type tracer struct {
	// Immutable.
	tracer    trace.Tracer
	authField string
}

var _ core.Observer = (*tracer)(nil)

// spanKey is where an operation's own span is kept: the context may hold another's.
type spanKey struct{ t *tracer }

// Begin implements core.Observer.
func (t *tracer) Begin(ctx context.Context, op core.Op) context.Context {
	span := t.start(ctx, op)
	if span == nil { // for End not to find the span of the caller
		return context.WithValue(ctx, spanKey{t}, nil)
	}
	if p := op.Packet; p != nil && (op.Kind == core.OpBroadcast || op.Kind == core.OpSend) && span.SpanContext().IsSampled() {
		p.Meta.Trace = traceparent(span.SpanContext())
	}
	return context.WithValue(trace.ContextWithSpan(ctx, span), spanKey{t}, span)
}

// End implements core.Observer.
func (t *tracer) End(ctx context.Context, op core.Op) {
	span, ok := ctx.Value(spanKey{t}).(trace.Span)
	if !ok {
		return
	}
	if op.Err != nil {
		span.RecordError(op.Err)
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(op.End))
}

// start returns nil for what is not traced.
func (t *tracer) start(ctx context.Context, op core.Op) trace.Span {
	nsp := op.Namespace.StatsName()
	hasParent := trace.SpanContextFromContext(ctx).IsValid()
	switch op.Kind {
	case core.OpConnect:
		return t.root(ctx, op, "connect "+nsp, trace.SpanKindServer, t.clientLink(op.Socket), socketAttributes(op.Socket)...)
	case core.OpEvent:
		name := other
		if op.Known {
			name = op.Name
		}
		attrs := append(messaging("process", nsp, name), socketAttributes(op.Socket)...)
		return t.root(ctx, op, name+" process", trace.SpanKindConsumer, nil, attrs...)
	case core.OpBroadcast:
		return t.child(ctx, op, op.Name+" broadcast", trace.SpanKindProducer, append(messaging("send", nsp, op.Name), target(op)...)...)
	case core.OpSend:
		if hasParent {
			return t.child(ctx, op, op.Name+" send", trace.SpanKindProducer, append(messaging("send", nsp, op.Name), socketAttributes(op.Socket)...)...)
		}
	case core.OpRequest:
		if hasParent {
			return t.child(ctx, op, op.Name, trace.SpanKindClient, append(target(op), attribute.String("socketio.namespace", nsp))...)
		}
	case core.OpPublish:
		if from := fromTraceparent(op.Packet.Meta.Trace); from.IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, from)
			return t.child(ctx, op, "adapter publish", trace.SpanKindClient, attribute.String("socketio.namespace", nsp))
		}
	case core.OpReceive:
		return t.receive(ctx, op, nsp)
	}
	return nil
}

func (t *tracer) receive(ctx context.Context, op core.Op, nsp string) trace.Span {
	from := fromTraceparent(op.Packet.Meta.Trace)
	if !from.IsValid() {
		return nil
	}
	return t.root(ctx, op, "adapter receive", trace.SpanKindConsumer, []trace.Link{{SpanContext: from}},
		attribute.String("socketio.namespace", nsp),
		attribute.String("socketio.node", op.Node),
		attribute.Int("socketio.recipients", op.Recipients))
}

func (t *tracer) child(ctx context.Context, op core.Op, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) trace.Span {
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(op.Start), trace.WithAttributes(attrs...))
	return span
}

// root begins a trace, linked to the span in ctx, which for what a client does is
// that of its handshake.
func (t *tracer) root(ctx context.Context, op core.Op, name string, kind trace.SpanKind, links []trace.Link, attrs ...attribute.KeyValue) trace.Span {
	if from := trace.SpanContextFromContext(ctx); from.IsValid() {
		links = append(links, trace.Link{SpanContext: from})
	}
	_, span := t.tracer.Start(ctx, name, trace.WithNewRoot(), trace.WithSpanKind(kind),
		trace.WithTimestamp(op.Start), trace.WithLinks(links...), trace.WithAttributes(attrs...))
	return span
}

// clientLink is the span the client says it connects for.
func (t *tracer) clientLink(s *core.Socket) []trace.Link {
	if t.authField == "" {
		return nil
	}
	var auth map[string]json.RawMessage
	var text string
	if json.Unmarshal(s.Handshake().Auth(), &auth) != nil || json.Unmarshal(auth[t.authField], &text) != nil {
		return nil
	}
	from := fromTraceparent(text)
	if !from.IsValid() {
		return nil
	}
	return []trace.Link{{SpanContext: from}}
}

// messaging are the attributes of the semantic conventions for messages.
func messaging(operation, nsp, event string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "socketio"),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", nsp+"/"+event),
	}
}

func socketAttributes(s *core.Socket) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("socketio.socket.id", s.ID()),
		attribute.String("network.protocol.name", s.Transport()),
	}
}

func target(op core.Op) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int("socketio.rooms", len(op.Target.Rooms)),
		attribute.Bool("socketio.local", op.Target.Flags.Has(adapter.Local)),
	}
}

var w3c propagation.TraceContext

// traceparent writes a span context as the W3C says.
func traceparent(sc trace.SpanContext) string {
	carrier := propagation.MapCarrier{}
	w3c.Inject(trace.ContextWithSpanContext(context.Background(), sc), carrier)
	return carrier["traceparent"]
}

// fromTraceparent returns a span context that is not valid for text that is none.
func fromTraceparent(text string) trace.SpanContext {
	ctx := w3c.Extract(context.Background(), propagation.MapCarrier{"traceparent": text})
	return trace.SpanContextFromContext(ctx)
}
