package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/socketfleet/socketfleet/cluster"
	"github.com/socketfleet/socketfleet/core"
)

// request is one operation on the control endpoint; which fields count depends on
// Op.
type request struct {
	Op        string     `json:"op"`
	Namespace string     `json:"nsp"`
	Event     string     `json:"event"`
	Args      []binValue `json:"args"`
	To        []string   `json:"to"`
	Except    []string   `json:"except"`
	Local     bool       `json:"local"`
	Volatile  bool       `json:"volatile"`
	Compress  *bool      `json:"compress"`
	Timeout   int        `json:"timeout"`
	From      string     `json:"from"`
	Rooms     stringList `json:"rooms"`
	Close     bool       `json:"close"`
	Ack       bool       `json:"ack"`
	Mode      string     `json:"mode"`
	Value     binValue   `json:"value"`
	ID        string     `json:"id"`
	Do        string     `json:"do"`
	Data      binValue   `json:"data"`
	Ops       []request  `json:"ops"`
}

// stringList is one string or a list of them.
type stringList []string

func (l *stringList) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// control answers POST /ctl.
func (n *node) control(w http.ResponseWriter, r *http.Request) {
	var answer struct {
		OK     bool   `json:"ok"`
		Result any    `json:"result"`
		Error  string `json:"error,omitempty"`
	}
	var q request
	err := json.NewDecoder(r.Body).Decode(&q)
	if err == nil {
		answer.Result, err = n.do(r.Context(), &q)
		answer.Result = encodeValue(answer.Result)
	}
	answer.OK = err == nil
	if err != nil {
		answer.Error = message(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the driver may have gone
}

// message returns the words the reference uses where tests compare them.
func message(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "operation has timed out"
	}
	return err.Error()
}

type operation = func(ctx context.Context, n *node, q *request) (any, error)

var operations map[string]operation

func init() {
	operations = map[string]operation{
		"info": func(_ context.Context, n *node, _ *request) (any, error) {
			return map[string]any{"impl": "go", "name": n.config.Name, "pid": os.Getpid(), "adapter": n.config.Adapter}, nil
		},
		"namespace":     func(_ context.Context, n *node, q *request) (any, error) { n.nsp(q); return nil, nil },
		"emit":          emit,
		"emitWithAck":   emitWithAck,
		"fetchSockets":  fetchSockets,
		"allRooms":      allRooms,
		"remote":        remote,
		"sockets":       sockets,
		"pending":       pending,
		"log":           connectionLog,
		"serverSideLog": serverSideLog,
		"serverCount": func(ctx context.Context, n *node, q *request) (any, error) {
			return n.nsp(q).ServerCount(ctx)
		},
		"socketsJoin": onTarget(func(ctx context.Context, op core.BroadcastOperator, q *request) error {
			return op.SocketsJoin(ctx, q.Rooms...)
		}),
		"socketsLeave": onTarget(func(ctx context.Context, op core.BroadcastOperator, q *request) error {
			return op.SocketsLeave(ctx, q.Rooms...)
		}),
		"disconnectSockets": onTarget(func(ctx context.Context, op core.BroadcastOperator, q *request) error {
			return op.DisconnectSockets(ctx, q.Close)
		}),
		"serverSideEmit":   serverSideEmit,
		"serverSideListen": serverSideListen,
		"join":             onSocket(func(s *core.Socket, q *request) (any, error) { return nil, s.Join(q.Rooms...) }),
		"leave":            onSocket(func(s *core.Socket, q *request) (any, error) { s.Leave(q.Rooms...); return nil, nil }),
		"rooms":            onSocket(func(s *core.Socket, _ *request) (any, error) { return sorted(s.Rooms()), nil }),
		"setData":          onSocket(func(s *core.Socket, q *request) (any, error) { return nil, s.SetData(q.Data.v) }),
		"socketEmit": onSocket(func(s *core.Socket, q *request) (any, error) {
			return nil, s.Emit(q.Event, values(q.Args)...)
		}),
		"socketEmitWithAck": onSocket(func(s *core.Socket, q *request) (any, error) {
			ctx, cancel := q.deadline(context.Background())
			defer cancel()
			return core.EmitWithAck[any](ctx, s, q.Event, values(q.Args)...)
		}),
		"socketDisconnect": onSocket(func(s *core.Socket, q *request) (any, error) { s.Disconnect(q.Close); return nil, nil }),
		"batch":            batch,
		"stop":             stop,
	}
}

func (n *node) do(ctx context.Context, q *request) (any, error) {
	op, ok := operations[q.Op]
	if !ok {
		return nil, fmt.Errorf("unknown operation %s", q.Op)
	}
	return op(ctx, n, q)
}

func (n *node) nsp(q *request) *core.Namespace {
	if q.Namespace == "" {
		return n.srv.Namespace
	}
	return n.srv.Of(q.Namespace)
}

func (n *node) local(q *request, id string) (*core.Socket, error) {
	s, ok := n.nsp(q).Socket(id)
	if !ok {
		return nil, fmt.Errorf("no local socket %s", id)
	}
	return s, nil
}

// target translates the fields every broadcast shares.
func (n *node) target(q *request) (core.BroadcastOperator, error) {
	op := n.nsp(q).To(q.To...)
	if q.From != "" {
		s, err := n.local(q, q.From)
		if err != nil {
			return op, err
		}
		op = s.To(q.To...)
	}
	op = op.Except(q.Except...)
	if q.Local {
		op = op.Local()
	}
	if q.Volatile {
		op = op.Volatile()
	}
	if q.Compress != nil {
		op = op.Compress(*q.Compress)
	}
	return op, nil
}

func (q *request) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := time.Second
	if q.Timeout > 0 {
		timeout = milliseconds(q.Timeout)
	}
	return context.WithTimeout(ctx, timeout)
}

func onSocket(fn func(s *core.Socket, q *request) (any, error)) operation {
	return func(_ context.Context, n *node, q *request) (any, error) {
		s, err := n.local(q, q.ID)
		if err != nil {
			return nil, err
		}
		return fn(s, q)
	}
}

func onTarget(fn func(ctx context.Context, op core.BroadcastOperator, q *request) error) operation {
	return func(ctx context.Context, n *node, q *request) (any, error) {
		op, err := n.target(q)
		if err != nil {
			return nil, err
		}
		return nil, fn(ctx, op, q)
	}
}

func emit(_ context.Context, n *node, q *request) (any, error) {
	op, err := n.target(q)
	if err != nil {
		return nil, err
	}
	return nil, op.Emit(q.Event, values(q.Args)...)
}

// answers is what a request to many comes back with.
func answers(err error, responses []any) map[string]any {
	out := map[string]any{"err": nil, "responses": append([]any{}, responses...)}
	if err != nil {
		out["err"] = message(err)
	}
	return out
}

func emitWithAck(ctx context.Context, n *node, q *request) (any, error) {
	op, err := n.target(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := q.deadline(ctx)
	defer cancel()
	var responses []any
	for r, rerr := range core.BroadcastWithAck[any](ctx, op, q.Event, values(q.Args)...) {
		if rerr != nil {
			err = rerr
			continue
		}
		responses = append(responses, r.Value)
	}
	return answers(err, responses), nil
}

func serverSideEmit(ctx context.Context, n *node, q *request) (any, error) {
	if !q.Ack {
		return nil, n.nsp(q).ServerSideEmit(q.Event, values(q.Args)...)
	}
	var err error
	var responses []any
	for r, rerr := range core.ServerSideEmitWithAck[any](ctx, n.nsp(q), q.Event, values(q.Args)...) {
		if rerr != nil {
			err = rerr
			continue
		}
		responses = append(responses, r.Value)
	}
	return answers(err, responses), nil
}

func serverSideListen(_ context.Context, n *node, q *request) (any, error) {
	nsp := n.nsp(q)
	key := nsp.Name() + " " + q.Event
	n.mu.Lock()
	_, known := n.serverSide[key]
	n.serverSide[key] = listenMode{q.Mode, q.Value.v}
	n.mu.Unlock()
	if known {
		return nil, nil
	}
	nsp.OnServerEvent(q.Event, func(_ context.Context, e *core.ServerEvent) error {
		args, err := e.Args.Values()
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.serverLog = append(n.serverLog, serverEntry{nsp.Name(), e.Name, args, e.WantsAck()})
		m := n.serverSide[key]
		n.mu.Unlock()
		if m.mode == "record" {
			return nil
		}
		if m.mode == "reply-twice" {
			defer e.Ack(m.value)
		}
		return e.Ack(m.value)
	})
	return nil, nil
}

func serverSideLog(_ context.Context, n *node, _ *request) (any, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]any, len(n.serverLog))
	for i, e := range n.serverLog {
		out[i] = map[string]any{"nsp": e.Namespace, "event": e.Event, "args": e.Args, "withAck": e.WithAck}
	}
	n.serverLog = nil
	return out, nil
}

func connectionLog(_ context.Context, n *node, _ *request) (any, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]logEntry{}, n.log...), nil
}

func fetchSockets(ctx context.Context, n *node, q *request) (any, error) {
	op, err := n.target(q)
	if err != nil {
		return nil, err
	}
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = q.deadline(ctx)
		defer cancel()
	}
	found, err := op.FetchSockets(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(found))
	for i, s := range found {
		var data any
		if err := s.Data(&data); err != nil {
			return nil, err
		}
		out[i] = map[string]any{"id": s.ID(), "rooms": s.Rooms(), "data": data, "handshake": s.Handshake()}
	}
	return out, nil
}

func sockets(_ context.Context, n *node, q *request) (any, error) {
	out := []any{}
	for s := range n.nsp(q).Sockets() {
		data, _ := core.Data[any](s)
		if data == nil {
			data = map[string]any{}
		}
		out = append(out, map[string]any{
			"id": s.ID(), "rooms": s.Rooms(), "data": data, "handshake": s.Handshake(), "recovered": s.Recovered(),
		})
	}
	return out, nil
}

func allRooms(ctx context.Context, n *node, q *request) (any, error) {
	rooms, err := n.nsp(q).AllRooms(ctx)
	return sorted(rooms), err
}

func remote(ctx context.Context, n *node, q *request) (any, error) {
	found, err := n.nsp(q).In(q.ID).FetchSockets(ctx)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no socket %s", q.ID)
	}
	s := found[0]
	switch q.Do {
	case "emit":
		return nil, s.Emit(q.Event, values(q.Args)...)
	case "emitWithAck":
		ctx, cancel := q.deadline(ctx)
		defer cancel()
		return core.EmitWithAck[any](ctx, s, q.Event, values(q.Args)...)
	case "join":
		return nil, s.Join(ctx, q.Rooms...)
	case "leave":
		return nil, s.Leave(ctx, q.Rooms...)
	case "disconnect":
		return nil, s.Disconnect(ctx, q.Close)
	}
	return nil, fmt.Errorf("unknown action %s", q.Do)
}

func pending(_ context.Context, n *node, _ *request) (any, error) {
	requests, unknown := 0, uint64(0)
	if p, ok := n.provider.(*cluster.Provider); ok {
		requests, unknown = p.Stats().RequestsPending, p.Stats().Unknown
	}
	return map[string]any{"requests": requests, "acks": n.srv.Stats().PendingAcks, "unknown": unknown}, nil
}

func batch(ctx context.Context, n *node, q *request) (any, error) {
	out := []any{}
	for i := range q.Ops {
		result, err := n.do(ctx, &q.Ops[i])
		if err != nil {
			return nil, err
		}
		out = append(out, result)
	}
	return out, nil
}

// stop answers first, then shuts the node down and ends the process.
func stop(_ context.Context, n *node, _ *request) (any, error) {
	time.AfterFunc(50*time.Millisecond, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.srv.Shutdown(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "shutdown:", err)
		}
		os.Exit(0)
	})
	return nil, nil
}

func sorted(list []string) []string {
	out := append([]string{}, list...)
	slices.Sort(out)
	return out
}
