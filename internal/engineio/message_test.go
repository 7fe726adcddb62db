package engineio

import (
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestMessageForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		m              *Message
		frame, payload string
		packets        int
	}{
		{"text", text("hi"), "\x81\x034hi", "4hi", 1},
		{"empty text", NewMessage(nil, nil), "\x81\x014", "4", 1},
		{"126 bytes", text(strings.Repeat("x", 125)), "\x81\x7e\x00\x7e4" + strings.Repeat("x", 125), "4" + strings.Repeat("x", 125), 1},
		{"64 KiB", text(strings.Repeat("x", 65535)), "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x004" + strings.Repeat("x", 65535), "4" + strings.Repeat("x", 65535), 1},
		{"attachments", NewMessage(append(Reserve(0), "51-"...), [][]byte{{1}, {}}), "\x81\x04451-", "451-\x1ebAQ==\x1eb", 3},
		{"binary", NewBinary([]byte{1, 2, 3, 4}), "", "bAQIDBA==", 1},
		{"control", pingPacket, "\x81\x012", "2", 1},
	} {
		if got := string(tc.m.text.frame()); got != tc.frame {
			t.Errorf("%s: frame %.20q", tc.name, got)
		}
		if got := string(tc.m.appendPayload(nil)); got != tc.payload {
			t.Errorf("%s: payload %.20q", tc.name, got)
		}
		if got := string(tc.m.appendPayload([]byte("2"))); got != "2\x1e"+tc.payload {
			t.Errorf("%s: payload behind another %.20q", tc.name, got)
		}
		if tc.m.packets() != tc.packets {
			t.Errorf("%s: %d packets", tc.name, tc.m.packets())
		}
		if n := tc.m.payloadSize(); n < len(tc.payload) || n > len(tc.payload)+1 {
			t.Errorf("%s: payloadSize %d, is %d", tc.name, n, len(tc.payload))
		}
	}
}

// One message goes to many sessions at a time, over all transports.
func TestMessageIsShared(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{}, nil)
	m := NewMessage(append(Reserve(0), "51-x"...), [][]byte{{1, 2, 3, 4}})
	var peers []*peer
	for i := range 12 {
		switch i % 3 {
		case 0:
			peers = append(peers, r.ws())
		case 1:
			peers = append(peers, r.ws("&b64=1"))
		default:
			peers = append(peers, r.poll())
		}
	}
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			if err := p.recv.s.Send(m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, p := range peers {
		got := ""
		switch i % 3 {
		case 2:
			got = p.do(http.MethodGet, p.query, "").body
		default:
			got = p.read() + "\x1e" + p.read()
		}
		want := "451-x\x1ebAQIDBA=="
		if i%3 == 0 {
			want = "451-x\x1eb:\x01\x02\x03\x04"
		}
		if got != want {
			t.Errorf("peer %d got %q", i, got)
		}
	}
}
