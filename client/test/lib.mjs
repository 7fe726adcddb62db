// The built client, and the servers it is tested with: this one and socket.io on
// Node.js, in mode "node" of conformance/node/server.mjs.
import { after, afterEach, before } from "node:test";
import { WebSocket } from "ws";
import { ctl } from "../../conformance/lib/ctl.mjs";
import { startProxy as start } from "../../conformance/lib/proxy.mjs";
import { startServer } from "../../conformance/lib/process.mjs";

globalThis.WebSocket ??= WebSocket; // Node.js has none before version 22
const client = await import("../dist/socket.io.esm.min.js");

export { once, pause, until, within } from "../../conformance/lib/wait.mjs";
export { ctl, startServer };
export const { Manager, Socket, Transport, Engine } = client;
export const io = client.default;
export { client };

export const implementations = ["go", "node"];
export const transportsOf = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

const managers = new Set();
const proxies = new Set();

/** A relay in front of a server, closed after the test. */
export async function startProxy(port) {
  const p = await start(port);
  proxies.add(p);
  return p;
}

/** Closes every connection that track has seen, after each test. */
export function closeAfterEach() {
  afterEach(() => {
    for (const m of managers) {
      m.reconnection(false);
      m.engine?.writeBuffer.splice(0); // a close would wait for it
      m.disconnect();
      m.engine?.transport?.emit("drain"); // as does one that has begun
    }
    managers.clear();
    for (const p of proxies) p.close();
    proxies.clear();
  });
}

export function track(socket) {
  managers.add(socket.io ?? socket);
  return socket;
}

/** A socket on a connection of its own, still connecting. */
export const open = (url, opts) => track(io(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...opts }));

/** Starts a server for the tests of a suite; its fields are there once they run. */
export function server(impl, config) {
  const s = {};
  before(async () => Object.assign(s, await startServer(impl, "node", config)));
  after(() => s.kill?.());
  return s;
}

/** A transport that nobody answers: sent is what it was given. */
export class Silent extends Transport {
  get name() {
    return "silent";
  }
  sent = [];
  doOpen() {
    this.onOpen();
    queueMicrotask(() => this.onMessage('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'));
  }
  doClose() {}
  write(list) {
    this.sent.push(...list);
  }
}
