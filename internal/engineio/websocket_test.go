package engineio

import (
	"testing"

	"github.com/gorilla/websocket"
)

func TestWebSocketExchangesMessages(t *testing.T) {
	t.Parallel()
	p := newRig(t, Options{}, echo).ws()
	p.write("4hello")
	if got := p.read(); got != "4hello" {
		t.Errorf("echo = %q", got)
	}
	if err := p.conn.WriteMessage(websocket.BinaryMessage, []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	p.wantMessage("t:hello")
	p.wantMessage("b:\x01\x02")
	if err := p.recv.s.Send(NewMessage(append(Reserve(1), 'x'), [][]byte{{9, 8}, {}})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4x", "b:\x09\x08", "b:"} {
		if got := p.read(); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	p.recv.s.Close(ReasonForcedClose, true)
	wantCloseCode(t, p.conn, websocket.CloseNoStatusReceived)
	p.wantClosed(ReasonForcedClose, nil)
}
