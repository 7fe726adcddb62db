package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/adapter/adaptertest"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// authority signs certificates. Its files are named ca.pem, NAME.pem and NAME.key.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{dir: tb.TempDir()}
	a.cert, a.key = a.issue(tb, "ca", nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes a certificate for hosts.
func (a *authority) issue(tb testing.TB, name string, ips []net.IP, hosts ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: ips, DNSNames: hosts, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		t.IsCA, t.KeyUsage, t.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		parent, signer = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert, key
}

// secureRedis is a server that speaks TLS on its second port and wants certificates
// of its clients.
type secureRedis struct {
	*testutil.RedisServer
	*authority
	addr string // of the port with TLS
}

func startSecureRedis(tb testing.TB) *secureRedis {
	tb.Helper()
	a := newAuthority(tb)
	a.issue(tb, "server", []net.IP{net.IPv4(127, 0, 0, 1)}, "redis.internal")
	a.issue(tb, "client", nil, "client")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	s := testutil.LocalRedisWith(tb, "--tls-port", port, "--tls-cert-file", a.file("server.pem"), "--tls-key-file", a.file("server.key"),
		"--tls-ca-cert-file", a.file("ca.pem"), "--tls-auth-clients", "yes")
	s.CLI(tb, "acl", "setuser", "app", "on", ">top-secret", "allkeys", "allchannels", "allcommands")
	return &secureRedis{s, a, addr}
}

// url returns an adapter URL with more parameters, as pairs of a name and a value.
func (s *secureRedis) url(scheme string, params ...string) string {
	q := url.Values{"tls_ca": {s.file("ca.pem")}, "tls_cert": {s.file("client.pem")}, "tls_key": {s.file("client.key")}}
	for i := 0; i < len(params); i += 2 {
		if q.Set(params[i], params[i+1]); params[i+1] == "" {
			q.Del(params[i])
		}
	}
	return (&url.URL{Scheme: scheme, User: url.UserPassword("app", "top-secret"), Host: s.addr, RawQuery: q.Encode()}).String()
}

func TestAdapterSuiteOverTLS(t *testing.T) {
	t.Parallel()
	s := startSecureRedis(t)
	for _, scheme := range []string{"rediss", "rediss+sharded", "rediss+streams"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, adaptertest.Harness{MaxNodes: 1, AllRooms: scheme == "rediss", Nodes: s.nodes(scheme)})
			p := openNodes(t, s.nodes(scheme), 2)
			flows(t, p[0], p[1])
			flows(t, p[1], p[0])
		})
	}
}

func (s *secureRedis) nodes(scheme string) func(tb testing.TB, n int) []adapter.Provider {
	return func(tb testing.TB, n int) []adapter.Provider {
		key, params := testutil.Prefix(tb), []string(nil)
		if strings.HasSuffix(scheme, "streams") {
			params = []string{"stream", key}
		}
		nodes := make([]adapter.Provider, n)
		for i := range nodes {
			nodes[i] = openNode(tb, s.url(scheme), key, params...)
		}
		return nodes
	}
}

func TestTLSIsChecked(t *testing.T) {
	t.Parallel()
	s := startSecureRedis(t)
	other := newAuthority(t)
	other.issue(t, "client", nil, "client")
	// That Redis refuses our certificate comes after the handshake, and may be
	// overtaken by the end of the connection.
	tests := []struct {
		name, url, want string
	}{
		{"another authority", s.url("rediss", "tls_ca", other.file("ca.pem")), "unknown authority"},
		{"the system's authorities", s.url("rediss", "tls_ca", ""), "unknown authority"},
		{"another name", s.url("rediss", "tls_server_name", "redis.example"), "not redis.example"},
		{"no certificate of ours", s.url("rediss", "tls_cert", "", "tls_key", ""), "does not answer"},
		{"a certificate nobody knows", s.url("rediss", "tls_cert", other.file("client.pem"), "tls_key", other.file("client.key")), "does not answer"},
		{"no file", s.url("rediss", "tls_ca", "/nowhere/ca.pem"), "tls_ca: open /nowhere/ca.pem"},
		{"no certificate in the file", s.url("rediss", "tls_ca", s.file("client.key")), "tls_ca: no certificate in"},
		{"a key without a certificate", s.url("rediss", "tls_cert", ""), "go together"},
		{"a key of another certificate", s.url("rediss", "tls_key", s.file("server.key")), "private key does not match"},
		{"no TLS", s.url("redis"), "need the scheme rediss"},
		{"no TLS on a port with it", strings.Split(s.url("redis"), "?")[0], s.addr},
	}
	for _, tt := range tests {
		for _, kind := range []string{"", "+sharded", "+streams"} {
			scheme, rest, _ := strings.Cut(tt.url, ":")
			p, err := adapter.Open(context.Background(), scheme+kind+":"+rest)
			if err == nil {
				closeNode(t, p)
				t.Fatalf("%s%s: it was opened", tt.name, kind)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s%s: error %q, want %q", tt.name, kind, err, tt.want)
			}
			if strings.Contains(err.Error(), "top-secret") {
				t.Errorf("%s%s: the password is in %q", tt.name, kind, err)
			}
		}
	}
	p, err := adapter.Open(context.Background(), s.url("rediss", "tls_server_name", "redis.internal"))
	if err != nil {
		t.Fatal(err)
	}
	closeNode(t, p)
}

// A program with a client of its own has TLS settings in that.
func TestNewKeepsTheTLSSettingsOfTheClient(t *testing.T) {
	t.Parallel()
	s := startSecureRedis(t)
	pair, err := tls.LoadX509KeyPair(s.file("client.pem"), s.file("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.cert)
	client := func(roots *x509.CertPool) *goredis.Client {
		return goredis.NewClient(&goredis.Options{Addr: s.addr, Username: "app", Password: "top-secret",
			TLSConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}})
	}
	for _, variant := range variants {
		a := startVariant(t, variant, client(pool), "k-"+variant, "/", "a")
		b := startVariant(t, variant, client(pool), "k-"+variant, "/", "b")
		flows(t, a, b)
	}
	wrong := client(x509.NewCertPool())
	defer wrong.Close()
	if _, err := New(wrong, nil); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("error %v", err)
	}
}
