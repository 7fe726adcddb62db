// A process that serves no sockets, of either implementation, against every node
// of a cluster. A case gets the cluster and the emitter of lib/emitters.mjs.
import assert from "node:assert/strict";
import { fresh } from "../lib/cluster.mjs";
import * as samples from "../lib/samples.mjs";
import { once, until } from "../lib/wait.mjs";

const sorted = (list) => [...list].sort();
const firsts = (cluster) => cluster.nodes.map((n) => n.clients[0]);

async function expect(cluster, emitter, events, wanted) {
  const got = await cluster.seenAfter((event) => emitter.ctl("emit", { event }));
  assert.deepEqual(got, cluster.clients.map((client) => (wanted(client) ? events : [])));
}

async function roomsBecome(cluster, clients, check) {
  for (const client of clients) {
    await until(async () => check(await cluster.ctl(client.node, "rooms", { id: client.id })), `the rooms of ${client.name}`);
  }
}

async function listen(cluster, event, answers) {
  for (const [i, node] of cluster.nodes.entries()) {
    await cluster.ctl(node, "serverSideListen", { event, ...answers(node, i) });
    await cluster.ctl(node, "serverSideLog");
  }
}

// publishCases are what every emitter does.
export const publishCases = {
  async "emit to everyone"(cluster, emitter) {
    await emitter.ctl("emit", { event: "hi", args: [1, "é", { a: [null] }] });
    await emitter.ctl("emit", { event: "bare" });
    await expect(cluster, emitter, [["hi", 1, "é", { a: [null] }], ["bare"]], () => true);
  },

  async "emit to a room"(cluster, emitter) {
    const members = firsts(cluster);
    const room = await cluster.room(...members);
    await emitter.ctl("emit", { event: "room", to: [room] });
    await onTheWay(cluster, members);
    await expect(cluster, emitter, [["room"]], (c) => members.includes(c));
  },

  async "emit to rooms"(cluster, emitter) {
    const members = firsts(cluster);
    const room = await cluster.room(...members);
    await emitter.ctl("emit", { event: "rooms", to: [room, fresh("none"), members[0].id] });
    await expect(cluster, emitter, [["rooms"]], (c) => members.includes(c));
  },

  async "emit to an id"(cluster, emitter) {
    for (const client of cluster.clients) {
      await emitter.ctl("emit", { event: "you", to: [client.id] });
      await onTheWay(cluster, [client]);
      await expect(cluster, emitter, [["you"]], (c) => c === client);
    }
  },

  async "emit except"(cluster, emitter) {
    const out = await cluster.room(...cluster.nodes.map((n) => n.clients[1]));
    const [one] = firsts(cluster);
    await emitter.ctl("emit", { event: "rest", except: [out, one.id] });
    await expect(cluster, emitter, [["rest"]], (c) => c === c.node.clients[0] && c !== one);
  },

  async "emit binary"(cluster, emitter) {
    for (const [event, value] of samples.binary) await emitter.ctl("emit", { event, args: ["before", value, "after"] });
    await expect(cluster, emitter, samples.binary.map(([event, value]) => [event, "before", value, "after"]), () => true);
  },

  async "emit every JSON value"(cluster, emitter) {
    // The reference's MessagePack wraps integers that need more than 64 bits.
    const values = [...samples.json, ...samples.text].filter((value) => value !== 1e21);
    await emitter.ctl("emit", { event: "values", args: values });
    await expect(cluster, emitter, [["values", ...values]], () => true);
  },

  async "emit volatile"(cluster, emitter) {
    await until(async () => {
      await emitter.ctl("emit", { event: "maybe", volatile: true });
      return cluster.clients.every(({ box }) => box.length);
    }, "a volatile event at every client");
    await cluster.seenAfter((event) => emitter.ctl("emit", { event }));
  },

  async "emit uncompressed"(cluster, emitter) {
    await emitter.ctl("emit", { event: "plain", compress: false });
    await expect(cluster, emitter, [["plain"]], () => true);
  },

  async "socketsJoin, socketsLeave"(cluster, emitter) {
    const members = firsts(cluster);
    const [room, more] = [await cluster.room(...members), fresh("more")];
    await emitter.ctl("socketsJoin", { to: [room], except: [members[1].id], rooms: [more] });
    await roomsBecome(cluster, [members[0]], (r) => r.includes(more));
    await emitter.ctl("socketsJoin", { to: [members[1].id], rooms: [more] });
    await roomsBecome(cluster, members, (r) => r.includes(more));
    await emitter.ctl("socketsLeave", { to: [room], rooms: [more] });
    await roomsBecome(cluster, members, (r) => !r.includes(more));
    const outsiders = cluster.nodes.map((n) => n.clients[1]);
    await roomsBecome(cluster, outsiders, (r) => r.every((name) => name !== more));
  },

  async "disconnectSockets"(cluster, emitter) {
    for (const close of [false, true]) {
      const doomed = await Promise.all(cluster.nodes.map((n) => cluster.dial(n)));
      const room = await cluster.room(...doomed);
      const reasons = Promise.all(doomed.map((c) => once(c.socket, "disconnect")));
      await emitter.ctl("disconnectSockets", { to: [room], close });
      for (const [reason] of await reasons) assert.equal(reason, "io server disconnect");
      assert.ok(cluster.clients.every((c) => c.socket.connected));
    }
  },

  async "serverSideEmit"(cluster, emitter) {
    const event = fresh("sse");
    await listen(cluster, event, () => ({ mode: "record" }));
    await emitter.ctl("serverSideEmit", { event, args: [1, { é: [null] }] });
    for (const node of cluster.nodes) {
      const log = await until(async () => {
        const got = await cluster.ctl(node, "serverSideLog");
        return got.length && got;
      }, `the event on ${node.name}`);
      assert.deepEqual(log, [{ nsp: cluster.nsp, event, args: [1, { é: [null] }], withAck: false }]);
    }
  },
};

// On a channel of its own a room's event can be overtaken by the marker that
// follows it.
async function onTheWay(cluster, clients) {
  if (!cluster.adapter.startsWith("sharded-dynamic")) return;
  await until(() => clients.every(({ box }) => box.length), "the event on its own channel");
}

// requestCases need a way back.
export const requestCases = {
  async "emitWithAck"(cluster, emitter) {
    const got = await emitter.ctl("emitWithAck", { event: "ask", timeout: 4000 });
    assert.deepEqual({ ...got, responses: sorted(got.responses) },
      { err: null, responses: sorted(cluster.clients.map((c) => c.name)) });
    const members = firsts(cluster);
    const room = await cluster.room(...members);
    for (const value of [null, 0, "é", { a: [1, null] }, Buffer.from("bin"), { b: Buffer.alloc(0) }]) {
      const some = await emitter.ctl("emitWithAck", { event: "ask", args: [value], to: [room], timeout: 4000 });
      assert.deepEqual(some, { err: null, responses: members.map(() => value) });
    }
    const none = await emitter.ctl("emitWithAck", { event: "ask", to: [fresh("nobody")], timeout: 4000 });
    assert.deepEqual(none, { err: null, responses: [] });
  },

  async "emitWithAck, some stay silent"(cluster, emitter) {
    const silent = cluster.nodes.map((n) => n.clients[1]);
    for (const client of silent) client.silent = true;
    try {
      const got = await emitter.ctl("emitWithAck", { event: "ask", timeout: 800 });
      assert.deepEqual({ ...got, responses: sorted(got.responses) },
        { err: "operation has timed out", responses: sorted(firsts(cluster).map((c) => c.name)) });
    } finally {
      for (const client of silent) client.silent = false;
    }
  },

  async "emitWithAck to an id"(cluster, emitter) {
    for (const { id, name } of cluster.clients) {
      assert.equal(await emitter.ctl("socketEmitWithAck", { id, event: "ask", timeout: 4000 }), name);
    }
    await assert.rejects(emitter.ctl("socketEmitWithAck", { id: fresh("nobody"), event: "ask", timeout: 4000 }), /no such socket/);
  },

  async "fetchSockets"(cluster, emitter) {
    for (const client of cluster.clients) {
      await cluster.ctl(client.node, "setData", { id: client.id, data: { name: client.name, deep: [{ é: null }, 1.5] } });
    }
    const shape = (list) => list
      .map(({ id, rooms, data, handshake }) => ({ id, rooms: sorted(rooms), data, handshake }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const own = (await Promise.all(cluster.nodes.map((n) => cluster.ctl(n, "sockets")))).flat();
    assert.equal(own.length, cluster.clients.length);
    assert.deepEqual(shape(await emitter.ctl("fetchSockets", { timeout: 4000 })), shape(own));
    const members = firsts(cluster);
    const room = await cluster.room(...members);
    const some = await emitter.ctl("fetchSockets", { to: [room], except: [members[0].id], timeout: 4000 });
    assert.deepEqual(some.map((s) => s.id), members.slice(1).map((c) => c.id));
  },

  async "serverSideEmit with ack"(cluster, emitter) {
    const event = fresh("sse");
    await listen(cluster, event, (n) => ({ mode: "reply", value: { from: n.name, v: ["é", null] } }));
    const got = await emitter.ctl("serverSideEmit", { event, args: ["question"], ack: true });
    assert.equal(got.err, null);
    assert.deepEqual(got.responses.sort((a, b) => (a.from < b.from ? -1 : 1)),
      cluster.nodes.map((n) => ({ from: n.name, v: ["é", null] })));
  },

  async "serverSideEmit, an answer missing"(cluster, emitter) {
    const event = fresh("sse");
    await listen(cluster, event, (n, i) => (i ? { mode: "record" } : { mode: "reply", value: n.name }));
    const got = await emitter.ctl("serverSideEmit", { event, ack: true });
    assert.deepEqual(got, { err: "operation has timed out", responses: [cluster.nodes[0].name] });
  },

  async "serverCount"(cluster, emitter) {
    assert.equal(await emitter.ctl("serverCount"), cluster.nodes.length);
  },
};

// notANode is run last: the nodes neither count the emitter nor wait for it.
export const notANode = {
  async "is not counted as a node"(cluster) {
    const event = fresh("sse");
    await listen(cluster, event, (n) => ({ mode: "reply", value: n.name }));
    for (const node of cluster.nodes) {
      assert.equal(await cluster.ctl(node, "serverCount"), cluster.nodes.length);
      assert.equal((await cluster.ctl(node, "fetchSockets")).length, cluster.clients.length);
      const got = await cluster.ctl(node, "serverSideEmit", { event, ack: true });
      assert.deepEqual(got, { err: null, responses: cluster.nodes.filter((n) => n !== node).map((n) => n.name) });
      const asked = await cluster.ctl(node, "emitWithAck", { event: "ask", timeout: 4000 });
      assert.equal(asked.err, null);
    }
  },
};
