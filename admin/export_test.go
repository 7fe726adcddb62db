package admin

import "errors"

// The password of the tests and its hash.
const (
	TestPassword = "a password"
	TestHash     = "$2a$10$QnbQvcIO7Jaoqimskz2.oOa9KeN.N4qWCvochtML9YADKT6Q40lja"
)

// The race detector makes bcrypt take seconds, so that the tests have a stand-in,
// which knows one password. A test of its own checks the real one.
func init() {
	compareHash = func(hash, password []byte) error {
		if string(hash) != TestHash || string(password) != TestPassword {
			return errors.New("no match")
		}
		return nil
	}
}

// RealCompare is what compareHash is outside of tests: package variables are set
// before any init runs.
var RealCompare = compareHash
