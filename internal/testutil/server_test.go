package testutil

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/internal/engineio"
	"github.com/socketfleet/socketfleet/internal/parser"
)

// fakeServer is the least of a Socket.IO server that the client's tests need, on
// the module's own engine.
type fakeServer struct {
	*httptest.Server
	engine *engineio.Server
	lastID atomic.Int64
	auths  chan string // CONNECT payloads
}

func newFakeServer(t *testing.T, opts engineio.Options) *fakeServer {
	t.Helper()
	f := &fakeServer{auths: make(chan string, 100)}
	engine, err := engineio.NewServer(opts, func(s *engineio.Session) engineio.Receiver { return &fakeSession{server: f, session: s} })
	if err != nil {
		t.Fatal(err)
	}
	f.engine = engine
	f.Server = httptest.NewServer(engine)
	t.Cleanup(func() {
		_ = engine.Close()
		f.Server.Close()
	})
	return f
}

type fakeSession struct {
	server  *fakeServer
	session *engineio.Session
	decoder parser.Decoder
}

func (f *fakeSession) Closed(engineio.Reason, error) {}
func (f *fakeSession) Text(b []byte)                 { f.take(f.decoder.Text(b)) }
func (f *fakeSession) Binary(b []byte)               { f.take(f.decoder.Binary(b)) }

func (f *fakeSession) send(nsp string, t parser.Type, id uint64, hasID bool, data []byte, atts []parser.Attachment) {
	buf := parser.AppendHeader(engineio.Reserve(len(data)+64), t, len(atts), nsp, id, hasID)
	bins := make([][]byte, len(atts))
	for i, a := range atts {
		bins[i] = a.Data
	}
	_ = f.session.Send(engineio.NewMessage(append(buf, data...), bins))
}

func (f *fakeSession) take(p parser.Packet, done bool, err error) {
	switch {
	case err != nil:
		f.session.Close(engineio.ReasonForcedClose, false)
	case !done:
	case p.Type == parser.Connect:
		f.connect(p)
	case p.Type == parser.Ack:
		f.send(p.Namespace, parser.Event, 0, false, append([]byte(`["answer",`), p.Data[1:]...), shift(p.Attachments, 9))
	case p.Type == parser.Event:
		f.event(p)
	}
}

func shift(atts []parser.Attachment, by int) []parser.Attachment {
	for i := range atts {
		atts[i].At += by
	}
	return atts
}

// connect refuses "/forbidden", and recovers any session of "/recover" whose pid
// the client knows.
func (f *fakeSession) connect(p parser.Packet) {
	f.server.auths <- string(p.Data)
	var auth struct{ PID, Offset string }
	_ = json.Unmarshal(p.Data, &auth)
	reply := `{"sid":"id` + string(rune('a'+f.server.lastID.Add(1))) + `"}`
	switch {
	case p.Namespace == "/forbidden":
		f.send(p.Namespace, parser.ConnectError, 0, false, []byte(`{"message":"no entry","data":{"code":7}}`), nil)
		return
	case p.Namespace == "/recover" && auth.PID != "":
		f.send(p.Namespace, parser.Event, 0, false, []byte(`["missed","off2"]`), nil)
		reply = `{"sid":"same","pid":"` + auth.PID + `"}`
	case p.Namespace == "/recover":
		reply = `{"sid":"same","pid":"secret"}`
	}
	f.send(p.Namespace, parser.Connect, 0, false, []byte(reply), nil)
}

func (f *fakeSession) event(p parser.Packet) {
	name, _, _ := parser.EventName(p.Data)
	switch {
	case p.HasID:
		rest := strings.Replace(string(p.Data), `"`+name+`",`, "", 1)
		f.send(p.Namespace, parser.Ack, p.ID, true, []byte(rest), shift(p.Attachments, -len(name)-3))
	case name == "kick":
		f.send(p.Namespace, parser.Disconnect, 0, false, nil, nil)
	case name == "die":
		f.session.Close(engineio.ReasonForcedClose, true)
	case name == "garbage":
		buf := append(engineio.Reserve(8), `51-["x"]`...)
		_ = f.session.Send(engineio.NewMessage(buf, nil))
	case name == "ask":
		f.send(p.Namespace, parser.Event, 5, true, []byte(`["question",1]`), nil)
	default:
		f.send(p.Namespace, parser.Event, 0, false, p.Data, p.Attachments)
	}
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}
