package monitoring

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../.."

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDocumentationListsEveryMetric(t *testing.T) {
	nodes := startFleet(t, 3)
	traffic(t, nodes)
	exposed := nodes[0].exposed(t)
	row := regexp.MustCompile("(?m)^\\| `(socketio_[a-z_]+)` \\| ([a-z]+) \\| ([a-z_, ]*) ?\\|")
	var listed []string
	for _, m := range row.FindAllStringSubmatch(documentation(t), -1) {
		name, kind, labels := m[1], m[2], m[3]
		listed = append(listed, name)
		f := exposed[name]
		if f == nil {
			t.Errorf("%s is listed, but not exposed", name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != kind {
			t.Errorf("%s is a %s, listed as %s", name, got, kind)
		}
		var want []string
		for l := range strings.SplitSeq(labels, ",") {
			if l = strings.TrimSpace(l); l != "" {
				want = append(want, l)
			}
		}
		got := slices.Compact(slices.Sorted(slices.Values(labelNames(f))))
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the labels %q, listed with %q", name, got, want)
		}
	}
	for name := range exposed {
		if strings.HasPrefix(name, "socketio_") && !slices.Contains(listed, name) {
			t.Errorf("%s is not listed", name)
		}
	}
}

// eventName is the form of the value of a log line's event attribute.
const eventName = `socket\.(?:dis)?connect|(?:server|drain|session|packet|event|handler|handshake|slow_consumer|adapter|cluster|recovery|forward|presence)\.[a-z_]+`

func TestTheDocumentationListsEveryLogEvent(t *testing.T) {
	t.Parallel()
	var listed []string
	for _, m := range regexp.MustCompile("`("+eventName+")`").FindAllStringSubmatch(documentation(t), -1) {
		listed = append(listed, m[1])
	}
	literal := regexp.MustCompile(`"(` + eventName + `)"`)
	found := make(map[string]string)
	for _, dir := range []string{"core", "cluster", "adapter", "internal/engineio", "presence"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range literal.FindAllStringSubmatch(string(text), -1) {
				found[m[1]] = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range found {
		if !slices.Contains(listed, name) {
			t.Errorf("%s logs %s, which is not listed", path, name)
		}
	}
	for _, name := range listed {
		if found[name] == "" {
			t.Errorf("%s is listed, but nothing logs it", name)
		}
	}
}
