module github.com/socketfleet/socketfleet/admin

go 1.26.0

replace github.com/socketfleet/socketfleet => ../

require (
	github.com/redis/go-redis/v9 v9.23.0
	github.com/socketfleet/socketfleet v0.0.0-00010101000000-000000000000
	go.uber.org/goleak v1.3.0
	golang.org/x/crypto v0.58.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/gorilla/websocket v1.5.3 // indirect
	github.com/philhofer/fwd v1.2.0 // indirect
	github.com/tinylib/msgp v1.6.5 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
