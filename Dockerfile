# One node of a fleet: examples/deploy/node, a static binary and nothing else. Its
# configuration is the environment; see docs/deploy.md and docker-compose.yml.
#
#	docker build -t socketfleet-node .
#
# Both images it is built from can be replaced, by a mirror or by local ones.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=scratch

FROM ${GO_IMAGE} AS build
# The program to build: any main package of this module.
ARG PACKAGE=./examples/deploy/node
# Empty: what Go takes by itself.
ARG GOPROXY=
ENV CGO_ENABLED=0 GOPROXY=${GOPROXY} GOFLAGS=-buildvcs=false
WORKDIR /src
COPY . .
RUN go build -trimpath -ldflags="-s -w" -o /out/node ${PACKAGE}

FROM ${BASE_IMAGE}
# For Redis over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/node /node
USER 65532:65532
# Clients and other nodes; probes.
EXPOSE 3000 3001
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s CMD ["/node", "-health"]
# Docker sends SIGTERM, on which the node drains; give it the time with
# stop_grace_period or docker stop -t.
ENTRYPOINT ["/node"]
