package importrules

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const module = "github.com/socketfleet/socketfleet"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pkg is what `go list` tells about one package. Imports of this module are
// written relative to it: "core", "adapter/redis"; others in full.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// rule forbids some packages some imports. Patterns are import paths relative to
// the module (full ones elsewhere); "x/..." matches x and everything below it,
// "std" the standard library and "..." everything.
type rule struct {
	sentence string
	from     []string // the packages the rule binds ...
	butFrom  []string // ... except these
	deny     []string // what they must not import ...
	butDeny  []string // ... except these
	deep     bool     // what they link, not only what they name
	tests    bool     // their tests too
}

const (
	gorilla        = "github.com/gorilla/websocket"
	goRedis        = "github.com/redis/go-redis/..."
	vmihailenco    = "github.com/vmihailenco/msgpack/..."
	testcontainers = "github.com/testcontainers/testcontainers-go/..."
	miniredis      = "github.com/alicebob/miniredis/..."
	prometheus     = "github.com/prometheus/..."
	otel           = "go.opentelemetry.io/..."
	quicGo         = "github.com/quic-go/..."
	natsGo         = "github.com/nats-io/..."
)

// extends lists who may import core: programs, and add-ons that extend a Server.
var extends = []string{"core", "examples/...", "bench/...", "conformance/...", "presence", "admin/...", "telemetry/..."}

// testHelp lists packages that only tests and example programs link.
var testHelp = []string{"internal/testutil/...", "adapter/adaptertest", "examples/...", "bench/...", "conformance/..."}

var rules = []rule{{
	sentence: "only programs, tests and add-ons that extend a Server import core",
	from:     []string{"..."}, butFrom: extends,
	deny: []string{"core"},
}, {
	sentence: "adapters, the cluster and the emitter never link core",
	from:     []string{"adapter/...", "cluster/...", "emitter/..."},
	deny:     []string{"core"}, deep: true,
}, {
	sentence: "adapter imports the standard library only",
	from:     []string{"adapter"},
	deny:     []string{"..."}, butDeny: []string{"std"}, deep: true,
}, {
	sentence: "internal/parser imports the standard library only",
	from:     []string{"internal/parser"},
	deny:     []string{"..."}, butDeny: []string{"std"}, deep: true,
}, {
	sentence: "core links no cluster, Redis, metrics or tracing: a memory-only binary carries none of them",
	from:     []string{"core"},
	deny:     []string{"cluster/...", "adapter/redis/...", goRedis, prometheus, otel}, deep: true,
}, {
	sentence: "no package of this module links QUIC: webtransport is a module of its own",
	from:     []string{"..."},
	deny:     []string{quicGo}, deep: true, tests: true,
}, {
	sentence: "no package of this module links NATS: adapter/nats is a module of its own",
	from:     []string{"..."},
	deny:     []string{natsGo}, deep: true, tests: true,
}, {
	sentence: "cluster knows no particular bus: adapter/redis imports cluster, never the reverse",
	from:     []string{"cluster/..."},
	deny:     []string{"adapter/redis/...", goRedis}, deep: true,
}, {
	sentence: "only internal/engineio speaks through gorilla/websocket; test clients and the benchmark's bare server may too",
	from:     []string{"..."}, butFrom: []string{"internal/engineio/...", "internal/testutil/...", "bench/baseline"},
	deny: []string{gorilla},
}, {
	sentence: "testcontainers and miniredis are linked by tests and examples only",
	from:     []string{"..."}, butFrom: testHelp,
	deny: []string{testcontainers, miniredis}, deep: true,
}, {
	sentence: "internal/testutil is linked by tests and examples only",
	from:     []string{"..."}, butFrom: testHelp,
	deny: []string{"internal/testutil/...", "testing"}, deep: true,
}, {
	sentence: "internal/testutil never imports core, so that core's own tests can import it",
	from:     []string{"internal/testutil/..."},
	deny:     []string{"core"}, deep: true, tests: true,
}, {
	sentence: "vmihailenco/msgpack is never used: untrusted bytes exhaust its memory",
	from:     []string{"..."},
	deny:     []string{vmihailenco}, deep: true, tests: true,
}}

func TestEveryPackageKeepsTheImportRules(t *testing.T) {
	t.Parallel()
	all := listPackages(t)
	for _, r := range rules {
		for _, broken := range r.check(all) {
			t.Errorf("%s\n\trule: %s", broken, r.sentence)
		}
	}
	if _, ok := all[module]; ok {
		t.Errorf("there is a package in the module's root\n\trule: users import .../core, nothing else is the entry point")
	}
}

// check returns one line per import that breaks r.
func (r rule) check(all map[string]pkg) []string {
	var broken []string
	for path, p := range all {
		if p.Standard || !ours(path) || !matches(r.from, p) || matches(r.butFrom, p) {
			continue
		}
		for _, imp := range r.imports(p) {
			q := all[imp]
			q.ImportPath = imp
			if matches(r.deny, q) && !matches(r.butDeny, q) {
				broken = append(broken, fmt.Sprintf("%s imports %s", relative(path), relative(imp)))
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func (r rule) imports(p pkg) []string {
	list := slices.Clone(p.Imports)
	if r.deep {
		list = append(list, p.Deps...)
	}
	if r.tests {
		list = append(append(list, p.TestImports...), p.XTestImports...)
	}
	return list
}

func matches(patterns []string, p pkg) bool {
	path := relative(p.ImportPath)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == "std" {
			return p.Standard
		}
		if pattern == "..." {
			return true
		}
		parent, below := strings.CutSuffix(pattern, "/...")
		return path == parent || below && strings.HasPrefix(path, parent+"/")
	})
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func relative(path string) string { return strings.TrimPrefix(path, module+"/") }

// listPackages describes every package of the module and all they depend on. A
// package that does not compile is listed by its import lines.
func listPackages(t *testing.T) map[string]pkg {
	t.Helper()
	root := moduleRoot(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps",
		"-json=ImportPath,Standard,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := map[string]pkg{}
	for dec := json.NewDecoder(out); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all[p.ImportPath] = p
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	if _, ok := all[module+"/adapter"]; !ok {
		t.Fatalf("go list found %d packages and no adapter among them", len(all))
	}
	return all
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// The checker itself: each case is a tiny module, and whether the named rule
// objects.
func TestARuleObjectsToWhatItForbidsAndToNothingElse(t *testing.T) {
	t.Parallel()
	const redisPath = "github.com/redis/go-redis/v9"
	cases := []struct {
		name    string
		rule    string // start of its sentence
		p       pkg
		objects bool
	}{
		{"a cluster package that links core through another", "adapters, the cluster", pkg{ImportPath: "cluster/run", Deps: []string{module + "/core"}}, true},
		{"a cluster package that imports adapter", "adapters, the cluster", pkg{ImportPath: "cluster/run", Imports: []string{module + "/adapter"}}, false},
		{"a library package that imports core", "only programs", pkg{ImportPath: "internal/sid", Imports: []string{module + "/core"}}, true},
		{"an example that imports core", "only programs", pkg{ImportPath: "examples/chat", Imports: []string{module + "/core"}}, false},
		{"a test of a library package that imports core", "only programs", pkg{ImportPath: "adapter/redis", XTestImports: []string{module + "/core"}}, false},
		{"adapter with a dependency outside the standard library", "adapter imports", pkg{ImportPath: "adapter", Imports: []string{redisPath}}, true},
		{"adapter with the standard library", "adapter imports", pkg{ImportPath: "adapter", Imports: []string{"fmt"}}, false},
		{"adapter/redis with go-redis", "adapter imports", pkg{ImportPath: "adapter/redis", Imports: []string{redisPath}}, false},
		{"core that links go-redis", "core links", pkg{ImportPath: "core", Deps: []string{redisPath}}, true},
		{"core that imports the default adapter", "core links", pkg{ImportPath: "core", Imports: []string{module + "/adapter/memory"}}, false},
		{"core that links QUIC", "no package of this module links QUIC", pkg{ImportPath: "core", Deps: []string{"github.com/quic-go/quic-go/http3"}}, true},
		{"a test that links NATS", "no package of this module links NATS", pkg{ImportPath: "internal/testutil", XTestImports: []string{"github.com/nats-io/nats.go"}}, true},
		{"core that imports gorilla", "only internal/engineio", pkg{ImportPath: "core", Imports: []string{gorilla}}, true},
		{"a test client", "only internal/engineio", pkg{ImportPath: "core", TestImports: []string{gorilla}}, false},
		{"testutil whose tests import core", "internal/testutil never", pkg{ImportPath: "internal/testutil", TestImports: []string{module + "/core"}}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(rules, func(r rule) bool { return strings.HasPrefix(r.sentence, c.rule) })
			if i < 0 {
				t.Fatalf("no rule begins with %q", c.rule)
			}
			c.p.ImportPath = module + "/" + c.p.ImportPath
			all := map[string]pkg{c.p.ImportPath: c.p, "fmt": {ImportPath: "fmt", Standard: true}}
			if got := rules[i].check(all); (len(got) > 0) != c.objects {
				t.Errorf("broken = %q, want objection: %v", got, c.objects)
			}
		})
	}
}
