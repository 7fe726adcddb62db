package prometheus

import prom "github.com/prometheus/client_golang/prometheus"

// metrics are the descriptions of what a scrape reads from counters.
type metrics struct {
	build *prom.Desc

	sessions, opened, closed, handshakeErrors, originsRefused *prom.Desc
	handshakes, upgrades, pingRTT, packets, bytes, inFlight   *prom.Desc
	pongs                                                     *prom.Desc

	nsp, acks, ackTimeouts, unknownAcks, queued             *prom.Desc
	volatile, conflated, slow, limits, recoveries           *prom.Desc
	protocolErrors, badArguments, connectTimeouts, overflow *prom.Desc
	highQueues, recovered                                   *prom.Desc
	draining, drainRemaining                                *prom.Desc

	sockets, rooms, connects, connectErrors, disconnects *prom.Desc
	handlerErrors, panics, sent, broadcasts, recipients  *prom.Desc

	up, reconnects, backendReceived, dropped, published, publishErrors *prom.Desc
	batch, publishDuration, queueBytes, queueMessages, received        *prom.Desc
	duplicates, gaps, missing, late, pending                           *prom.Desc
	nodes, nodesLost, twins                                            *prom.Desc
	lag, early, roundTrip, subscriptions, inbound, inboundMax          *prom.Desc

	forwarded, forwardFailures, forwardDuration, forwardInFlight *prom.Desc
	tunnels, hops, hopsRefused, lookups, lookupErrors, leases    *prom.Desc
}

func newMetrics(desc func(name, help string, labels ...string) *prom.Desc) metrics {
	return metrics{
		build: desc("build_info", "The version of the server, always 1.", "version", "go_version"),

		sessions:        desc("engine_sessions", "Open connections.", "transport"),
		opened:          desc("engine_sessions_opened_total", "Connections by the transport they began on.", "transport"),
		closed:          desc("engine_sessions_closed_total", "Connections that have ended, by the transport they ended on.", "transport", "reason"),
		handshakeErrors: desc("engine_handshake_errors_total", "Requests refused, by Engine.IO error code, and with code \"overload\" those answered 503.", "code"),
		originsRefused:  desc("engine_origins_refused_total", "Requests refused because of their origin, which are among those with error code 4."),
		handshakes:      desc("engine_handshake_duration_seconds", "Time from the request to the answer, of handshakes that succeeded.", "transport"),
		upgrades:        desc("engine_upgrades_total", "Upgrades of the transport.", "result"),
		pingRTT:         desc("engine_ping_rtt_seconds", "Time from a ping, which waits behind what is queued, to its pong."),
		packets:         desc("engine_packets_total", "Engine.IO packets; invalid are those of clients that are none.", "direction", "transport", "type"),
		bytes:           desc("engine_bytes_total", "Bytes of Engine.IO packets.", "direction", "transport"),
		inFlight:        desc("engine_requests_in_flight", "Requests of HTTP polling under way.", "kind"),
		pongs:           desc("engine_unsolicited_pongs_total", "Pongs nobody asked for."),

		nsp:             desc("namespaces", "Namespaces of this node."),
		acks:            desc("acks_outstanding", "Acknowledgements that clients owe."),
		ackTimeouts:     desc("ack_timeouts_total", "Waits for acknowledgements that took too long."),
		unknownAcks:     desc("unknown_acks_total", "Acknowledgements nobody waited for."),
		queued:          desc("send_buffer_bytes", "Bytes queued for all clients; each queue counts a message that many share."),
		highQueues:      desc("send_buffer_high_watermark_sockets", "Connections with more queued than Options.HighWaterBytes."),
		volatile:        desc("volatile_dropped_total", "Volatile events dropped because the client was not ready.", "cause"),
		conflated:       desc("conflated_total", "Queued events that a newer one with their key replaced."),
		slow:            desc("slow_consumer_disconnects_total", "Clients disconnected because they fell behind.", "cause"),
		limits:          desc("limit_rejections_total", "How often a limit was reached.", "limit"),
		recoveries:      desc("recoveries_total", "Clients that wanted to resume their session, by how that ended.", "result"),
		recovered:       desc("recovered_packets", "Packets that clients which resumed their session had missed."),
		protocolErrors:  desc("protocol_errors_total", "Connections closed for a bad packet."),
		badArguments:    desc("bad_arguments_total", "Events whose arguments did not fit their handler."),
		connectTimeouts: desc("connect_timeouts_total", "Connections that joined no namespace in time."),
		overflow:        desc("inbound_overflows_total", "Clients disconnected because they sent faster than they were served."),
		draining:        desc("draining", "1 once Drain, Shutdown or Close has been called."),
		drainRemaining:  desc("drain_remaining_sessions", "Connections that are still to be closed while draining."),

		sockets:       desc("sockets", "Connected sockets of this node.", "namespace"),
		rooms:         desc("rooms", "Rooms with a socket of this node, without those of one socket's id.", "namespace"),
		connects:      desc("connects_total", "Sockets accepted.", "namespace"),
		connectErrors: desc("connect_errors_total", "Sockets refused.", "namespace", "reason"),
		disconnects:   desc("disconnects_total", "Sockets that have disconnected.", "namespace", "reason"),
		handlerErrors: desc("handler_errors_total", "Errors returned by handlers.", "namespace"),
		panics:        desc("handler_panics_total", "Panics of handlers.", "namespace"),
		sent:          desc("events_sent_total", "Emits to one socket of this node.", "namespace"),
		broadcasts:    desc("broadcasts_total", "All other emits.", "namespace", "scope"),
		recipients:    desc("broadcast_recipients", "Sockets of this node a broadcast was queued for, whichever node it came from.", "namespace"),

		up:              desc("adapter_up", "1 while the adapter's connection works.", "adapter"),
		reconnects:      desc("adapter_reconnects_total", "Connections lost, subscriptions made again and own probes that did not come back.", "adapter", "cause"),
		backendReceived: desc("adapter_backend_received_total", "Messages the backend sent here, also those for nobody here.", "adapter"),
		dropped:         desc("adapter_dropped_total", "Messages lost on this node: received faster than they were handled (inbound), given up during an outage or for space (outbound), not queued (refused), answers (replies).", "adapter", "cause"),
		published:       desc("adapter_publishes_total", "Messages the backend took.", "adapter", "kind"),
		publishErrors:   desc("adapter_publish_errors_total", "Attempts to publish that failed.", "adapter", "cause"),
		batch:           desc("adapter_publish_batch_size", "Messages published at a time.", "adapter"),
		publishDuration: desc("adapter_publish_duration_seconds", "Time the backend took for a batch.", "adapter"),
		queueBytes:      desc("adapter_outbound_queue_bytes", "Estimated bytes waiting to be published.", "adapter"),
		queueMessages:   desc("adapter_outbound_queue_messages", "Messages waiting to be published.", "adapter"),
		received:        desc("adapter_received_total", "Messages of other nodes that were handled.", "adapter", "kind"),
		duplicates:      desc("adapter_duplicates_total", "Messages dropped because they had come before.", "adapter"),
		gaps:            desc("adapter_gaps_total", "Times in which messages of other nodes may have been missed.", "adapter", "kind"),
		missing:         desc("adapter_missing_messages_total", "Numbered messages of other nodes that did not come.", "adapter"),
		late:            desc("adapter_late_answers_total", "Answers to requests that had ended.", "adapter"),
		pending:         desc("adapter_requests_pending", "Requests that wait for answers of other nodes.", "adapter"),
		lag:             desc("adapter_lag_seconds", "Time from an emit on another node to its handling here, by the clocks of the two.", "adapter"),
		early:           desc("adapter_early_messages_total", "Messages handled before they were sent, by the clocks of the two nodes, which are apart.", "adapter"),
		roundTrip:       desc("adapter_roundtrip_seconds", "Time a probe of this node takes through the backend and back.", "adapter"),
		subscriptions:   desc("adapter_subscriptions", "Channels, patterns and streams this node listens to.", "adapter"),
		inbound:         desc("adapter_inbound_queue_messages", "Received messages that wait to be handled.", "adapter", "worker"),
		inboundMax:      desc("adapter_inbound_queue_capacity_messages", "How many may wait.", "adapter", "worker"),
		nodes:           desc("cluster_nodes", "Nodes known to be there, this one included. Node.js peers are not seen."),
		nodesLost:       desc("cluster_nodes_lost_total", "Nodes that fell silent without a goodbye."),
		twins:           desc("cluster_twins_total", "Messages that show another node with an id of this one."),

		forwarded:       desc("cluster_forwarded_total", "Requests that the owner of their connection answered.", "kind"),
		forwardFailures: desc("cluster_forward_failures_total", "Requests that could not be forwarded.", "reason"),
		forwardDuration: desc("cluster_forward_duration_seconds", "Time until the owner had answered; a poll waits for something to answer with.", "kind"),
		forwardInFlight: desc("cluster_forwards_in_flight", "Requests being forwarded, without tunnels."),
		tunnels:         desc("cluster_tunnels", "WebSockets of other nodes that pass through this one."),
		hops:            desc("cluster_hops_accepted_total", "Requests that other nodes forwarded to this one."),
		hopsRefused:     desc("cluster_hops_refused_total", "Forwarded requests that were not accepted.", "reason"),
		lookups:         desc("cluster_registry_lookups_total", "Look-ups in the registry of nodes."),
		lookupErrors:    desc("cluster_registry_errors_total", "Look-ups that the registry did not answer."),
		leases:          desc("cluster_lease_failures_total", "Attempts to renew this node's lease that failed."),
	}
}
