package webtransport

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/socketfleet/socketfleet/core"
)

// connect sends a CONNECT request by hand, so that a test can write capsules.
func (r *rig) connect() (*quic.Conn, *http3.RequestStream) {
	r.t.Helper()
	tlsConf := testTLS.Clone()
	tlsConf.InsecureSkipVerify, tlsConf.NextProtos = true, []string{http3.NextProtoH3}
	conn, err := quic.DialAddr(r.t.Context(), r.addr, tlsConf,
		&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	tr := &http3.Transport{EnableDatagrams: true}
	rs, err := tr.NewClientConn(conn).OpenRequestStream(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	req := &http.Request{Method: http.MethodConnect, Proto: "webtransport", Host: r.addr, Header: http.Header{},
		URL: &url.URL{Scheme: "https", Host: r.addr, Path: r.path}}
	if err := rs.SendRequestHeader(req); err != nil {
		r.t.Fatal(err)
	}
	resp, err := rs.ReadResponse()
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("CONNECT: %v %v", resp, err)
	}
	return conn, rs
}

func capsule(kind, length uint64) []byte {
	return quicvarint.Append(quicvarint.Append(nil, kind), length)
}

// A reason for closing that is too long ends the session (CVE-2026-21434), and an
// unknown capsule without an end is not gathered (CVE-2026-57497).
func TestCapsulesOfAnyLengthAreSurvived(t *testing.T) {
	t.Parallel()
	for name, head := range map[string][]byte{
		"close reason of 1 GiB":  append(capsule(0x2843, 4+1<<30), 0, 0, 0, 0),
		"unknown capsule of TiB": capsule(0x1234567, 1<<40),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, core.Options{}, Options{})
			_, rs := r.connect()
			if _, err := rs.Write(head); err != nil {
				t.Fatal(err)
			}
			junk := make([]byte, 64<<10)
			for range 64 {
				if _, err := rs.Write(junk); err != nil {
					break // the session has ended
				}
			}
			c, s := r.open()
			if err := s.Emit("alive"); err != nil {
				t.Fatal(err)
			}
			c.want(`42["alive"]`)
		})
	}
}
