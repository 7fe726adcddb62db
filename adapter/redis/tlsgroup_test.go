package redis

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/socketfleet/socketfleet/adapter"
	"github.com/socketfleet/socketfleet/internal/testutil"
)

// certified returns the arguments of a server that shows a certificate and wants
// those of its clients.
func (a *authority) certified() []string {
	return []string{"--tls-cert-file", a.file("server.pem"), "--tls-key-file", a.file("server.key"),
		"--tls-ca-cert-file", a.file("ca.pem"), "--tls-auth-clients", "yes"}
}

// freeAddr returns an address nobody listens at.
func freeAddr(tb testing.TB) (addr, port string) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	addr = ln.Addr().String()
	_, port, _ = net.SplitHostPort(addr)
	return addr, port
}

func newServerAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := newAuthority(tb)
	a.issue(tb, "server", []net.IP{net.IPv4(127, 0, 0, 1)})
	a.issue(tb, "client", nil, "client")
	return a
}

// eachFlows opens two nodes for each scheme and lets messages flow. Without our
// certificate none would: see TestTLSIsChecked.
func eachFlows(t *testing.T, a *authority, host, params string) {
	t.Helper()
	for _, scheme := range []string{"rediss", "rediss+sharded", "rediss+streams"} {
		raw := fmt.Sprintf("%s://%s?%s&tls_ca=%s&tls_cert=%s&tls_key=%s", scheme, host, params,
			a.file("ca.pem"), a.file("client.pem"), a.file("client.key"))
		p := openNodes(t, func(tb testing.TB, n int) (list []adapter.Provider) {
			for range n {
				if strings.HasSuffix(scheme, "streams") {
					list = append(list, openNode(tb, raw, "k-"+scheme, "stream", "k-"+scheme))
				} else {
					list = append(list, openNode(tb, raw, "k-"+scheme))
				}
			}
			return list
		}, 2)
		flows(t, p[0], p[1])
		flows(t, p[1], p[0])
	}
}

// The masters tell a client the ports with TLS when they use TLS themselves.
func TestRedisClusterOverTLS(t *testing.T) {
	t.Parallel()
	a := newServerAuthority(t)
	var masters []*testutil.RedisServer
	var host, port string
	for i, slots := range [][]string{{"0", "8191"}, {"8192", "16383"}} {
		host, port = busAddr(t)
		s := testutil.LocalRedisWith(t, append(a.certified(), "--cluster-enabled", "yes", "--tls-cluster", "yes",
			"--tls-port", port, "--dir", t.TempDir())...)
		s.CLI(t, "cluster", "addslotsrange", slots[0], slots[1])
		s.CLI(t, "cluster", "set-config-epoch", strconv.Itoa(i+1))
		if masters = append(masters, s); i > 0 {
			masters[0].CLI(t, "cluster", "meet", "127.0.0.1", port)
		}
	}
	for _, s := range masters {
		poll(t, "the cluster is ok", func() bool {
			info := s.CLI(t, "cluster", "info")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	eachFlows(t, a, host, "cluster=true")
}

// busAddr is freeAddr for a member of a Redis Cluster, which listens 10000 higher too.
func busAddr(tb testing.TB) (addr, port string) {
	tb.Helper()
	for range 100 {
		addr, port = freeAddr(tb)
		if n, _ := strconv.Atoi(port); n > 55_535 {
			continue
		} else if ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n+10_000))); err == nil {
			ln.Close()
			return addr, port
		}
	}
	tb.Fatal("no pair of free ports")
	return "", ""
}

func TestSentinelOverTLS(t *testing.T) {
	t.Parallel()
	a := newServerAuthority(t)
	_, port := freeAddr(t)
	testutil.LocalRedisWith(t, append(a.certified(), "--tls-port", port)...)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %s 1\ntls-replication yes\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port := freeAddr(t)
	testutil.LocalRedisWith(t, append([]string{conf, "--sentinel", "--tls-port", port}, a.certified()...)...)
	eachFlows(t, a, host, "master=main")
}
