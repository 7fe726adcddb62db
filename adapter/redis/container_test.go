//go:build docker

package redis

import _ "github.com/socketfleet/socketfleet/internal/testutil/container"
