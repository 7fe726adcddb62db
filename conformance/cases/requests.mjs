// Requests that are answered by other nodes, or change sockets on them.
import assert from "node:assert/strict";
import { ctl } from "../lib/ctl.mjs";
import { fresh } from "../lib/cluster.mjs";
import { once, until } from "../lib/wait.mjs";

const sorted = (list) => [...list].sort();
const others = (cluster, node) => cluster.nodes.filter((n) => n !== node);

async function roomsBecome(cluster, client, check) {
  await until(async () => check(await cluster.ctl(client.node, "rooms", { id: client.id })), `the rooms of ${client.name}`);
}

export const requestCases = {
  async "emitWithAck, all answer"(cluster, node) {
    const got = await cluster.ctl(node, "emitWithAck", { event: "ask", timeout: 10000 });
    assert.deepEqual({ ...got, responses: sorted(got.responses) },
      { err: null, responses: sorted(cluster.clients.map((c) => c.name)) });
  },

  async "emitWithAck, values and binary"(cluster, node) {
    const members = cluster.nodes.map((n) => n.clients[0]);
    const room = await cluster.room(...members);
    for (const value of [null, 0, false, "é", [], { a: [1, null] }, Buffer.from("bin"), { b: Buffer.alloc(0) }]) {
      const got = await cluster.ctl(node, "emitWithAck", { event: "ask", args: [value], to: [room], timeout: 4000 });
      assert.deepEqual(got, { err: null, responses: members.map(() => value) });
    }
  },

  async "emitWithAck, one other node only"(cluster, node) {
    for (const { clients: [client] } of others(cluster, node)) {
      const got = await cluster.ctl(node, "emitWithAck", { event: "ask", to: [client.id], timeout: 4000 });
      assert.deepEqual(got, { err: null, responses: [client.name] });
    }
  },

  async "emitWithAck, some stay silent"(cluster, node) {
    const silent = cluster.nodes.map((n) => n.clients[1]);
    for (const client of silent) client.silent = true;
    try {
      const got = await cluster.ctl(node, "emitWithAck", { event: "ask", timeout: 1000 });
      assert.deepEqual({ ...got, responses: sorted(got.responses) },
        { err: "operation has timed out", responses: sorted(cluster.nodes.map((n) => n.clients[0].name)) });
    } finally {
      for (const client of silent) client.silent = false;
    }
  },

  async "emitWithAck, nobody there"(cluster, node) {
    const got = await cluster.ctl(node, "emitWithAck", { event: "ask", to: [fresh("nobody")], timeout: 4000 });
    assert.deepEqual(got, { err: null, responses: [] });
  },

  async "fetchSockets, everyone"(cluster, node) {
    for (const client of cluster.clients) {
      const data = { name: client.name, deep: [{ é: null }, 1.5] };
      await cluster.ctl(client.node, "setData", { id: client.id, data });
    }
    const own = (await Promise.all(cluster.nodes.map((n) => cluster.ctl(n, "sockets")))).flat();
    const got = await cluster.ctl(node, "fetchSockets");
    const shape = (list) => list
      .map(({ id, rooms, data, handshake }) => ({ id, rooms: sorted(rooms), data, handshake }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    assert.deepEqual(shape(got), shape(own));
    assert.equal(got.length, cluster.clients.length);
    for (const { handshake } of got) {
      assert.deepEqual(sorted(Object.keys(handshake)),
        ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
    }
  },

  async "fetchSockets, selected"(cluster, node) {
    const members = cluster.nodes.map((n) => n.clients[0]);
    const room = await cluster.room(...members);
    const ids = async (target) => sorted((await cluster.ctl(node, "fetchSockets", target)).map((s) => s.id));
    assert.deepEqual(await ids({ to: [room] }), sorted(members.map((c) => c.id)));
    assert.deepEqual(await ids({ to: [room], except: [members[0].id] }), sorted(members.slice(1).map((c) => c.id)));
    assert.deepEqual(await ids({ except: [room] }), sorted(cluster.nodes.map((n) => n.clients[1].id)));
    assert.deepEqual(await ids({ local: true }), sorted(node.clients.map((c) => c.id)));
    assert.deepEqual(await ids({ to: [fresh("nobody")] }), []);
  },

  async "fetchSockets, auth and query of the client"(cluster, node) {
    for (const home of cluster.nodes) {
      const client = await cluster.dial(home, cluster.nsp, { auth: { token: "é", n: [1] }, query: { q: "a b" } });
      const [found] = await cluster.ctl(node, "fetchSockets", { to: [client.id] });
      assert.deepEqual([found.handshake.auth, found.handshake.query.q], [{ token: "é", n: [1] }, "a b"]);
      await leave(cluster, client);
    }
  },

  async "socketsJoin and socketsLeave by room"(cluster, node) {
    const members = cluster.nodes.map((n) => n.clients[0]);
    const room = await cluster.room(...members);
    const [one, two] = [fresh("one"), fresh("two")];
    await cluster.ctl(node, "socketsJoin", { to: [room], rooms: [one, two] });
    for (const client of members) await roomsBecome(cluster, client, (r) => r.includes(one) && r.includes(two));
    await cluster.ctl(node, "socketsLeave", { to: [room], except: [members[2].id], rooms: [two] });
    for (const client of members.slice(0, 2)) await roomsBecome(cluster, client, (r) => r.includes(one) && !r.includes(two));
    await roomsBecome(cluster, members[2], (r) => r.includes(two));
    for (const { clients: [, outsider] } of cluster.nodes) await roomsBecome(cluster, outsider, (r) => !r.includes(one));
  },

  async "socketsJoin and socketsLeave by id"(cluster, node) {
    for (const client of cluster.clients) {
      const room = fresh("by-id");
      await cluster.ctl(node, "socketsJoin", { to: [client.id], rooms: [room] });
      await roomsBecome(cluster, client, (r) => r.includes(room));
      await cluster.ctl(node, "socketsLeave", { to: [client.id], rooms: [room] });
      await roomsBecome(cluster, client, (r) => !r.includes(room));
    }
  },

  async "socketsJoin, then emit"(cluster, node) {
    const room = fresh("all");
    await cluster.ctl(node, "socketsJoin", { rooms: [room] });
    for (const client of cluster.clients) await roomsBecome(cluster, client, (r) => r.includes(room));
    await until(async () => {
      await cluster.ctl(node, "emit", { event: "in", to: [room] });
      return cluster.clients.every(({ box }) => box.length);
    }, "the event in the new room");
    await cluster.seen(node);
  },

  async "disconnectSockets by room and id"(cluster, node) {
    for (const close of [false, true]) {
      const doomed = await Promise.all(cluster.nodes.map((n) => cluster.dial(n)));
      const [last, ...rest] = doomed;
      const room = await cluster.room(...rest);
      const reasons = Promise.all(rest.map((c) => once(c.socket, "disconnect")));
      await cluster.ctl(node, "disconnectSockets", { to: [room], close });
      for (const [reason] of await reasons) assert.equal(reason, "io server disconnect");
      assert.ok(last.socket.connected);
      const reason = once(last.socket, "disconnect");
      await cluster.ctl(node, "disconnectSockets", { to: [last.id], close });
      assert.equal((await reason)[0], "io server disconnect");
      await until(async () => {
        const left = (await cluster.ctl(node, "fetchSockets")).map((s) => s.id);
        return doomed.every((c) => !left.includes(c.id));
      }, "the sockets to be gone");
    }
  },

  async "remote emit"(cluster, node) {
    for (const client of cluster.clients) {
      const got = once(client.socket, "direct");
      await cluster.ctl(node, "remote", { id: client.id, do: "emit", event: "direct", args: ["é", Buffer.from("b")] });
      assert.deepEqual(await got, ["é", Buffer.from("b")]);
    }
    await cluster.seen(node);
  },

  async "remote emitWithAck"(cluster, node) {
    for (const client of cluster.clients) {
      const ask = (fields) => cluster.ctl(node, "remote", { id: client.id, do: "emitWithAck", event: "ask", ...fields });
      assert.equal(await ask({ timeout: 4000 }), client.name);
      assert.deepEqual(await ask({ args: [Buffer.from("b")], timeout: 4000 }), Buffer.from("b"));
    }
    const [silent] = cluster.nodes.at((node.index + 1) % cluster.nodes.length).clients;
    silent.silent = true;
    const asked = cluster.ctl(node, "remote", { id: silent.id, do: "emitWithAck", event: "ask", timeout: 200 });
    await assert.rejects(asked, { message: "operation has timed out" }).finally(() => (silent.silent = false));
  },

  async "remote join, leave, disconnect"(cluster, node) {
    for (const home of cluster.nodes) {
      const client = await cluster.dial(home);
      const [one, two] = [fresh("r"), fresh("r")];
      const act = (what, fields) => cluster.ctl(node, "remote", { id: client.id, do: what, ...fields });
      await act("join", { rooms: [one, two] });
      await roomsBecome(cluster, client, (r) => r.includes(one) && r.includes(two));
      await act("leave", { rooms: [one] });
      await roomsBecome(cluster, client, (r) => !r.includes(one) && r.includes(two));
      const reason = once(client.socket, "disconnect");
      await act("disconnect", { close: false });
      assert.equal((await reason)[0], "io server disconnect");
    }
  },

  async "serverCount"(cluster, node) {
    assert.equal(await cluster.ctl(node, "serverCount"), cluster.nodes.length);
    const nsp = fresh("/dyn-count");
    for (const [i, n] of cluster.nodes.entries()) {
      await ctl(n, "namespace", { nsp });
      const ready = cluster.nodes.slice(0, i + 1);
      for (const counter of ready) {
        await until(async () => (await ctl(counter, "serverCount", { nsp })) === ready.length, `${i + 1} nodes in ${nsp}`, 15_000);
      }
    }
  },

  async "a namespace made by its first client"(cluster, node) {
    const nsp = fresh("/dyn-first");
    const clients = [await cluster.dial(node, nsp)];
    for (const n of others(cluster, node)) clients.push(await cluster.dial(n, nsp));
    await cluster.settled(nsp);
    await until(async () => {
      await ctl(node, "emit", { nsp, event: "hello" });
      return clients.every(({ box }) => box.length);
    }, "the event at every client");
    assert.equal((await ctl(node, "fetchSockets", { nsp })).length, 3);
    for (const client of clients) await leave(cluster, client);
  },

  async "pending is empty"(cluster) {
    for (const node of cluster.nodes) {
      await until(async () => {
        const { requests, acks } = await cluster.ctl(node, "pending");
        return requests === 0 && acks === 0;
      }, `${node.name} to forget its requests`, 15_000);
    }
  },
};

// Operations only the classic adapter has.
export const classicCases = {
  async "allRooms"(cluster, node) {
    const rooms = [];
    for (const client of cluster.clients) rooms.push(await cluster.room(client));
    const got = await cluster.ctl(node, "allRooms");
    assert.deepEqual(got, sorted(got));
    for (const name of [...rooms, ...cluster.clients.map((c) => c.id)]) assert.ok(got.includes(name), name);
    assert.equal(new Set(got).size, got.length);
  },
};

// leave disconnects a client and waits until its node knows.
export async function leave(cluster, client) {
  client.socket.disconnect();
  await until(async () =>
    !(await ctl(client.node, "sockets", { nsp: client.nsp })).some((s) => s.id === client.id), `${client.name} to leave`);
}
