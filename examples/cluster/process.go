package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// startTimeout bounds the start of a node's process.
const startTimeout = 10 * time.Second

// node is a node's process, as its parent sees it.
type node struct {
	name string
	env  []string

	mu    sync.Mutex // guards the following
	addr  string     // empty while the process does not run
	child *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the process has ended
}

func newNode(name, adapterURL, secret string) *node {
	return &node{name: name, env: append(os.Environ(), envName+"="+name, envAdapter+"="+adapterURL, envSecret+"="+secret)}
}

// address returns where the node listens, and whether it runs.
func (n *node) address() (addr string, alive bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr, n.addr != ""
}

// start starts the process and returns when it listens.
func (n *node) start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self) // outlives ctx
	cmd.Env, cmd.Stderr = n.env, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		lines <- strings.TrimSpace(line)
		_ = cmd.Wait() // the reason does not matter: it is killed all the time
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case n.addr = <-lines:
		if n.addr == "" {
			<-ended
			return fmt.Errorf("%s did not start", n.name)
		}
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("start %s: %w", n.name, ctx.Err())
	}
	n.child, n.stdin, n.ended = cmd, stdin, ended
	go n.watch(ended)
	return nil
}

// watch notes the end of the process, whoever caused it.
func (n *node) watch(ended <-chan struct{}) {
	<-ended
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr = ""
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	n.mu.Lock()
	child, ended := n.child, n.ended
	n.mu.Unlock()
	if child != nil {
		_ = child.Process.Kill()
		<-ended
	}
}

// stop asks the process to end in order.
func (n *node) stop() {
	n.mu.Lock()
	stdin, ended := n.stdin, n.ended
	n.mu.Unlock()
	if stdin == nil {
		return
	}
	_ = stdin.Close()
	select {
	case <-ended:
	case <-time.After(startTimeout):
		n.kill()
	}
}

// stats asks the node what it handed on.
func (n *node) stats(ctx context.Context) (s stats, err error) {
	addr, alive := n.address()
	if !alive {
		return s, errors.New(n.name + " is down")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/stats", nil)
	if err != nil {
		return s, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}
