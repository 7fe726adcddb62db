// Nodes of any implementation on one Redis, each with two real clients.
import assert from "node:assert/strict";
import { createClient } from "redis";
import msgpackParser from "socket.io-msgpack-parser";
import { connect, inbox } from "./client.mjs";
import { ctl } from "./ctl.mjs";
import { natsURL } from "./nats.mjs";
import { isNATS, startServer } from "./process.mjs";
import { until } from "./wait.mjs";

export const REQUESTS_TIMEOUT = 1500;
// Go nodes send many heartbeats here, to show that Node.js nodes do not mind.
const HEARTBEAT = 100;
let clusters = 0;
let unique = 0;

// fresh returns a name nothing else uses.
export const fresh = (label) => `${label}-${++unique}`;

// withoutOffset returns an event of a server with recovery as it was emitted.
function withoutOffset(event) {
  return /^(\d+-\d+|[0-9a-z]+-\d+-[0-9a-z]+)$/.test(event.at(-1)) ? event.slice(0, -1) : event;
}

export class Cluster {
  // start runs one node per entry of mix ("go" or "node") and connects the clients.
  // adapter is one for all nodes, or several joined by "+" that take turns. extra
  // is added to the configuration of every node; clients speak its parser.
  static async start(mix, adapter, redis, nsp, extra = {}) {
    const key = `conformance-${process.pid}-${++clusters}`;
    const config = { redis: redis.url, key, requestsTimeout: REQUESTS_TIMEOUT, heartbeat: HEARTBEAT, ...extra };
    if (isNATS(adapter)) config.nats = await natsURL();
    const cluster = new Cluster();
    Object.assign(cluster, { adapter, key, nsp, config, classic: adapter.startsWith("redis"), nodes: [], clients: [] });
    cluster.redis = await createClient({ url: redis.url }).on("error", () => {}).connect();
    try {
      const started = await Promise.allSettled(mix.map((impl, i) => cluster.#startNode(impl, i)));
      const failed = started.find((result) => result.status === "rejected");
      if (failed) throw failed.reason;
      cluster.nodes.sort((a, b) => a.index - b.index);
      await cluster.settled();
      for (const node of cluster.nodes) {
        node.clients = [await cluster.dial(node), await cluster.dial(node)];
        cluster.clients.push(...node.clients);
      }
    } catch (err) {
      await cluster.stop();
      throw err;
    }
    return cluster;
  }

  async #startNode(impl, index) {
    const name = "ABCDEF"[index];
    const adapters = this.adapter.split("+");
    const config = { ...this.config, name, adapter: adapters[index % adapters.length] };
    const node = await startServer(impl, "node", config);
    this.nodes.push(Object.assign(node, { name, index }));
    const info = await ctl(node, "info");
    assert.deepEqual([info.impl, info.name, info.adapter], [impl, name, config.adapter]);
  }

  // settled waits until every node counts every other. A node that cannot reach
  // Redis yet may say so.
  async settled(nsp = this.nsp) {
    for (const node of this.nodes) {
      const count = () => ctl(node, "serverCount", { nsp }).catch(() => 0);
      await until(async () => (await count()) === this.nodes.length,
        `${node.name} to count ${this.nodes.length} nodes in ${nsp}`, 30_000);
    }
  }

  // dial connects a client that answers "ask" with its name, unless it is silent.
  async dial(node, nsp = this.nsp, opts = {}) {
    const parser = this.config.parser === "msgpack" ? { parser: msgpackParser } : {};
    const socket = await connect(node.url, nsp, { transports: ["websocket"], ...parser, ...opts });
    const client = { node, socket, nsp, id: socket.id, name: fresh(node.name), box: inbox(socket), silent: false };
    socket.on("ask", (...args) => {
      const ack = args.pop();
      if (!client.silent && typeof ack === "function") ack(args.length ? args[0] : client.name);
    });
    return client;
  }

  ctl(node, op, fields) {
    return ctl(node, op, { nsp: this.nsp, ...fields });
  }

  // room joins clients to a new room and returns its name.
  async room(...clients) {
    const room = fresh("room");
    await this.join(room, ...clients);
    return room;
  }

  async join(room, ...clients) {
    for (const client of clients) await this.ctl(client.node, "join", { id: client.id, rooms: [room] });
    // Adapters that subscribe per room hear it a moment after the join.
    if (!this.adapter.startsWith("sharded-dynamic") && this.adapter !== "nats") return;
    for (const node of this.nodes) {
      await until(async () => {
        const probe = fresh("probe");
        await this.ctl(node, "emit", { event: probe, to: [room] });
        return until(() => clients.every((c) => c.box.some(([e]) => e === probe)), probe, 100).catch(() => false);
      }, `the subscription to ${room}`);
    }
    for (const client of this.clients) client.box.length = 0;
  }

  // seen returns what each client got of the node's emits so far: the node emits a
  // marker after them, and everything arrives in the order of the emits.
  async seen(node, clients = this.clients) {
    return this.seenAfter((marker) => this.ctl(node, "emit", { event: marker }), clients);
  }

  async seenAfter(emit, clients = this.clients) {
    const marker = fresh("marker");
    await emit(marker);
    await until(() => clients.every(({ box }) => box.some(([event]) => event === marker)), `${marker} everywhere`);
    const plain = this.config.csr ? withoutOffset : (event) => event;
    return clients.map(({ box }) => box.splice(0).filter(([event]) => !event.startsWith("marker-")).map(plain));
  }

  async stop() {
    await Promise.allSettled(this.nodes.map((node) => node.kill()));
    await this.redis.close();
  }
}
