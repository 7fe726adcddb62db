// Package container lets package testutil run Redis in a container. Test
// packages that use Redis import it for that effect alone, in a file with the build
// tag docker.
//
// # Concurrency
//
// The package has no state; testcontainers owns what it starts.
package container

import (
	"context"
	"os"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/socketfleet/socketfleet/internal/testutil"
)

func init() { testutil.Container = start }

const startTimeout = 2 * time.Minute

// RunEnv names the run a container belongs to, in its label of the same name, so that
// whoever started the run can remove what is left where there is no reaper.
const RunEnv = "SOCKETIO_TEST_RUN"

func start(ctx context.Context, image string) (string, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        image,
			Cmd:          []string{"redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"},
			Labels:       map[string]string{RunEnv: os.Getenv(RunEnv)},
			ExposedPorts: []string{"6379/tcp"},
			WaitingFor:   wait.ForLog("Ready to accept connections"),
		},
	})
	if err != nil {
		return "", nil, err
	}
	stop := func() { _ = testcontainers.TerminateContainer(c) }
	addr, err := c.PortEndpoint(ctx, "6379/tcp", "redis")
	if err != nil {
		stop()
		return "", nil, err
	}
	return addr, stop, nil
}
