// Processes that serve no sockets, of either implementation, behind one function:
// ctl(op, fields), with the operations of the control endpoint. Closed with close().
import { Emitter } from "@socket.io/redis-emitter";
import { ctl } from "./ctl.mjs";
import { startServer } from "./process.mjs";
import { StreamsEmitter } from "./streams-emitter.mjs";

// goEmitter is the one of package emitter.
export async function goEmitter(cluster, adapter) {
  const server = await startServer("go", "emitter", { ...cluster.config, adapter });
  return {
    ctl: (op, fields) => ctl(server, op, { nsp: cluster.nsp, ...fields }),
    close: () => server.kill(),
  };
}

// nodeEmitter is the published emitter for an adapter; null when there is none.
export async function nodeEmitter(cluster, adapter) {
  const emitter = await libraryFor(cluster, adapter);
  return emitter && {
    ctl: async (op, fields = {}) => { await perform(emitter, op, fields); },
    close: async () => {},
  };
}

async function libraryFor(cluster, adapter) {
  if (adapter.startsWith("redis")) return new Emitter(cluster.redis, { key: cluster.key }).of(cluster.nsp);
  if (adapter !== "streams") return null;
  const published = await import("@socket.io/redis-streams-emitter").catch(() => null);
  const Streams = published?.Emitter ?? StreamsEmitter;
  return new Streams(cluster.redis, { streamName: cluster.key }, cluster.nsp);
}

async function perform(emitter, op, { event, args = [], to = [], except = [], volatile, compress, rooms, close }) {
  let target = emitter;
  if (to.length) target = target.to(to);
  if (except.length) target = target.except(except);
  if (volatile) target = target.volatile;
  if (compress !== undefined) target = target.compress(compress);
  switch (op) {
    case "emit": await target.emit(event, ...args); break;
    case "socketsJoin": await target.socketsJoin(rooms); break;
    case "socketsLeave": await target.socketsLeave(rooms); break;
    case "disconnectSockets": await target.disconnectSockets(close); break;
    case "serverSideEmit": await emitter.serverSideEmit(event, ...args); break;
    default: throw new Error(`no operation ${op}`);
  }
}
