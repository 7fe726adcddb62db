package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/socketfleet/socketfleet/adapter"
)

// tlsParams are the parameters of rediss URLs. They name files in PEM form, which
// are read once.
type tlsParams struct {
	ca         string // who signed the servers' certificates; empty: the system's list
	cert, key  string // what we show the servers; empty: nothing
	serverName string // what the certificates have to be for; empty: the host dialed
}

func readTLSParams(p *adapter.Params) tlsParams {
	return tlsParams{
		ca: p.String("tls_ca", ""), cert: p.String("tls_cert", ""), key: p.String("tls_key", ""),
		serverName: p.String("tls_server_name", ""),
	}
}

// config returns nil for a URL without TLS.
func (t tlsParams) config(u *url.URL) (*tls.Config, error) {
	if !strings.HasPrefix(u.Scheme, "rediss") {
		if t != (tlsParams{}) {
			return nil, fmt.Errorf("socketio: redis: parameters tls_* need the scheme rediss, not %s", u.Scheme)
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.serverName}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("socketio: redis: tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("socketio: redis: tls_ca: no certificate in %s", t.ca)
		}
	}
	if (t.cert == "") != (t.key == "") {
		return nil, errors.New("socketio: redis: parameters tls_cert and tls_key go together")
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("socketio: redis: tls_cert, tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
