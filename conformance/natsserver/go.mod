module github.com/socketfleet/socketfleet/conformance/natsserver

go 1.26.0

replace (
	github.com/socketfleet/socketfleet => ../../
	github.com/socketfleet/socketfleet/adapter/nats => ../../adapter/nats
)

require (
	github.com/socketfleet/socketfleet v0.0.0-00010101000000-000000000000
	github.com/socketfleet/socketfleet/adapter/nats v0.0.0-00010101000000-000000000000
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/philhofer/fwd v1.2.0 // indirect
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/tinylib/msgp v1.6.5 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
