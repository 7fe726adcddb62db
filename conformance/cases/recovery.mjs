// Rows of the interoperation table about connection state recovery: the client
// loses a node and is recovered by another one. It comes through a relay, as
// through a load balancer. Every row has a cluster of its own.
import assert from "node:assert/strict";
import { connect, inbox } from "../lib/client.mjs";
import { fresh } from "../lib/cluster.mjs";
import { storedSession } from "../lib/nats.mjs";
import { startProxy } from "../lib/proxy.mjs";
import { once, until } from "../lib/wait.mjs";

const bytes = Buffer.from([0, 1, 127, 128, 255]);
const reconnecting = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0 };

// Every event that can be missed carries its place in the stream behind its arguments.
function withoutOffset([event, ...args]) {
  assert.match(String(args.at(-1)), /^(\d+-\d+|[0-9a-z]+-\d+-[0-9a-z]+)$/, `the offset of ${event}`);
  return [event, ...args.slice(0, -1)];
}

const idsOn = async (cluster, node) => (await cluster.ctl(node, "sockets")).map((s) => s.id);

// moving runs a row: a client in a room, with data, loses from, misses events,
// and finds to. lose ends the connection and resolves when from is done with it.
async function moving(cluster, from, to, lose) {
  const proxy = await startProxy(from.port);
  const socket = await connect(proxy.url, cluster.nsp, { transports: ["websocket"], ...reconnecting });
  try {
    const traveler = { socket, id: socket.id, box: inbox(socket), room: fresh("room"), data: { name: "é", n: [1, null] } };
    await settle(cluster, from, traveler);
    const lost = once(socket, "disconnect");
    proxy.lead(undefined);
    await lose(traveler, proxy);
    await lost;
    const missed = await emitMissed(cluster, from, to, traveler);
    proxy.lead(to.port);
    await until(() => socket.connected, "the client to be back");
    await arrived(cluster, to, traveler, missed);
  } finally {
    socket.io.reconnection(false);
    socket.disconnect();
    proxy.close();
  }
}

// settle gives the client a room, data, and the event without which the reference
// cannot recover; it returns when a session that is saved early holds them.
async function settle(cluster, from, { socket, id, box, room, data }) {
  await cluster.ctl(from, "setData", { id, data });
  await cluster.ctl(from, "join", { id, rooms: [room] });
  await cluster.ctl(from, "emit", { event: "first", to: [room] });
  await until(() => box.length === 1, "the first event");
  assert.deepEqual(withoutOffset(box.pop()), ["first"]);
  assert.ok(socket._pid, "the server offers recovery");
  if (from.impl === "go") await saved(cluster, socket, room);
}

// saved waits until the session of a client is stored, with its room. The value in
// Redis is MessagePack in base64, where strings stand as they are.
function saved(cluster, socket, room) {
  return until(async () => {
    if (cluster.config.nats) return (await storedSession(cluster.key, socket._pid))?.includes(room);
    const value = await cluster.redis.get(`${cluster.key}:session:${socket._pid}`);
    return value && Buffer.from(value, "base64").includes(room);
  }, "the session in the store");
}

// emitMissed emits from every node that is left, one after the other, and returns
// what the client is to get of it.
async function emitMissed(cluster, from, to, { id, room }) {
  const left = from.child.exitCode === null && from.child.signalCode === null ? [from, to] : [to];
  const missed = [];
  for (const node of left) {
    for (const [fields, reaches] of [
      [{ event: "all", args: [node.name, bytes, { deep: [bytes] }] }, true],
      [{ event: "room", args: [node.name], to: [room] }, true],
      [{ event: "elsewhere", to: [fresh("other")] }, false],
      [{ event: "others", except: [room] }, false],
      [{ event: "you", args: [node.name], to: [id] }, true],
    ]) {
      await cluster.ctl(node, "emit", fields);
      if (reaches) missed.push([fields.event, ...(fields.args ?? [])]);
    }
    await cluster.seen(node, to.clients);
  }
  return missed;
}

// arrived checks that the client is who it was, has what it missed, once and in
// order, and that it is reached from now on.
async function arrived(cluster, to, { socket, id, box, room, data }, missed) {
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  await until(() => box.length >= missed.length, "what was missed");
  const found = (await cluster.ctl(to, "sockets")).find((s) => s.id === id);
  assert.deepEqual([[...found.rooms].sort(), found.data, found.recovered], [[id, room].sort(), data, true]);
  await cluster.ctl(to, "emit", { event: "live", to: [room] });
  await until(() => box.some(([event]) => event === "live"), "a live event");
  const got = box.map(withoutOffset).filter(([event]) => !event.startsWith("marker-"));
  assert.deepEqual(got, [...missed, ["live"]]);
}

export const recoveryCases = {
  async "recovery, connection lost"(cluster, from, to) {
    await moving(cluster, from, to, async ({ socket, id, room }, proxy) => {
      proxy.drop();
      await until(async () => !(await idsOn(cluster, from)).includes(id), "the node to miss the client");
      await saved(cluster, socket, room);
    });
  },

  async "recovery, node stopped"(cluster, from, to) {
    await moving(cluster, from, to, async () => {
      await cluster.ctl(from, "stop");
      assert.deepEqual(await from.exited, { code: 0, signal: null });
    });
  },

  async "recovery, node killed"(cluster, from, to) {
    await moving(cluster, from, to, () => from.kill());
  },
};

for (const run of Object.values(recoveryCases)) run.unavailable = unrecoverable;
recoveryCases["recovery, node killed"].unavailable = (wire, from) =>
  unrecoverable(wire) || (from === "node" && "the reference saves a session only when it sees the connection close");

function unrecoverable(wire) {
  if (wire === "streams/csr") return "in the columns of streams";
  if (wire === "nats-jetstream") return;
  if (wire !== "streams") return "the reference recovers over streams only: pub/sub keeps nothing";
}
