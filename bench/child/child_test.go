package child_test

import (
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/socketfleet/socketfleet/bench/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEachMemCommandIsAnsweredByOneLine(t *testing.T) {
	var out strings.Builder
	if err := child.Control(strings.NewReader("mem\nmem\n"), &out, func() int { return 7 }); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("answers = %q, want two lines", lines)
	}
	var m child.Memory
	if err := json.Unmarshal([]byte(lines[1]), &m); err != nil {
		t.Fatal(err)
	}
	if m.Heap == 0 || m.Stack == 0 || m.Goroutines == 0 || m.Connections != 7 {
		t.Errorf("memory = %+v", m)
	}
}

func TestAnUnknownCommandEndsControl(t *testing.T) {
	if err := child.Control(strings.NewReader("dance\n"), &strings.Builder{}, nil); err == nil {
		t.Error("Control accepted an unknown command")
	}
}
