package logrules

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

// keys are all that log lines may have, each for one thing in all packages. A new one
// is added here, after a look at whether it has a name already.
var keys = map[string]string{
	"event": "what happened: the stable name of docs/observability.md",
	"error": "an error that came back", "panic": "what a handler panicked with", "stack": "the stack of a panic",
	"reason": "why, as one of a few words or a sentence", "cause": "the error or context that ended something",

	"namespace": "a namespace", "node": "another node, or its id", "address": "where a client or a listener is",
	"socket": "the id of a socket", "transport": "of a connection", "type": "of a packet",
	"what": "which handler or id", "name": "of an event", "kind": "of a gap", "source": "the channel or entry a message came by",
	"channel": "a channel of the backend", "stream": "a stream of the backend",
	"origin": "of a refused request", "host": "of a refused request", "option": "which one to set",
	"writer": "the type that is in the way", "proto": "the version of HTTP", "signal": "of the operating system",
	"action": "of the Admin UI", "user": "of the Admin UI", "filter": "what an action selects", "first": "the first argument of an action",

	"missing_since": "from when on messages may be missing", "away": "how long the backend was", "missing": "messages that did not come",
	"rate": "how many a second", "needed": "how long it would have to be",
	"dropped": "messages given up", "unlogged": "failures since the last line", "events": "how many",
	"channels": "how many", "clients": "how many", "sockets": "how many", "connections": "how many", "tunnels": "how many",
	"closed": "connections closed", "forced": "connections closed at the end of the time", "left": "connections still there",
	"flushed": "connections that got all", "saved": "sessions saved", "shown": "sockets shown", "left_out": "sockets not shown",
	"bytes": "queued for the clients cut", "queued": "bytes queued for all clients",
	"age": "of a request", "duration": "how long it took", "grace": "time before clients are sent away", "window": "time in which they are",
}

// clients are the keys for what belongs to one client, in lines of level debug only.
var clients = []string{"socket", "name", "source", "channel", "filter", "first"}

// secret is in expressions for what must not be logged at info and above.
var secret = regexp.MustCompile(`(?i)\b(sid|pid|sessionid|token|secret|password|auth|payload|packet|data|attachments|cookie|query|args)\b|\b(s|sess|socket|session|c)\.(id|ID\(\))`)

// attribute is one attribute of a log line, as its source says.
type attribute struct {
	key   string // empty: not written as a string
	value string
}

// line is one call that logs.
type line struct {
	at    string
	debug bool
	attrs []attribute
}

func (l *line) has(key string) bool {
	return slices.ContainsFunc(l.attrs, func(a attribute) bool { return a.key == key })
}

var (
	logger = regexp.MustCompile(`(?i)(^|\.)(log|logger|logger\(\))$`)
	level  = regexp.MustCompile(`^(Debug|Info|Warn|Error)(Context)?$`)
)

// lines returns the log lines of one file.
func lines(files *token.FileSet, file *ast.File) (all []line) {
	text := func(n ast.Node) string {
		var b strings.Builder
		_ = printer.Fprint(&b, files, n) // of what has just been parsed
		return b.String()
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !logger.MatchString(text(fn.X)) {
			return true
		}
		l := line{at: files.Position(call.Pos()).String()}
		rest := call.Args
		switch m := level.FindStringSubmatch(fn.Sel.Name); {
		case m != nil && m[2] == "":
			l.debug, rest = m[1] == "Debug", rest[1:]
		case m != nil:
			l.debug, rest = m[1] == "Debug", rest[2:]
		case (fn.Sel.Name == "LogAttrs" || fn.Sel.Name == "Log") && len(rest) > 2:
			l.debug, rest = strings.HasSuffix(text(rest[1]), "LevelDebug"), rest[3:]
		default:
			return true
		}
		l.attrs = attributes(rest, text)
		all = append(all, l)
		return true
	})
	return all
}

// attributes reads what follows the message: calls of slog, or keys and values by
// turns.
func attributes(args []ast.Expr, text func(ast.Node) string) (list []attribute) {
	for len(args) > 0 {
		if call, ok := args[0].(*ast.CallExpr); ok && strings.HasPrefix(text(call.Fun), "slog.") && len(call.Args) == 2 {
			list = append(list, attribute{unquoted(call.Args[0]), text(call.Args[1])})
			args = args[1:]
			continue
		}
		a := attribute{key: unquoted(args[0])}
		if len(args) == 1 {
			return append(list, a)
		}
		a.value = text(args[1])
		list = append(list, a)
		args = args[2:]
	}
	return list
}

func unquoted(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

// everyLine returns the log lines of all modules.
func everyLine(t *testing.T) (all []line) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		all = append(all, lines(files, file)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 60 {
		t.Fatalf("only %d log lines found: the search misses them", len(all))
	}
	return all
}

func TestLogLinesUseTheListedKeys(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	for _, l := range everyLine(t) {
		for _, a := range l.attrs {
			if used[a.key] = true; keys[a.key] == "" {
				t.Errorf("%s: the key %q is not listed", l.at, a.key)
			}
		}
	}
	for key := range keys {
		if !used[key] {
			t.Errorf("the key %q is listed, and no line has it", key)
		}
	}
}

func TestLinesAtInfoNameTheirEventAndNoClient(t *testing.T) {
	t.Parallel()
	for _, l := range everyLine(t) {
		for _, problem := range l.problems() {
			t.Errorf("%s: %s", l.at, problem)
		}
	}
}

// problems says what is wrong with a line at info or above.
func (l *line) problems() (list []string) {
	if l.debug {
		return nil
	}
	if !l.has("event") {
		list = append(list, "it has no event")
	}
	for _, a := range l.attrs {
		literal := strings.HasPrefix(a.value, `"`)
		if slices.Contains(clients, a.key) || !literal && secret.MatchString(a.value) {
			list = append(list, "it may tell of a client: "+a.key+", "+a.value)
		}
	}
	return list
}

// The rules would find what they are for.
func TestLinesThatBreakTheRulesAreFound(t *testing.T) {
	t.Parallel()
	for src, problems := range map[string]int{
		`log.Info("x", "event", "e", "error", err)`:                                             0,
		`log.Debug("x", "socket", s.id)`:                                                        0,
		`log.Info("x")`:                                                                         1,
		`log.Info("x", "event", "e", "socket", v)`:                                              1,
		`srv.opts.Logger.Warn("x", "event", "e", "node", s.ID())`:                               1,
		`srv.opts.Logger.Warn("x", "event", "e", "node", lease.pid)`:                            1,
		`h.Logger().ErrorContext(ctx, "x", "event", "e", "type", string(p.Data))`:               1,
		`log.LogAttrs(ctx, slog.LevelWarn, "x", slog.Any("error", err))`:                        1,
		`log.LogAttrs(ctx, slog.LevelInfo, "x", slog.String("event", e), slog.Any("a", token))`: 1,
		`log.LogAttrs(ctx, slog.LevelDebug, "x", slog.String("a", token))`:                      0,
		`t.Error("x", token)`:                                                                   0,
	} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, "x.go", "package x\nfunc f() { "+src+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, l := range lines(files, file) {
			found += len(l.problems())
		}
		if found != problems {
			t.Errorf("%s: %d problems, want %d", src, found, problems)
		}
	}
}
