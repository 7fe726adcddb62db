package adapter

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params reads the query parameters of an adapter URL strictly: each getter
// marks its parameter as known, and Err reports bad values, repeated values and
// every parameter nobody asked for. It is not safe for concurrent use.
type Params struct {
	values url.Values
	known  map[string]bool
	errs   []error
}

// NewParams returns a reader of u's query.
func NewParams(u *url.URL) *Params {
	values, err := url.ParseQuery(u.RawQuery)
	p := &Params{values: values, known: make(map[string]bool)}
	if err != nil {
		// The cause quotes the query, which may hold a secret.
		p.errs = append(p.errs, errors.New("the query is malformed"))
	}
	return p
}

// String returns the parameter's value, or def when it is absent.
func (p *Params) String(name, def string) string {
	v, ok := p.one(name)
	if !ok {
		return def
	}
	return v
}

// Int returns the parameter as a decimal integer, or def when it is absent.
func (p *Params) Int(name string, def int) int {
	return parse(p, name, def, "an integer", strconv.Atoi)
}

// Duration returns the parameter in the syntax of time.ParseDuration, such as
// 1.5s, or def when it is absent.
func (p *Params) Duration(name string, def time.Duration) time.Duration {
	return parse(p, name, def, "a duration such as 1.5s", time.ParseDuration)
}

// Bool returns the parameter as true or false (1 and 0 too), or def when it is
// absent.
func (p *Params) Bool(name string, def bool) bool {
	return parse(p, name, def, "true or false", strconv.ParseBool)
}

// Strings returns every value of a parameter that may be repeated, in order; nil
// when it is absent.
func (p *Params) Strings(name string) []string {
	p.known[name] = true
	return slices.Clone(p.values[name])
}

// Err returns nil, or one error that names all unknown parameters and bad
// values; Open says which URL they belong to. Call it after the last getter.
func (p *Params) Err() error {
	errs := slices.Clone(p.errs)
	var unknown []string
	for name := range p.values {
		if !p.known[name] {
			unknown = append(unknown, strconv.Quote(name))
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		errs = append(errs, fmt.Errorf("unknown parameter %s (known: %s)", strings.Join(unknown, ", "), p.names()))
	}
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

func (p *Params) names() string {
	if len(p.known) == 0 {
		return "none"
	}
	names := make([]string, 0, len(p.known))
	for name := range p.known {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (p *Params) one(name string) (string, bool) {
	p.known[name] = true
	vs := p.values[name]
	if len(vs) > 1 {
		p.errs = append(p.errs, fmt.Errorf("parameter %q is given %d times", name, len(vs)))
	}
	if len(vs) == 0 {
		return "", false
	}
	return vs[0], true
}

func parse[T any](p *Params, name string, def T, want string, conv func(string) (T, error)) T {
	s, ok := p.one(name)
	if !ok {
		return def
	}
	v, err := conv(s)
	if err != nil {
		if secretName(name) {
			s = hidden
		}
		p.errs = append(p.errs, fmt.Errorf("parameter %q is %q, want %s", name, s, want))
		return def
	}
	return v
}
