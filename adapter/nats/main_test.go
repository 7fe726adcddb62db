package nats

import (
	"crypto/rand"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if adapterURL := os.Getenv(nodeEnv); adapterURL != "" {
		if err := nodeChild(adapterURL); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// newPrefix returns a prefix no other test has.
func newPrefix() string { return "test." + rand.Text()[:10] }
