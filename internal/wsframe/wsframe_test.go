package wsframe

import (
	"bytes"
	"encoding/hex"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		op   byte
		n    int
		want string
	}{
		{Text, 0, "8100"},
		{Text, 125, "817d"},
		{Text, 126, "817e007e"},
		{Binary, 65535, "827effff"},
		{Binary, 65536, "827f0000000000010000"},
		{Pong, 5, "8a05"},
	} {
		got := hex.EncodeToString(AppendHeader(nil, tc.op, tc.n))
		if got != tc.want {
			t.Errorf("header of %d bytes = %s, want %s", tc.n, got, tc.want)
		}
		if HeaderSize(tc.n) != len(tc.want)/2 {
			t.Errorf("HeaderSize(%d) = %d", tc.n, HeaderSize(tc.n))
		}
	}
}

func TestPutWritesTheFrameInPlace(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte{'x'}, n)
		buf := append(make([]byte, MaxHeader), payload...)
		start := Put(buf, Text)
		if want := Append(nil, Text, payload); !bytes.Equal(buf[start:], want) {
			t.Errorf("Put of %d bytes differs from Append", n)
		}
	}
}

func TestAppendClose(t *testing.T) {
	t.Parallel()
	if got := AppendClose(nil, 0); !bytes.Equal(got, []byte{0x88, 0}) {
		t.Errorf("without code: %x", got)
	}
	if got := AppendClose(nil, CodeTooBig); !bytes.Equal(got, []byte{0x88, 2, 0x03, 0xf1}) {
		t.Errorf("1009: %x", got)
	}
}

func BenchmarkPut(b *testing.B) {
	buf := make([]byte, MaxHeader+200)
	b.ReportAllocs()
	for b.Loop() {
		Put(buf, Text)
	}
}
