//go:build !linux

package main

import (
	"errors"
	"runtime"
	"time"
)

var errLinux = errors.New("measuring another process's CPU time and memory is implemented for Linux only")

func cpuTime(int) (time.Duration, error) { return 0, errLinux }

func residentBytes(int) (int64, error) { return 0, errLinux }

func machine() string { return runtime.GOOS + "/" + runtime.GOARCH }
