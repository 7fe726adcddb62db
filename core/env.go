package core

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// OptionsFromEnv reads every option that a string can express from the
// environment. The variable of a field is prefix followed by the field's name in
// capitals with underscores, such as SOCKETIO_PING_INTERVAL for the prefix
// "SOCKETIO_"; AdapterURL is prefix + "ADAPTER". Durations are written as 25s,
// lists with commas, networks as 10.0.0.0/8 or an address, booleans as true or
// false. Recovery is switched on by RECOVERY=true or by any of its fields, such as
// SOCKETIO_RECOVERY_MAX_DISCONNECTION, and Deflate likewise. An unset or empty variable leaves the
// default; an error names the variable and never its value's secret parts.
func OptionsFromEnv(prefix string) (*Options, error) {
	opts := new(Options)
	if _, err := setFields(reflect.ValueOf(opts).Elem(), prefix); err != nil {
		return nil, err
	}
	var err error
	if opts.Recovery, err = groupFromEnv[RecoveryOptions](prefix + "RECOVERY"); err != nil {
		return nil, err
	}
	if opts.Deflate, err = groupFromEnv[DeflateOptions](prefix + "DEFLATE"); err != nil {
		return nil, err
	}
	return opts, nil
}

// groupFromEnv reads options that are switched on together, by the variable name
// or by any of their own; nil: they are not.
func groupFromEnv[T any](name string) (*T, error) {
	on := false
	if text := os.Getenv(name); text != "" {
		if err := setField(reflect.ValueOf(&on).Elem(), text); err != nil {
			return nil, fmt.Errorf("socketio: environment variable %s: %w", name, err)
		}
	}
	group := new(T)
	n, err := setFields(reflect.ValueOf(group).Elem(), name+"_")
	if err != nil || !on && n == 0 {
		return nil, err
	}
	return group, nil
}

// setFields reads the fields of a struct and returns how many variables are set.
func setFields(v reflect.Value, prefix string) (n int, err error) {
	for i := range v.NumField() {
		field := v.Type().Field(i).Name
		if field == "Adapter" {
			continue // its variable is that of AdapterURL
		}
		name := prefix + envName(field)
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		switch v.Field(i).Interface().(type) {
		case *RecoveryOptions, *DeflateOptions: // groups
			continue
		}
		if err := setField(v.Field(i), text); err != nil {
			return 0, fmt.Errorf("socketio: environment variable %s: %w", name, err)
		}
		n++
	}
	return n, nil
}

// envName turns a field name into the tail of its variable's name.
func envName(field string) string {
	if field == "AdapterURL" {
		return "ADAPTER"
	}
	var b strings.Builder
	runes := []rune(field)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// setField parses text into an option. Options no text can express are errors:
// a variable that has no effect would hide a mistake.
func setField(f reflect.Value, text string) error {
	switch p := f.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		return parseInto(p, text, strconv.ParseBool, "true or false")
	case **bool:
		*p = new(bool)
		return setField(reflect.ValueOf(*p).Elem(), text)
	case *time.Duration:
		return parseInto(p, text, time.ParseDuration, "a duration such as 25s")
	case *int:
		return parseInto(p, text, strconv.Atoi, "a whole number")
	case *int64:
		return parseInto(p, text, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }, "a whole number")
	case *[]string:
		*p = splitList(text)
	case *[]netip.Prefix:
		for _, item := range splitList(text) {
			prefix, err := parsePrefix(item)
			if err != nil {
				return fmt.Errorf("%q is neither a network nor an address", item)
			}
			*p = append(*p, prefix)
		}
	default:
		return fmt.Errorf("this option can only be set in code")
	}
	return nil
}

func parseInto[T any](p *T, text string, parse func(string) (T, error), want string) error {
	v, err := parse(text)
	if err != nil {
		return fmt.Errorf("%q is not %s", text, want)
	}
	*p = v
	return nil
}

func splitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}
