package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	servers  []string
	clients  int
	idle     int
	parallel int
	payload  int
	rounds   int
	burst    int
	rate     float64
	echoRate float64
	seconds  float64
	timeout  time.Duration
	out      string
	profile  string
	wrap     []string
}

var known = []string{subject, reference, "baseline"}

func parseFlags(args []string) (config, error) {
	var cfg config
	var servers, wrap string
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.StringVar(&servers, "servers", strings.Join(known, ","), "which servers, in which `order`")
	fs.IntVar(&cfg.clients, "clients", 1000, "clients of the loads")
	fs.IntVar(&cfg.idle, "idle", 3000, "idle connections of the memory scenario")
	fs.IntVar(&cfg.parallel, "parallel", 32, "connections being set up at a time")
	fs.IntVar(&cfg.payload, "payload", 64, "size of an event's string argument, in bytes, at most 2048")
	fs.IntVar(&cfg.rounds, "rounds", 3, "how often each server is measured")
	fs.IntVar(&cfg.burst, "burst", 8, "events at a time where the load comes in bursts")
	fs.Float64Var(&cfg.rate, "rate", 25, "broadcasts per second where the load is paced; keep it low enough for no server to be busy all the time")
	fs.Float64Var(&cfg.echoRate, "echo-rate", 4000, "acknowledged events per second, of all clients")
	fs.Float64Var(&cfg.seconds, "seconds", 1.5, "length of each paced load")
	fs.DurationVar(&cfg.timeout, "timeout", 10*time.Minute, "bounds the whole run")
	fs.StringVar(&cfg.out, "out", "", "also write the report to this `file`")
	fs.StringVar(&cfg.profile, "profile", "", "let the Go servers write CPU profiles into this `directory`")
	fs.StringVar(&wrap, "wrap", "", "`command` that starts the servers, such as \"taskset -c 0\"")
	if err := fs.Parse(args); err != nil {
		return cfg, err
	}
	cfg.wrap = strings.Fields(wrap)
	cfg.servers = strings.Split(servers, ",")
	for _, name := range cfg.servers {
		if !slices.Contains(known, name) {
			return cfg, fmt.Errorf("unknown server %q, there are %q", name, known)
		}
	}
	if fs.NArg() > 0 || min(cfg.clients, cfg.idle, cfg.parallel, cfg.rounds, cfg.burst) < 1 || min(cfg.rate, cfg.echoRate, cfg.seconds) <= 0 {
		return cfg, errors.New("counts, rates and seconds must be positive, and there are no arguments")
	}
	return cfg, nil
}

func main() {
	log.SetFlags(0)
	cfg, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(cfg)
	}
	if err != nil {
		log.Fatal("compare: ", err)
	}
}

func run(cfg config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()

	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kinds, notes, err := prepare(ctx, dir, cfg)
	if err != nil {
		return err
	}
	for _, note := range notes {
		log.Printf("*** %s ***", note)
	}
	all, about, err := rounds(ctx, kinds, cfg)
	if err != nil {
		return err
	}
	var w io.Writer = os.Stdout
	if cfg.out != "" {
		f, err := os.Create(cfg.out)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(w, f)
	}
	return all.write(w, cfg, about, notes)
}

// rounds measures every server once per round. The order rotates, so that what
// changes on the machine over time does not favor one of them.
func rounds(ctx context.Context, kinds []kind, cfg config) (results, map[string]string, error) {
	all, about := results{}, map[string]string{}
	for round := range cfg.rounds {
		for i := range kinds {
			k := kinds[(i+round)%len(kinds)]
			began := time.Now()
			m, version, err := measureOne(ctx, k, cfg)
			if err != nil {
				return nil, nil, fmt.Errorf("%s, round %d: %w", k.name, round+1, err)
			}
			all[k.name] = append(all[k.name], m)
			about[k.name] = version
			log.Printf("round %d of %d: %s, %.1f s", round+1, cfg.rounds, k.name, time.Since(began).Seconds())
		}
	}
	return all, about, nil
}

func measureOne(ctx context.Context, k kind, cfg config) (m sample, about string, err error) {
	s, err := start(ctx, k)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	m, err = measure(ctx, s, cfg)
	return m, s.about, err
}
