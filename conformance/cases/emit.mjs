// Events from one node to clients of all nodes. A case gets the cluster and the
// node it starts from; its clients stand in the order a1 a2 b1 b2 c1 c2.
import assert from "node:assert/strict";
import { fresh } from "../lib/cluster.mjs";
import * as samples from "../lib/samples.mjs";
import { until } from "../lib/wait.mjs";

const range = (n) => Array.from({ length: n }, (_, i) => i);

// expect checks that exactly the named clients got the events.
async function expect(cluster, node, events, wanted) {
  const got = await cluster.seen(node);
  const want = cluster.clients.map((client) => (wanted(client) ? events : []));
  assert.deepEqual(got, want);
}

export const emitCases = {
  async "emit to everyone"(cluster, node) {
    await cluster.ctl(node, "emit", { event: "hi", args: [1, "two", { three: [3, null] }] });
    await expect(cluster, node, [["hi", 1, "two", { three: [3, null] }]], () => true);
  },

  async "emit without arguments"(cluster, node) {
    await cluster.ctl(node, "emit", { event: "bare" });
    await expect(cluster, node, [["bare"]], () => true);
  },

  async "emit to a room"(cluster, node) {
    const members = cluster.nodes.map((n) => n.clients[0]);
    const room = await cluster.room(...members);
    await cluster.ctl(node, "emit", { event: "room", to: [room] });
    await expect(cluster, node, [["room"]], (client) => members.includes(client));
  },

  async "emit to a room of another node only"(cluster, node) {
    for (const other of cluster.nodes) {
      const room = await cluster.room(other.clients[1]);
      await cluster.ctl(node, "emit", { event: "there", to: [room] });
      await expect(cluster, node, [["there"]], (client) => client === other.clients[1]);
    }
  },

  async "emit to rooms with odd names"(cluster, node) {
    for (const name of ["é✓ 😀", "a#b#", "*", "[x]?", "123", "twenty-characters-ab", "back\\slash", " "]) {
      const room = name === "123" ? String(1e6 + node.index) : `${name}${name === "twenty-characters-ab" ? "" : fresh("r")}`;
      const members = cluster.nodes.map((n) => n.clients[0]);
      await cluster.join(room, ...members);
      await cluster.ctl(node, "emit", { event: "odd", args: [name], to: [room] });
      await expect(cluster, node, [["odd", name]], (client) => members.includes(client));
      for (const client of members) await cluster.ctl(client.node, "leave", { id: client.id, rooms: [room] });
    }
  },

  async "emit to several rooms"(cluster, node) {
    const [a, b, c] = cluster.nodes;
    const one = await cluster.room(a.clients[0], b.clients[0]);
    const two = await cluster.room(b.clients[0], c.clients[1]);
    await cluster.ctl(node, "emit", { event: "either", to: [one, two, "no such room"] });
    const members = [a.clients[0], b.clients[0], c.clients[1]];
    await expect(cluster, node, [["either"]], (client) => members.includes(client));
  },

  async "emit except rooms and ids"(cluster, node) {
    const [a, b, c] = cluster.nodes;
    const out = await cluster.room(a.clients[0], b.clients[0]);
    await cluster.ctl(node, "emit", { event: "rest", except: [out, c.clients[1].id] });
    const left = [a.clients[0], b.clients[0], c.clients[1]];
    await expect(cluster, node, [["rest"]], (client) => !left.includes(client));

    const room = await cluster.room(...cluster.clients);
    await cluster.ctl(node, "emit", { event: "rest", to: [room], except: [out] });
    await expect(cluster, node, [["rest"]], (client) => client !== a.clients[0] && client !== b.clients[0]);
  },

  async "emit local"(cluster, node) {
    await cluster.ctl(node, "emit", { event: "near", local: true });
    await expect(cluster, node, [["near"]], (client) => client.node === node);
  },

  async "emit volatile and uncompressed"(cluster, node) {
    // A volatile event may be lost, so it is repeated until every client has one.
    await until(async () => {
      await cluster.ctl(node, "emit", { event: "maybe", args: [Buffer.from("v")], volatile: true });
      return cluster.clients.every(({ box }) => box.length);
    }, "a volatile event at every client");
    for (const events of await cluster.seen(node)) {
      for (const event of events) assert.deepEqual(event, ["maybe", Buffer.from("v")]);
    }
    await cluster.ctl(node, "emit", { event: "plain", compress: false });
    await expect(cluster, node, [["plain"]], () => true);
  },

  async "emit every JSON value"(cluster, node) {
    // The reference's MessagePack wraps integers that need more than 64 bits.
    const values = [...samples.json, ...samples.text].filter((value) => value !== 1e21);
    await cluster.ctl(node, "emit", { event: "values", args: values });
    await expect(cluster, node, [["values", ...values]], () => true);
  },

  async "emit binary"(cluster, node) {
    for (const [what, value] of samples.binary) {
      await cluster.ctl(node, "emit", { event: what, args: ["before", value, "after"] });
    }
    const events = samples.binary.map(([what, value]) => [what, "before", value, "after"]);
    await expect(cluster, node, events, () => true);
  },

  async "emit from a socket"(cluster, node) {
    const [sender] = node.clients;
    await cluster.ctl(node, "emit", { event: "others", from: sender.id });
    await expect(cluster, node, [["others"]], (client) => client !== sender);
    const room = await cluster.room(...cluster.clients);
    await cluster.ctl(node, "emit", { event: "others", from: sender.id, to: [room] });
    await expect(cluster, node, [["others"]], (client) => client !== sender);
  },

  async "emit to an id on any node"(cluster, node) {
    for (const receiver of cluster.clients) {
      await cluster.ctl(node, "emit", { event: "you", args: [Buffer.from("x")], to: [receiver.id] });
      await expect(cluster, node, [["you", Buffer.from("x")]], (client) => client === receiver);
    }
  },

  async "relay by a client"(cluster, node) {
    const [sender] = node.clients;
    const room = await cluster.room(...cluster.nodes.map((n) => n.clients[1]), sender);
    sender.socket.emit("relay", "r1", 1, Buffer.from("b"));
    sender.socket.emit("relayAll", "r2", { two: 2 });
    sender.socket.emit("relayRoom", room, "r3");
    await sender.socket.emitWithAck("echo", "flushed");
    const [r1, r2, r3] = [["r1", sender.id, 1, Buffer.from("b")], ["r2", sender.id, { two: 2 }], ["r3", sender.id]];
    assert.deepEqual(await cluster.seen(node), cluster.clients.map((client) => {
      if (client === sender) return [r2];
      return client === client.node.clients[1] ? [r1, r2, r3] : [r1, r2];
    }));
  },

  async "300 emits in order"(cluster, node) {
    const room = await cluster.room(...cluster.clients);
    const ops = range(300).map((n) => ({
      op: "emit", nsp: cluster.nsp, event: "n", args: n % 10 ? [n] : [n, Buffer.from([n & 255])], ...(n % 3 && { to: [room] }),
    }));
    await cluster.ctl(node, "batch", { ops });
    for (const events of await cluster.seen(node)) {
      assert.deepEqual(events.map(([, n]) => n), range(300));
    }
  },

  async "order of each node while all emit"(cluster) {
    const count = 100;
    await Promise.all(cluster.nodes.map((node) => cluster.ctl(node, "batch", {
      ops: range(count).map((n) => ({ op: "emit", nsp: cluster.nsp, event: node.name, args: [n] })),
    })));
    const total = count * cluster.nodes.length;
    await until(() => cluster.clients.every(({ box }) => box.length === total), "every event at every client");
    for (const client of cluster.clients) {
      for (const node of cluster.nodes) {
        assert.deepEqual(client.box.filter(([event]) => event === node.name).map(([, n]) => n), range(count));
      }
    }
  },
};
