package server

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"os"
	"time"

	"github.com/socketfleet/socketfleet/emitter"
)

// emitterServer is a process that serves no sockets and emits what POST /ctl asks
// for. NODE_CONFIG is that of the nodes.
func emitterServer() (http.Handler, string, error) {
	var config nodeConfig
	if err := json.Unmarshal([]byte(os.Getenv("NODE_CONFIG")), &config); err != nil {
		return nil, "", fmt.Errorf("NODE_CONFIG: %w", err)
	}
	rawURL, err := config.adapterURL()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e, err := emitter.Open(ctx, rawURL, &emitter.Options{Replies: true})
	if err != nil {
		return nil, "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ctl", func(w http.ResponseWriter, r *http.Request) {
		var q request
		answer := map[string]any{}
		err := json.NewDecoder(r.Body).Decode(&q)
		if err == nil {
			var result any
			result, err = emitterDo(r.Context(), e, &q)
			answer["result"] = encodeValue(result)
		}
		answer["ok"] = err == nil
		if err != nil {
			answer["error"] = message(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // the driver may have gone
	})
	return mux, "127.0.0.1:0", nil
}

func emitterDo(ctx context.Context, e *emitter.Emitter, q *request) (any, error) {
	op := e.Of(q.Namespace).To(q.To...).Except(q.Except...)
	if q.Volatile {
		op = op.Volatile()
	}
	if q.Compress != nil {
		op = op.Compress(*q.Compress)
	}
	switch q.Op {
	case "emit":
		return nil, op.Emit(q.Event, values(q.Args)...)
	case "socketsJoin":
		return nil, op.SocketsJoin(ctx, q.Rooms...)
	case "socketsLeave":
		return nil, op.SocketsLeave(ctx, q.Rooms...)
	case "disconnectSockets":
		return nil, op.DisconnectSockets(ctx, q.Close)
	case "serverSideEmit":
		if !q.Ack {
			return nil, op.ServerSideEmit(q.Event, values(q.Args)...)
		}
		return gathered(emitter.ServerSideEmitWithAck[any](ctx, op, q.Event, values(q.Args)...)), nil
	case "serverCount":
		return op.ServerCount(ctx)
	}
	ctx, cancel := q.deadline(ctx)
	defer cancel()
	switch q.Op {
	case "emitWithAck":
		return gathered(emitter.BroadcastWithAck[any](ctx, op, q.Event, values(q.Args)...)), nil
	case "socketEmitWithAck":
		return emitter.EmitWithAck[any](ctx, op.RemoteSocket(q.ID), q.Event, values(q.Args)...)
	case "fetchSockets":
		return described(op.FetchSockets(ctx))
	}
	return nil, fmt.Errorf("unknown operation %s", q.Op)
}

func gathered(replies iter.Seq2[emitter.AckReply[any], error]) any {
	var err error
	var responses []any
	for r, rerr := range replies {
		if rerr != nil {
			err = rerr
			continue
		}
		responses = append(responses, r.Value)
	}
	return answers(err, responses)
}

func described(found []emitter.RemoteSocket, err error) (any, error) {
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
