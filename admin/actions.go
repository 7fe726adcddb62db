package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// actionTimeout bounds what the UI asks for.
const actionTimeout = 10 * time.Second

// maxRoom is the longest room name, in bytes, as in core.
const maxRoom = 256

// action is what the UI asks for: event, namespace and arguments.
type action struct {
	name string
	args int // before the filter, the namespace not counted
	do   func(ctx context.Context, to core.BroadcastOperator, a core.Args) error
}

// obey takes the orders of the UI: emit(nsp, filter, event, ...args),
// join(nsp, room, filter), leave(nsp, room, filter) and _disconnect(nsp, close,
// filter), where filter is a room, an id or nothing.
func (a *Admin) obey() {
	for _, act := range []action{
		{"emit", 0, emitEvent},
		{"join", 1, func(ctx context.Context, to core.BroadcastOperator, args core.Args) error {
			rooms, err := roomsAt(args, 1)
			if err != nil {
				return err
			}
			return to.SocketsJoin(ctx, rooms...)
		}},
		{"leave", 1, func(ctx context.Context, to core.BroadcastOperator, args core.Args) error {
			rooms, err := roomsAt(args, 1)
			if err != nil {
				return err
			}
			return to.SocketsLeave(ctx, rooms...)
		}},
		{"_disconnect", 1, func(ctx context.Context, to core.BroadcastOperator, args core.Args) error {
			var closeConn bool
			if err := args.Decode(1, &closeConn); err != nil {
				return err
			}
			return to.DisconnectSockets(ctx, closeConn)
		}},
	} {
		core.OnArgs(a.nsp, act.name, func(ctx context.Context, s *core.Socket, args core.Args) error {
			return a.act(ctx, s, act, args)
		})
	}
}

// act does what the UI asks for and logs it. Room names may be ids of sockets, so
// that they are only in the log of level debug.
func (a *Admin) act(ctx context.Context, s *core.Socket, act action, args core.Args) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	to, nsp, err := a.target(args, 1+act.args)
	if err == nil {
		err = act.do(ctx, to, args)
	}
	if err != nil {
		return fmt.Errorf("socketio: admin: %s: %w", act.name, err)
	}
	a.log.Info("socketio: admin: action", "event", "admin.action", "action", act.name, "namespace", nsp,
		"user", a.opts.Username, "address", s.Handshake().Address())
	a.log.Debug("socketio: admin: action", "action", act.name, "socket", s.ID(),
		"filter", string(args.Raw(1+act.args)), "first", string(args.Raw(1)))
	return nil
}

// target returns the sockets that args mean: those of the namespace in the first
// argument that are in the rooms of argument filter, all where there is none.
func (a *Admin) target(args core.Args, filter int) (to core.BroadcastOperator, nsp string, err error) {
	if err := args.Decode(0, &nsp); err != nil {
		return to, "", err
	}
	var rooms []string
	if raw := args.Raw(filter); len(raw) > 0 && string(raw) != "null" && string(raw) != `""` {
		if rooms, err = roomsAt(args, filter); err != nil {
			return to, "", err
		}
	}
	for _, n := range a.srv.OfAll().Namespaces() {
		if n.Name() == nsp {
			return n.To(rooms...), nsp, nil
		}
	}
	return to, "", errors.New("no such namespace on this node")
}

// roomsAt returns the room or list of rooms in argument i.
func roomsAt(args core.Args, i int) (rooms []string, err error) {
	var one string
	if json.Unmarshal(args.Raw(i), &one) == nil {
		rooms = []string{one}
	} else if err := args.Decode(i, &rooms); err != nil {
		return nil, err
	}
	if len(rooms) == 0 {
		return nil, errors.New("no room")
	}
	for _, r := range rooms {
		if r == "" || len(r) > maxRoom {
			return nil, fmt.Errorf("a room name has 1 to %d bytes", maxRoom)
		}
	}
	return rooms, nil
}

// emitEvent sends the event whose name is argument 2.
func emitEvent(_ context.Context, to core.BroadcastOperator, args core.Args) error {
	var event string
	if err := args.Decode(2, &event); err != nil {
		return err
	}
	if event == "" {
		return errors.New("no event")
	}
	values, err := args.Values()
	if err != nil {
		return err
	}
	return to.Emit(event, values[3:]...)
}
