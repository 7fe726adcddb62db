module github.com/socketfleet/socketfleet/webtransport

go 1.26.0

replace github.com/socketfleet/socketfleet => ../
