package parser

import (
	"reflect"
	"testing"
)

func TestTextParserWritesWhatItReads(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Packet{
		"2/chat,7[\"a\",1]":    {Type: Event, Namespace: "/chat", ID: 7, HasID: true, Data: []byte(`["a",1]`)},
		"1":                    {Type: Disconnect, Namespace: "/"},
		`4{"message":"m"}`:     {Type: ConnectError, Namespace: "/", Data: []byte(`{"message":"m"}`)},
		`61-3[` + holder + `]`: {Type: Ack, Namespace: "/", ID: 3, HasID: true, Owned: true, Data: []byte(`[` + holder + `]`), Attachments: []Attachment{{At: 1, Data: []byte("x")}}},
	} {
		m, err := Text().Encode(&p)
		if err != nil || string(m.Text) != name || len(m.Binary) != len(p.Attachments) {
			t.Fatalf("%s: got %+v, %v", name, m, err)
		}
		d := Text().NewDecoder(nil)
		got, done, err := d.Text(m.Text)
		for _, b := range m.Binary {
			if done || err != nil {
				t.Fatalf("%s: complete %v, %v before its attachments", name, done, err)
			}
			got, done, err = d.Binary(b)
		}
		if !done || err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %+v, complete %v, %v", name, got, done, err)
		}
	}
}

const holder = `{"_placeholder":true,"num":0}`

func TestTextDecoderKeepsItsLimits(t *testing.T) {
	t.Parallel()
	d := Text().NewDecoder(&Limits{MaxTokens: 3})
	if _, _, err := d.Text([]byte(`2["a",1,2]`)); err == nil {
		t.Error("4 tokens of 3 were accepted")
	}
}
