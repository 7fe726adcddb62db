// Real socket.io-client sockets that are closed at the end of each test.
// CONFORMANCE_CLIENT names another module with the same interface.
import { afterEach } from "node:test";
import { WebSocket } from "ws";
import { until, within } from "./wait.mjs";

globalThis.WebSocket ??= WebSocket; // Node.js has none before version 22
const { Manager, io, Transport } = await import(process.env.CONFORMANCE_CLIENT ?? "socket.io-client");

// A client made for browsers receives ArrayBuffers; the tests expect Node.js' own.
const receive = Transport?.prototype.onMessage;
if (receive) {
  Transport.prototype.onMessage = function (data) {
    receive.call(this, data instanceof ArrayBuffer ? Buffer.from(data) : data);
  };
}

export const transportsOf = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

const managers = new Set();

// closeClientsAfterEach must be called once by a test file that opens clients.
export function closeClientsAfterEach() {
  afterEach(() => closeClients());
}

export function closeClients() {
  for (const manager of managers) {
    manager.reconnection(false);
    manager._close();
  }
  managers.clear();
}

// open returns a socket that is still connecting, on a connection of its own.
export function open(url, nsp = "/", opts = {}) {
  const socket = io(url + nsp, { forceNew: true, reconnection: false, ...opts });
  managers.add(socket.io);
  return socket;
}

// connect returns a connected socket.
export async function connect(url, nsp, opts) {
  return connected(open(url, nsp, opts));
}

export async function connected(socket) {
  if (socket.connected) return socket;
  const outcome = new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("connect_error", reject);
  });
  return within(outcome, `${socket.nsp} to connect`);
}

// upgraded waits until the connection runs over websocket.
export function upgraded(socket) {
  return until(() => socket.io.engine.transport.name === "websocket", "the upgrade to websocket");
}

// manager returns a connection several namespaces can share.
export function manager(url, opts = {}) {
  const shared = new Manager(url, { reconnection: false, ...opts });
  managers.add(shared);
  return shared;
}

// inbox records every event a socket gets, as arrays [event, ...args] without
// the acknowledgement.
export function inbox(socket) {
  const events = [];
  socket.onAny((event, ...args) => {
    if (typeof args.at(-1) === "function") args.pop();
    events.push([event, ...args]);
  });
  return events;
}
