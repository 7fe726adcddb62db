// Package chatroom is the chat that the examples serve: its events and its page.
// It works the same on one node and on many; nothing in it knows how many there
// are.
package chatroom

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/socketfleet/socketfleet/core"
	"github.com/socketfleet/socketfleet/presence"
)

// Limits of what a client may say.
const (
	maxName = 24
	maxText = 2000
	maxFile = 512 << 10
)

// How long somebody stays on the lists: after their node was last heard of, and
// after their last connection, which a reload or another node may replace.
const (
	lease = 5 * time.Second
	grace = 2 * time.Second
)

// Rooms that users cannot choose.
const (
	roomPrefix = "room:"     // goes before those they do
	everybody  = "everybody" // all that are in any room
	mapRoom    = "map"       // the clients that show the map of the cluster
)

//go:embed page
var page embed.FS

// Page serves the chat's page. The client it loads is the server's own.
func Page() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the name is a constant
	}
	static := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; style-src 'self' 'unsafe-inline'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	})
}

// Member is one socket in the chat, as everybody sees it.
type Member struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Room string `json:"room"`
	Node string `json:"node"`
}

// entry is how a client enters a room.
type entry struct {
	Room string `json:"room"`
	Name string `json:"name"`
	Map  bool   `json:"map"` // it shows the map of the cluster
}

// tracked is what presence keeps of a socket.
type tracked struct {
	Member
	At int64 `json:"at"` // Unix milliseconds
}

// Entered answers entry.
type Entered struct {
	Member
	Cluster bool `json:"cluster"`
}

// Message is what somebody said or sent.
type Message struct {
	ID   string `json:"id"`
	From Member `json:"from"`
	At   int64  `json:"at"` // Unix milliseconds
	Text string `json:"text,omitempty"`
	File *File  `json:"file,omitempty"`
}

// File is an attachment; Data travels as binary.
type File struct {
	Name string `json:"name"`
	Type string `json:"type"` // found out from the data, never taken from the client
	Data []byte `json:"data"`
}

// seen says that a message has arrived somewhere.
type seen struct {
	Message string `json:"message"`
	Sender  string `json:"sender"` // the socket that sent it
	By      string `json:"by"`
}

// hop is a message on its way between nodes, for the map.
type hop struct {
	Node string `json:"node"`
	Room string `json:"room"`
}

// Errors that clients get to see.
var (
	errName   = errors.New("a name has 1 to 24 characters")
	errRoom   = errors.New("a room has 1 to 24 characters")
	errText   = errors.New("a message has 1 to 2000 characters")
	errFile   = errors.New("a file has at most 512 KiB")
	errNobody = errors.New("enter a room first")
)

// answer is the acknowledgement of what may be refused.
type answer[T any] struct {
	OK    T      `json:"ok,omitempty"`
	Error string `json:"error,omitempty"`
}

func reply[T any](v T, err error) (answer[T], error) {
	if err != nil {
		return answer[T]{Error: err.Error()}, nil
	}
	return answer[T]{OK: v}, nil
}

// Chat is the chat of one server.
type Chat struct {
	srv     *core.Server
	node    string
	cluster bool
	people  *presence.Presence
}

// Serve adds the chat to a server. node is the name it has for users; cluster says
// that there are others, and that the page can show them. Close it before the server
// is shut down.
func Serve(srv *core.Server, node string, cluster bool) (*Chat, error) {
	people, err := presence.New(srv.Namespace, presence.Options{Lease: lease, Grace: grace})
	if err != nil {
		return nil, fmt.Errorf("serve the chat: %w", err)
	}
	c := &Chat{srv: srv, node: node, cluster: cluster, people: people}
	people.OnJoin(c.tell)
	people.OnLeave(c.tell)
	people.OnUpdate(c.tell)
	srv.OnConnect(c.connected)
	core.OnAck(srv, "enter", func(ctx context.Context, s *core.Socket, e entry) (answer[Entered], error) {
		return reply(c.enter(ctx, s, e))
	})
	core.OnAck(srv, "say", func(_ context.Context, s *core.Socket, text string) (answer[Message], error) {
		return reply(c.say(s, text))
	})
	core.OnAck(srv, "file", func(_ context.Context, s *core.Socket, f File) (answer[Message], error) {
		return reply(c.send(s, f))
	})
	core.OnAck(srv, "people", func(ctx context.Context, s *core.Socket, _ any) ([]presence.Member, error) {
		m, ok := core.Data[Member](s)
		if !ok {
			return []presence.Member{}, nil
		}
		return c.people.List(ctx, roomPrefix+m.Room)
	})
	core.OnAck(srv, "who", func(ctx context.Context, _ *core.Socket, _ any) ([]Member, error) { return c.sockets(ctx) })
	core.OnAck(srv, "here", func(context.Context, *core.Socket, any) (string, error) { return node, nil })
	core.On(srv, "typing", func(_ context.Context, s *core.Socket, _ any) error {
		m, ok := core.Data[Member](s)
		if !ok {
			return nil
		}
		return s.To(roomPrefix+m.Room).Volatile().Emit("typing", m)
	})
	core.On(srv, "seen", func(_ context.Context, s *core.Socket, v seen) error {
		m, ok := core.Data[Member](s)
		if !ok || v.Sender == s.ID() {
			return nil
		}
		v.By = m.Name
		// The sender may be on any node.
		return srv.RemoteSocket(v.Sender).Emit("seen", v)
	})
	return c, nil
}

// Close takes the people of this node off the lists of the others. It may be called
// twice.
func (c *Chat) Close(ctx context.Context) error { return c.people.Close(ctx) }

// connected welcomes a client that resumed its session: it is in its room already,
// perhaps on another node.
func (c *Chat) connected(ctx context.Context, s *core.Socket) error {
	m, ok := core.Data[Member](s)
	if !s.Recovered() || !ok {
		return nil
	}
	m.Node = c.node
	if err := s.SetData(m); err != nil {
		return err
	}
	return c.track(ctx, s, m)
}

// track puts a socket on the lists. Who has the same name is the same person.
func (c *Chat) track(ctx context.Context, s *core.Socket, m Member) error {
	rooms := []string{roomPrefix + m.Room}
	if c.cluster {
		rooms = append(rooms, everybody)
	}
	for _, room := range rooms {
		if err := c.people.Track(ctx, s, room, strings.ToLower(m.Name), tracked{m, time.Now().UnixMilli()}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chat) enter(ctx context.Context, s *core.Socket, e entry) (Entered, error) {
	name, room := strings.TrimSpace(e.Name), strings.TrimSpace(e.Room)
	switch {
	case !fits(name, maxName):
		return Entered{}, errName
	case !fits(room, maxName):
		return Entered{}, errRoom
	}
	before, was := core.Data[Member](s)
	m := Member{ID: s.ID(), Name: name, Room: room, Node: c.node}
	if err := s.SetData(m); err != nil {
		return Entered{}, err
	}
	if was && before.Room != room {
		s.Leave(roomPrefix + before.Room)
	}
	if err := c.track(ctx, s, m); err != nil {
		return Entered{}, err
	}
	if e.Map {
		if err := s.Join(mapRoom); err != nil {
			return Entered{}, err
		}
	}
	return Entered{Member: m, Cluster: c.cluster}, nil
}

// fits reports whether text has 1 to n characters.
func fits(text string, n int) bool {
	count := utf8.RuneCountInString(text)
	return count >= 1 && count <= n && utf8.ValidString(text)
}

func (c *Chat) say(s *core.Socket, text string) (Message, error) {
	if text = strings.TrimSpace(text); !fits(text, maxText) {
		return Message{}, errText
	}
	return c.publish(s, Message{Text: text})
}

func (c *Chat) send(s *core.Socket, f File) (Message, error) {
	f.Name = strings.TrimSpace(f.Name)
	if len(f.Data) == 0 || len(f.Data) > maxFile || !fits(f.Name, 200) {
		return Message{}, errFile
	}
	f.Type = http.DetectContentType(f.Data)
	m, err := c.publish(s, Message{File: &f})
	m.File = &File{Name: f.Name, Type: f.Type} // the sender has the data
	return m, err
}

// publish sends m to everybody else in the room of s, on whichever node.
func (c *Chat) publish(s *core.Socket, m Message) (Message, error) {
	from, ok := core.Data[Member](s)
	if !ok {
		return Message{}, errNobody
	}
	m.ID, m.From, m.At = rand.Text()[:12], from, time.Now().UnixMilli()
	if err := s.To(roomPrefix+from.Room).Emit("message", m); err != nil {
		return Message{}, err
	}
	_ = c.srv.To(mapRoom).Volatile().Emit("hop", hop{c.node, from.Room}) // decoration
	return m, nil
}

// tell tells the clients of this node what has changed on a list; the other nodes tell
// theirs. It may get lost, and is not for the log that clients are recovered from: they
// ask for the list every few seconds, and when they are back.
func (c *Chat) tell(e presence.Event) {
	_ = c.srv.Local().To(e.Room).Volatile().Emit("presence", e)
}

// sockets lists the sockets in all rooms, of all nodes. One that was recovered from a
// node that was killed is where it is now, and until the lease ends also where it was.
func (c *Chat) sockets(ctx context.Context) ([]Member, error) {
	people, err := c.people.List(ctx, everybody)
	if err != nil {
		return nil, err
	}
	latest := make(map[string]tracked)
	for _, p := range people {
		for _, s := range p.Sockets {
			var m tracked
			if err := json.Unmarshal(s.Meta, &m); err != nil {
				return nil, err
			}
			if m.At >= latest[s.ID].At {
				latest[s.ID] = m
			}
		}
	}
	list := make([]Member, 0, len(latest))
	for _, m := range latest {
		list = append(list, m.Member)
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}
