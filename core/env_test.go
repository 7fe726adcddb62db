package core_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socketfleet/socketfleet/core"
)

// codeOnly are the options no text can express.
var codeOnly = []string{"Adapter", "ClientFS", "AllowRequest", "Cookie", "Logger", "Parser", "JSON", "OnSessionExpired", "OnSlowConsumer",
	"Use", "InitialHeaders", "Headers", "GenerateID", "Forwarder"}

var wordEnd = regexp.MustCompile(`([a-z])([A-Z])`)

// variable is the name of an option's variable.
func variable(field string) string {
	if field == "AdapterURL" {
		return "ADAPTER"
	}
	return strings.ToUpper(wordEnd.ReplaceAllString(field, "${1}_${2}"))
}

// sample returns a text and what it stands for, for each type an option may have.
func sample(t reflect.Type) (text string, want any, ok bool) {
	switch t {
	case reflect.TypeFor[string]():
		return "text", "text", true
	case reflect.TypeFor[bool]():
		return "true", true, true
	case reflect.TypeFor[*bool]():
		return "false", new(false), true
	case reflect.TypeFor[int]():
		return "-7", -7, true
	case reflect.TypeFor[int64]():
		return "123456789012", int64(123456789012), true
	case reflect.TypeFor[time.Duration]():
		return "1m30s", 90 * time.Second, true
	case reflect.TypeFor[[]string]():
		return " a, b ,,c", []string{"a", "b", "c"}, true
	case reflect.TypeFor[[]netip.Prefix]():
		return "10.0.0.0/8, ::1", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}, true
	}
	return "", nil, false
}

// A new option must be readable from the environment or stand in codeOnly.
func TestEveryScalarOptionIsReadFromTheEnvironment(t *testing.T) {
	for f := range reflect.TypeFor[core.Options]().Fields() {
		switch f.Type {
		case reflect.TypeFor[*core.RecoveryOptions](), reflect.TypeFor[*core.DeflateOptions]():
			continue // below
		}
		t.Run(f.Name, func(t *testing.T) {
			name := "APP_" + variable(f.Name)
			text, want, ok := sample(f.Type)
			if !ok {
				if !slices.Contains(codeOnly, f.Name) {
					t.Fatalf("%s cannot be read from the environment", f.Type)
				}
				if f.Name == "Adapter" {
					return // the variable of AdapterURL
				}
				t.Setenv(name, "x")
				if _, err := core.OptionsFromEnv("APP_"); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("a variable without effect is no error: %v", err)
				}
				return
			}
			t.Setenv(name, text)
			o, err := core.OptionsFromEnv("APP_")
			if err != nil {
				t.Fatal(err)
			}
			v := reflect.ValueOf(o).Elem()
			if got := v.FieldByIndex(f.Index).Interface(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s=%q gives %v, want %v", name, text, got, want)
			}
			v.FieldByIndex(f.Index).SetZero()
			if !v.IsZero() {
				t.Errorf("%s changes other options: %+v", name, o)
			}
		})
	}
}

func TestRecoveryIsReadFromTheEnvironment(t *testing.T) {
	for f := range reflect.TypeFor[core.RecoveryOptions]().Fields() {
		text, want, ok := sample(f.Type)
		if !ok {
			if !slices.Contains(codeOnly, f.Name) {
				t.Errorf("%s %s cannot be read from the environment", f.Name, f.Type)
			}
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			t.Setenv("APP_RECOVERY_"+variable(f.Name), text)
			o, err := core.OptionsFromEnv("APP_")
			if err != nil || o.Recovery == nil {
				t.Fatalf("%+v, %v", o, err)
			}
			if got := reflect.ValueOf(o.Recovery).Elem().FieldByIndex(f.Index).Interface(); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	t.Setenv("APP_RECOVERY", "true")
	if o, err := core.OptionsFromEnv("APP_"); err != nil || o.Recovery == nil {
		t.Errorf("APP_RECOVERY=true: %+v, %v", o, err)
	}
	t.Setenv("APP_RECOVERY", "false")
	if o, err := core.OptionsFromEnv("APP_"); err != nil || o.Recovery != nil {
		t.Errorf("APP_RECOVERY=false: %+v, %v", o, err)
	}
}

func TestDeflateIsReadFromTheEnvironment(t *testing.T) {
	t.Setenv("APP_DEFLATE_LEVEL", "3")
	o, err := core.OptionsFromEnv("APP_")
	if err != nil || o.Deflate == nil || o.Deflate.Level != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	t.Setenv("APP_DEFLATE", "perhaps")
	if _, err := core.OptionsFromEnv("APP_"); err == nil || !strings.Contains(err.Error(), "APP_DEFLATE") {
		t.Errorf("APP_DEFLATE=perhaps: %v", err)
	}
}

func TestABadVariableIsNamedAndSecretsAreNot(t *testing.T) {
	t.Setenv("APP_CLUSTER_SECRET", "hunter2")
	t.Setenv("APP_ADAPTER", "redis://user:hunter2@host")
	for name, text := range map[string]string{
		"APP_PING_INTERVAL":             "25",
		"APP_MAX_PAYLOAD":               "1e6",
		"APP_MAX_CONNECTIONS":           "many",
		"APP_MAX_DEPTH":                 "99999999999999999999",
		"APP_DISABLE_UPGRADES":          "perhaps",
		"APP_TRUSTED_PROXIES":           "10.0.0.0/8,proxy.local",
		"APP_CLEANUP_EMPTY_NAMESPACES":  "x",
		"APP_RECOVERY":                  "2m",
		"APP_LOGGER":                    "stderr",
		"APP_MAX_NAMESPACES_PER_CLIENT": "0.5",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, text)
			_, err := core.OptionsFromEnv("APP_")
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want the variable's name", err)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestAnEmptyEnvironmentIsTheDefault(t *testing.T) {
	t.Setenv("APP_PING_INTERVAL", "")
	o, err := core.OptionsFromEnv("APP_")
	if err != nil || !reflect.ValueOf(o).Elem().IsZero() {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*core.Options{
		"a long node id":        {NodeID: strings.Repeat("n", 33)},
		"a node id with a dot":  {NodeID: "a.b"},
		"a node id with a byte": {NodeID: "ä"},
		"two adapters":          {AdapterURL: "memory://", Adapter: &flaky{}},
		"an unknown transport":  {Transports: []string{"carrier-pigeon"}},
		"no transport":          {Transports: []string{}},
		"an origin that is none": {Origins: []string{
			"https://example.com/path",
		}},
		"an adapter parameter nobody knows": {AdapterURL: "memory://?speed=fast"},
		"no URL":                            {AdapterURL: "::"},
	} {
		if srv, err := core.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
			_ = srv.Close()
		} else if name != "two adapters" && !strings.Contains(err.Error(), ":") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheZeroOptionsWork(t *testing.T) {
	t.Parallel()
	for _, o := range []*core.Options{nil, {}, {
		PingInterval: -1, PingTimeout: -1, UpgradeTimeout: -1, ConnectTimeout: -1, WriteTimeout: -1, AckTimeout: -1,
		MaxPayload: -1, MaxAttachments: -1, MaxQueueBytes: -1, MaxInboundBytes: -1, MaxConnections: -1,
		MaxNamespacesPerClient: -1, MaxDynamicNamespaces: -1, MaxRoomsPerSocket: -1, MaxPendingAcks: -1,
		Transports: []string{"websocket"}, NodeID: "node_1-a",
	}} {
		r := start(t, o)
		c := r.dial(t)
		answering(c, "ask")
		s := r.socket(t, c)
		if err := errors.Join(s.Join("room"), s.Emit("e", []byte("b"))); err != nil {
			t.Error(err)
		}
		c.Expect(t, "e")
		if v, err := core.EmitWithAck[int](within(t, wait), s, "ask", 5); v != 5 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
		equal(t, "node id", len(r.NodeID()), 8)
	}
}
