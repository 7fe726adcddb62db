package server

import (
	"encoding/base64"
	"encoding/json"
)

// Binary values travel in the JSON of the control endpoint as {"$bin":"<base64>"}.

// decodeValue replaces such objects in v by the bytes they stand for.
func decodeValue(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = decodeValue(v[i])
		}
	case map[string]any:
		if text, ok := v["$bin"].(string); ok {
			if data, err := base64.StdEncoding.DecodeString(text); err == nil {
				return data
			}
		}
		for k := range v {
			v[k] = decodeValue(v[k])
		}
	}
	return v
}

// encodeValue is the inverse of decodeValue. Values that are no plain JSON tree
// are left to encoding/json.
func encodeValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]string{"$bin": base64.StdEncoding.EncodeToString(v)}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = encodeValue(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = encodeValue(v[k])
		}
		return out
	}
	return v
}

// binValue is any value, decoded with decodeValue.
type binValue struct{ v any }

func (b *binValue) UnmarshalJSON(text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	b.v = decodeValue(v)
	return nil
}

func values(list []binValue) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].v
	}
	return out
}
