package parser

import (
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

var (
	jsonMarshalerType   = reflect.TypeFor[json.Marshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func implements(t, iface, other reflect.Type) bool {
	if t.Implements(iface) || t.Implements(other) {
		return true
	}
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return false
	}
	p := reflect.PointerTo(t)
	return p.Implements(iface) || p.Implements(other)
}

// encodesItself reports whether encoding/json leaves t to a method of t.
func encodesItself(t reflect.Type) bool {
	return implements(t, jsonMarshalerType, textMarshalerType)
}

// decodesItself is encodesItself for decoding.
func decodesItself(t reflect.Type) bool {
	return implements(t, jsonUnmarshalerType, textUnmarshalerType)
}

// isBytes reports whether encoding/json writes values of t as base64.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !encodesItself(t.Elem())
}

var encodeCache sync.Map // reflect.Type -> bool

// encodesBinary reports whether a value of type t can hold bytes that have to
// become attachments.
func encodesBinary(t reflect.Type) bool {
	if known, ok := encodeCache.Load(t); ok {
		return known.(bool)
	}
	// Only the type asked for is cached: what a recursive type answers while it is
	// being visited is not the whole answer.
	found := false
	visitTypes(t, make(map[reflect.Type]bool), func(t reflect.Type) bool {
		if encodesItself(t) {
			return false
		}
		found = found || isBytes(t) || t.Kind() == reflect.Interface
		return !found
	})
	encodeCache.Store(t, found)
	return found
}

// traits say what a decoded value of some type can contain.
type traits struct {
	dynamic bool // interfaces
	custom  bool // types that decode themselves
}

var decodeCache sync.Map // reflect.Type -> traits

func traitsOf(t reflect.Type) traits {
	if known, ok := decodeCache.Load(t); ok {
		return known.(traits)
	}
	var tr traits
	visitTypes(t, make(map[reflect.Type]bool), func(t reflect.Type) bool {
		tr.dynamic = tr.dynamic || t.Kind() == reflect.Interface
		own := t != rawMessageType && decodesItself(t)
		tr.custom = tr.custom || own
		return !own
	})
	decodeCache.Store(t, tr)
	return tr
}

// visitTypes calls visit for t and the types it is made of, once each. visit
// says whether to look into its type.
func visitTypes(t reflect.Type, seen map[reflect.Type]bool, visit func(reflect.Type) bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	if !visit(t) {
		return
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Pointer:
		visitTypes(t.Elem(), seen, visit)
	case reflect.Struct:
		for _, f := range fieldsOf(t) {
			visitTypes(f.typ, seen, visit)
		}
	}
}

// field is one member encoding/json makes of a struct.
type field struct {
	name      string
	key       []byte // the name as a JSON string, and a colon
	index     []int
	typ       reflect.Type
	tagged    bool
	omitEmpty bool
	omitZero  bool
	quoted    bool
}

var fieldCache sync.Map // reflect.Type -> []field

// fieldsOf returns the JSON members of a struct type, in encoding/json's order
// and by its rules: of equal names the least nested field wins, then the one
// that is tagged, else none.
func fieldsOf(t reflect.Type) []field {
	if known, ok := fieldCache.Load(t); ok {
		return known.([]field)
	}
	all := collectFields(t, nil, nil, map[reflect.Type]bool{t: true})
	slices.SortStableFunc(all, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), taggedFirst(a, b))
	})
	out := all[:0]
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && all[end].name == all[i].name {
			end++
		}
		if end == i+1 || len(all[i].index) != len(all[i+1].index) || all[i].tagged != all[i+1].tagged {
			out = append(out, all[i])
		}
		i = end
	}
	slices.SortFunc(out, func(a, b field) int { return slices.Compare(a.index, b.index) })
	fieldCache.Store(t, out)
	return out
}

func taggedFirst(a, b field) int {
	switch {
	case a.tagged == b.tagged:
		return 0
	case a.tagged:
		return -1
	}
	return 1
}

// collectFields appends the fields of t and of the structs embedded in it. path
// holds the types on the way down, so that a type embedding itself ends.
func collectFields(t reflect.Type, index []int, out []field, path map[reflect.Type]bool) []field {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" || !usable(sf) {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if !validName(name) {
			name = ""
		}
		at := append(slices.Clip(index), i)
		if inner := deref(sf.Type); sf.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			if !path[inner] {
				path[inner] = true
				out = collectFields(inner, at, out, path)
				delete(path, inner)
			}
			continue
		}
		out = append(out, newField(sf, name, opts, at))
	}
	return out
}

func newField(sf reflect.StructField, name, opts string, index []int) field {
	f := field{name: name, index: index, typ: sf.Type, tagged: name != ""}
	if name == "" {
		f.name = sf.Name
	}
	f.key = append(AppendString(nil, f.name), ':')
	for opt := range strings.SplitSeq(opts, ",") {
		switch opt {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			f.quoted = quotable(sf.Type)
		}
	}
	return f
}

// usable reports whether encoding/json looks at the field: exported ones, and
// the exported fields of embedded structs.
func usable(sf reflect.StructField) bool {
	if sf.Anonymous && !sf.IsExported() {
		return deref(sf.Type).Kind() == reflect.Struct
	}
	return sf.IsExported()
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		return t.Elem()
	}
	return t
}

// quotable reports whether the string option has an effect on fields of type t.
func quotable(t reflect.Type) bool {
	switch deref(t).Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	}
	return false
}

// validName reports whether encoding/json takes the name from a tag.
func validName(s string) bool {
	for _, r := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return s != ""
}
