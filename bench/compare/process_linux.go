package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the CPU time a process has used, user and system, with the
// clock that clock_getcpuclockid(3) names: nanoseconds, where /proc/<pid>/stat
// counts in hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// residentBytes returns the anonymous part of a process's resident set: file
// pages are the program's text and do not grow with connections.
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(field(status, "RssAnon"), 10, 64)
	return kib << 10, err
}

// machine describes the computer.
func machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	cpu := field(info, "model name")
	if cpu == "" {
		cpu = "unknown CPU"
	}
	return cpu + ", Linux " + strings.TrimSpace(string(release))
}

// field returns what follows "name:" in text, without the unit kB.
func field(text []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(strings.TrimSuffix(value, "kB"))
		}
	}
	return ""
}
