package parser

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
)

// reflect appends v, a value whose type can hold binary.
func (e *encoder) reflect(v reflect.Value) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer func() { e.depth-- }()
	t := v.Type()
	switch {
	case !encodesBinary(t):
		return e.opaque(v)
	case isBytes(t):
		return e.binary(v.Bytes())
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return e.value(nil)
		}
		if t.Kind() == reflect.Interface {
			return e.value(v.Elem().Interface())
		}
		return e.reflect(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return e.value(nil)
		}
		return e.elements(v)
	case reflect.Array:
		return e.elements(v)
	case reflect.Map:
		return e.mapping(v)
	case reflect.Struct:
		return e.structure(v)
	}
	return e.opaque(v)
}

// opaque leaves v to the JSON encoder, by address where it has one, because
// that is when encoding/json uses methods of the pointer.
func (e *encoder) opaque(v reflect.Value) error {
	if !v.CanInterface() { // an embedded struct of an unexported type, under a name
		return e.hidden(v)
	}
	if v.CanAddr() && v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
		return e.marshal(v.Addr().Interface())
	}
	return e.value(v.Interface())
}

func (e *encoder) hidden(v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return e.value(nil)
		}
		v = v.Elem()
	}
	return e.structure(v)
}

func (e *encoder) elements(v reflect.Value) error {
	e.dst = append(e.dst, '[')
	for i := range v.Len() {
		if i > 0 {
			e.dst = append(e.dst, ',')
		}
		if err := e.reflect(v.Index(i)); err != nil {
			return err
		}
	}
	e.dst = append(e.dst, ']')
	return nil
}

func (e *encoder) mapping(v reflect.Value) error {
	if v.IsNil() {
		return e.value(nil)
	}
	type entry struct {
		key string
		val reflect.Value
	}
	entries := make([]entry, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := keyText(it.Key())
		if err != nil {
			return err
		}
		entries = append(entries, entry{key, it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	sep := byte('{')
	for _, en := range entries {
		e.dst = AppendString(append(e.dst, sep), en.key)
		e.dst = append(e.dst, ':')
		if err := e.reflect(en.val); err != nil {
			return err
		}
		sep = ','
	}
	e.dst = closeObject(e.dst, sep)
	return nil
}

// keyText returns the member name encoding/json makes of a map key.
func keyText(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		b, err := m.MarshalText()
		if err != nil {
			return "", fmt.Errorf("parser: encode map key: %w", err)
		}
		return string(b), nil
	}
	switch {
	case k.CanInt():
		return strconv.FormatInt(k.Int(), 10), nil
	case k.CanUint():
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", fmt.Errorf("parser: map key of type %s has no JSON form", k.Type())
}

func (e *encoder) structure(v reflect.Value) error {
	sep := byte('{')
	for _, f := range fieldsOf(v.Type()) {
		fv, ok := fieldByIndex(v, f.index)
		if !ok || f.omitEmpty && isEmpty(fv) || f.omitZero && isZero(fv) {
			continue
		}
		e.dst = append(append(e.dst, sep), f.key...)
		if err := e.member(fv, f.quoted); err != nil {
			return err
		}
		sep = ','
	}
	e.dst = closeObject(e.dst, sep)
	return nil
}

// member appends the value of a struct field. quoted is the string option.
func (e *encoder) member(v reflect.Value, quoted bool) error {
	from := len(e.dst)
	if err := e.reflect(v); err != nil {
		return err
	}
	isNull := v.Kind() == reflect.Pointer && v.IsNil()
	if !quoted || isNull || encodesItself(v.Type()) {
		return nil
	}
	text := string(e.dst[from:])
	e.dst = AppendString(e.dst[:from], text)
	return nil
}

// fieldByIndex follows index from v; false when it meets a nil pointer.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, bool) {
	for i, n := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v, true
}

// isEmpty is encoding/json's omitempty.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// isZero is encoding/json's omitzero.
func isZero(v reflect.Value) bool {
	type zeroer interface{ IsZero() bool }
	nilable := v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface
	if nilable && v.IsNil() {
		return true
	}
	if !v.CanInterface() {
		return v.IsZero()
	}
	if z, ok := v.Interface().(zeroer); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := v.Addr().Interface().(zeroer); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}
