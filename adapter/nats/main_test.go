package nats

import (
	"crypto/rand"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPrefix returns a prefix no other test has.
func newPrefix() string { return "test." + rand.Text()[:10] }
