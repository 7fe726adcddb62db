// What one node does to the sockets of another, one row of the interoperation
// table each. A case gets the cluster, the node that acts and the one that is
// acted on; each has two clients. What is awaited is seen at the other node only.
import assert from "node:assert/strict";
import { fresh } from "../lib/cluster.mjs";
import { accepts } from "../lib/differences.mjs";
import { once, until } from "../lib/wait.mjs";

const sorted = (list) => [...list].sort();
const bytes = Buffer.from([0, 1, 127, 128, 255]);

// seen returns the events of both clients of the node that is acted on. It waits
// for all clients: a node may serve its own after those of the others.
async function seen(cluster, from, to) {
  const all = await cluster.seen(from);
  return to.clients.map((client) => all[cluster.clients.indexOf(client)]);
}

async function far(cluster, from, to, ...want) {
  assert.deepEqual(await seen(cluster, from, to), want);
}

const roomsOf = (cluster, client) => cluster.ctl(client.node, "rooms", { id: client.id });

const asked = (cluster, from, fields) => cluster.ctl(from, "emitWithAck", { event: "ask", timeout: 4000, ...fields });

async function fetched(cluster, from, client) {
  const got = await cluster.ctl(from, "fetchSockets", { to: [client.id] });
  assert.equal(got.length, 1);
  return got[0];
}

async function listening(cluster, to, mode, value) {
  const event = fresh("sse");
  await cluster.ctl(to, "serverSideListen", { event, mode, value });
  await cluster.ctl(to, "serverSideLog");
  return event;
}

// disconnected expects that a new client of a node is disconnected by act, and
// that another one is not.
async function disconnected(cluster, to, act) {
  const clients = [await cluster.dial(to), await cluster.dial(to)];
  const [doomed, other] = clients;
  const reason = once(doomed.socket, "disconnect");
  await act(doomed);
  assert.equal((await reason)[0], "io server disconnect");
  assert.ok(other.socket.connected);
  other.socket.disconnect();
  await until(async () => {
    const left = (await cluster.ctl(to, "sockets")).map((s) => s.id);
    return clients.every((c) => !left.includes(c.id));
  }, "both sockets to be gone");
}

export const interopCases = {
  async "emit to everyone"(cluster, from, to) {
    await cluster.ctl(from, "emit", { event: "hi", args: [1, "é😀", { a: [null, 1.5] }] });
    const hi = ["hi", 1, "é😀", { a: [null, 1.5] }];
    await far(cluster, from, to, [hi], [hi]);
  },

  async "emit to a room"(cluster, from, to) {
    const room = await cluster.room(to.clients[0]);
    await cluster.ctl(from, "emit", { event: "room", to: [room] });
    await far(cluster, from, to, [["room"]], []);
  },

  async "emit to several rooms"(cluster, from, to) {
    const rooms = [await cluster.room(...to.clients), await cluster.room(to.clients[0])];
    await cluster.ctl(from, "emit", { event: "rooms", to: rooms });
    await far(cluster, from, to, [["rooms"]], [["rooms"]]);
  },

  async "emit except"(cluster, from, to) {
    const room = await cluster.room(to.clients[0]);
    await cluster.ctl(from, "emit", { event: "room", except: [room] });
    await cluster.ctl(from, "emit", { event: "id", except: [to.clients[1].id] });
    await far(cluster, from, to, [["id"]], [["room"]]);
  },

  async "emit local"(cluster, from, to) {
    await cluster.ctl(from, "emit", { event: "near", local: true });
    assert.deepEqual(await cluster.seen(from), cluster.clients.map((c) => (c.node === from ? [["near"]] : [])));
  },

  async "emit volatile"(cluster, from, to) {
    await until(async () => {
      await cluster.ctl(from, "emit", { event: "maybe", args: [1], volatile: true });
      return to.clients.every(({ box }) => box.length);
    }, "a volatile event at every client");
    for (const event of (await seen(cluster, from, to)).flat()) assert.deepEqual(event, ["maybe", 1]);
  },

  async "emit binary"(cluster, from, to) {
    const args = [bytes, "text", { deep: [bytes, Buffer.alloc(0)] }, Buffer.alloc(2000, "x")];
    await cluster.ctl(from, "emit", { event: "bin", args });
    await far(cluster, from, to, [["bin", ...args]], [["bin", ...args]]);
  },

  async "emit uncompressed"(cluster, from, to) {
    await cluster.ctl(from, "emit", { event: "plain", compress: false });
    await far(cluster, from, to, [["plain"]], [["plain"]]);
  },

  async "emit to an id"(cluster, from, to) {
    await cluster.ctl(from, "emit", { event: "you", args: [bytes], to: [to.clients[1].id] });
    await far(cluster, from, to, [], [["you", bytes]]);
  },

  async "emit by a socket to the others"(cluster, from, to) {
    const [sender] = from.clients;
    sender.socket.emit("relay", "others", bytes);
    await sender.socket.emitWithAck("echo", "flushed");
    const others = ["others", sender.id, bytes];
    await far(cluster, from, to, [others], [others]);
  },

  async "100 emits in order"(cluster, from, to) {
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    const ops = numbers.map((n) => ({ op: "emit", nsp: cluster.nsp, event: "n", args: n % 9 ? [n] : [n, bytes] }));
    await cluster.ctl(from, "batch", { ops });
    for (const events of await seen(cluster, from, to)) assert.deepEqual(events.map(([, n]) => n), numbers);
  },

  async "broadcast with ack"(cluster, from) {
    const got = await asked(cluster, from);
    assert.deepEqual({ ...got, responses: sorted(got.responses) },
      { err: null, responses: sorted(cluster.clients.map((c) => c.name)) });
  },

  async "broadcast with ack, binary"(cluster, from, to) {
    const room = await cluster.room(...to.clients);
    assert.deepEqual(await asked(cluster, from, { args: [{ b: bytes }], to: [room] }),
      { err: null, responses: [{ b: bytes }, { b: bytes }] });
  },

  async "broadcast with ack, one missing"(cluster, from, to) {
    const [answers, silent] = to.clients;
    const room = await cluster.room(answers, silent);
    silent.silent = true;
    const got = await asked(cluster, from, { to: [room], timeout: 1000 }).finally(() => (silent.silent = false));
    assert.deepEqual(got, { err: "operation has timed out", responses: [answers.name] });
  },

  async "broadcast with ack, nobody there"(cluster, from) {
    assert.deepEqual(await asked(cluster, from, { to: [fresh("nobody")] }), { err: null, responses: [] });
  },

  async "ack of one remote socket"(cluster, from, to) {
    const [client] = to.clients;
    const ask = (fields) => cluster.ctl(from, "remote", { id: client.id, do: "emitWithAck", event: "ask", ...fields });
    assert.equal(await ask({ timeout: 4000 }), client.name);
    assert.deepEqual(await ask({ args: [bytes], timeout: 4000 }), bytes);
  },

  async "fetchSockets: ids"(cluster, from, to) {
    const ids = async (fields) => sorted((await cluster.ctl(from, "fetchSockets", fields)).map((s) => s.id));
    const [one, two] = to.clients;
    const room = await cluster.room(one);
    assert.deepEqual(await ids(), sorted(cluster.clients.map((c) => c.id)));
    assert.deepEqual(await ids({ to: [room, two.id] }), sorted([one.id, two.id]));
    assert.deepEqual(await ids({ to: [room, two.id], except: [one.id] }), [two.id]);
    assert.deepEqual(await ids({ to: [room], local: true }), []);
  },

  async "fetchSockets: data"(cluster, from, to) {
    const [client] = to.clients;
    const data = { name: "é", list: [1, null, { deep: false }] };
    await cluster.ctl(to, "setData", { id: client.id, data });
    assert.deepEqual((await fetched(cluster, from, client)).data, data);
  },

  async "fetchSockets: rooms"(cluster, from, to) {
    const [client] = to.clients;
    await cluster.room(client);
    assert.deepEqual(sorted((await fetched(cluster, from, client)).rooms), await roomsOf(cluster, client));
  },

  async "fetchSockets: handshake"(cluster, from, to) {
    const [client] = to.clients;
    const own = (await cluster.ctl(to, "sockets")).find((s) => s.id === client.id);
    const { handshake } = await fetched(cluster, from, client);
    assert.deepEqual(handshake, own.handshake);
    assert.deepEqual(sorted(Object.keys(handshake)),
      ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
  },

  async "join and leave by room"(cluster, from, to) {
    const [one, two] = to.clients;
    const [room, more] = [await cluster.room(one), fresh("more")];
    await cluster.ctl(from, "socketsJoin", { to: [room], rooms: [more] });
    await until(async () => (await roomsOf(cluster, one)).includes(more), "the join");
    assert.ok(!(await roomsOf(cluster, two)).includes(more));
    await cluster.ctl(from, "socketsLeave", { to: [room], rooms: [more] });
    await until(async () => !(await roomsOf(cluster, one)).includes(more), "the leave");
  },

  async "join and leave of one remote socket"(cluster, from, to) {
    const [client] = to.clients;
    const room = fresh("own");
    await cluster.ctl(from, "remote", { id: client.id, do: "join", rooms: [room] });
    await until(async () => (await roomsOf(cluster, client)).includes(room), "the join");
    await cluster.ctl(from, "remote", { id: client.id, do: "leave", rooms: [room] });
    await until(async () => !(await roomsOf(cluster, client)).includes(room), "the leave");
  },

  async "disconnect by room"(cluster, from, to) {
    await disconnected(cluster, to, async (client) =>
      cluster.ctl(from, "disconnectSockets", { to: [await cluster.room(client)] }));
  },

  async "disconnect and close the connection"(cluster, from, to) {
    await disconnected(cluster, to, (client) =>
      cluster.ctl(from, "disconnectSockets", { to: [client.id], close: true }));
  },

  async "disconnect of one remote socket"(cluster, from, to) {
    await disconnected(cluster, to, (client) =>
      cluster.ctl(from, "remote", { id: client.id, do: "disconnect", close: false }));
  },

  async "serverSideEmit"(cluster, from, to) {
    const event = await listening(cluster, to, "record");
    const args = [1, "é", { a: [null] }];
    await cluster.ctl(from, "serverSideEmit", { event, args });
    const log = await until(async () => {
      const got = await cluster.ctl(to, "serverSideLog");
      return got.length && got;
    }, "the event");
    assert.deepEqual(log, [{ nsp: cluster.nsp, event, args, withAck: false }]);
  },

  async "serverSideEmit with ack"(cluster, from, to) {
    const event = await listening(cluster, to, "reply", { v: ["é", null] });
    const got = await cluster.ctl(from, "serverSideEmit", { event, args: ["question"], ack: true });
    assert.deepEqual(got, { err: null, responses: [{ v: ["é", null] }] });
    assert.deepEqual(await cluster.ctl(to, "serverSideLog"), [{ nsp: cluster.nsp, event, args: ["question"], withAck: true }]);
  },

  async "serverSideEmit with ack, answer missing"(cluster, from, to) {
    const event = await listening(cluster, to, "record");
    const got = await cluster.ctl(from, "serverSideEmit", { event, ack: true });
    accepts("the only server-side ack missing", got.err);
    assert.deepEqual(got.responses, []);
  },

  async "number of servers"(cluster, from) {
    assert.equal(await cluster.ctl(from, "serverCount"), cluster.nodes.length);
  },

  async "all rooms"(cluster, from, to) {
    const room = await cluster.room(to.clients[0]);
    const rooms = await cluster.ctl(from, "allRooms");
    for (const name of [room, ...cluster.clients.map((c) => c.id)]) assert.ok(rooms.includes(name), name);
  },
};

interopCases["all rooms"].unavailable = (wire) =>
  !wire.startsWith("redis") && "only the classic adapter of the reference has allRooms";
