# Socketfleet. `make test` is everything a change must pass; see README.md.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0
TESTTIMEOUT ?= 15m
FUZZTIME    ?= 30s
SOAK        ?= 5m
CHAOS       ?= 2m
BENCHFLAGS  ?=

# Every module of the repository: the root one and the nested ones, which keep
# heavy dependencies out of it.
MODULES := $(sort $(dir $(shell find . -name node_modules -prune -o -name go.mod -print)))

.PHONY: test bootstrap fmt fmt-check vet lint importrules test-go readme client conformance \
	conformance-all conformance-cluster e2e test-docker bench bench-go fuzz vuln soak chaos clean

# One recipe after the other, whatever -j says: they all want the same cores.
.NOTPARALLEL:

test: bootstrap fmt-check vet lint importrules test-go readme client conformance

# Installs or names what the tests need besides Go.
bootstrap:
	@scripts/bootstrap

fmt:
	gofmt -l -w $$(scripts/go-files)

fmt-check:
	@files=$$(gofmt -l $$(scripts/go-files)) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted (make fmt):"; echo "$$files"; exit 1; fi

vet:
	@set -e; for m in $(MODULES); do echo "vet $$m"; (cd $$m && $(GO) vet ./...); done

lint:
	@set -e; for m in $(MODULES); do echo "staticcheck $$m"; \
		(cd $$m && $(GO) run $(STATICCHECK) ./...); done

importrules:
	$(GO) test -count=1 ./internal/importrules/

test-go:
	@set -e; for m in $(MODULES); do echo "go test -race $$m"; \
		GO=$(GO) scripts/go-test $$m -timeout $(TESTTIMEOUT); done

# The programs and commands that README.md and docs/ show.
readme:
	@scripts/readme-check README.md docs/*.md

# The browser client: types, size, whether client/dist is what client/src gives, tests.
client:
	@scripts/client

# The official JavaScript clients, and clusters of Go and Node.js servers.
conformance:
	@scripts/conformance

# The official Java and Python clients.
conformance-all:
	@scripts/conformance-all

# Clusters of three processes, Go, Node.js and both, over every wire.
conformance-cluster:
	@scripts/conformance-cluster

# A rolling restart under traffic, and fleets behind real load balancers, with the
# files of examples/deploy.
e2e:
	@scripts/e2e

# The image, docker-compose.yml and Redis in a container; fails where no engine answers.
test-docker:
	@scripts/docker-test

# Socketfleet, socket.io on Node.js and a bare gorilla server under the same load.
bench:
	@scripts/bench $(BENCHFLAGS)

# The Go benchmarks of every package.
bench-go:
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz:
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

# Known vulnerabilities in what every module calls.
vuln:
	@GOVULNCHECK=$(GOVULNCHECK) scripts/vuln $(MODULES)

# A server under misbehaving clients for SOAK; fails unless it gives everything back.
soak:
	SOAK=$(SOAK) $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./soak/

# A cluster of processes under faults for CHAOS; fails when a message is lost without
# word, comes twice or out of order. SEED, MODE (classic, sharded, streams, all) and
# TOPOLOGY (single, sentinel, cluster, all) choose.
chaos:
	CHAOS=$(CHAOS) SEED=$(SEED) MODE=$(MODE) TOPOLOGY=$(TOPOLOGY) \
		$(GO) test -count=1 -timeout 0 -v -run '^TestChaos$$' ./chaos/

clean:
	rm -rf bin bench/node_modules client/node_modules conformance/node_modules
	$(GO) clean -fuzzcache
