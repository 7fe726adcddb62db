// @socket.io/redis-emitter: a process that serves no sockets, against every node.
import assert from "node:assert/strict";
import { Emitter } from "@socket.io/redis-emitter";
import { fresh } from "../lib/cluster.mjs";
import { once, until } from "../lib/wait.mjs";

const emitterOf = (cluster) => new Emitter(cluster.redis, { key: cluster.key }).of(cluster.nsp);

async function expect(cluster, emitter, events, wanted) {
  const got = await cluster.seenAfter((marker) => emitter.emit(marker));
  assert.deepEqual(got, cluster.clients.map((client) => (wanted(client) ? events : [])));
}

async function roomsBecome(cluster, clients, check) {
  for (const client of clients) {
    await until(async () => check(await cluster.ctl(client.node, "rooms", { id: client.id })), `the rooms of ${client.name}`);
  }
}

export const emitterCases = {
  async "emitter: emit to everyone"(cluster) {
    const emitter = emitterOf(cluster);
    emitter.emit("hi", 1, "é", { a: [null] });
    await expect(cluster, emitter, [["hi", 1, "é", { a: [null] }]], () => true);
  },

  async "emitter: emit to rooms and ids"(cluster) {
    const emitter = emitterOf(cluster);
    const members = cluster.nodes.map((n) => n.clients[0]);
    const room = await cluster.room(...members);
    emitter.to(room).emit("room");
    emitter.to([room, fresh("none")]).emit("rooms");
    await expect(cluster, emitter, [["room"], ["rooms"]], (c) => members.includes(c));
    const other = cluster.clients.at(-1);
    emitter.to(other.id).emit("id");
    await expect(cluster, emitter, [["id"]], (c) => c === other);
  },

  async "emitter: emit binary"(cluster) {
    const emitter = emitterOf(cluster);
    const value = { deep: [Buffer.from([1, 2, 255]), Buffer.alloc(0)] };
    emitter.emit("bin", value, "after");
    await expect(cluster, emitter, [["bin", value, "after"]], () => true);
  },

  async "emitter: emit except, volatile, compress"(cluster) {
    const emitter = emitterOf(cluster);
    const out = await cluster.room(...cluster.nodes.map((n) => n.clients[1]));
    emitter.except(out).emit("rest");
    emitter.compress(false).except(out).emit("plain");
    await expect(cluster, emitter, [["rest"], ["plain"]], (c) => c === c.node.clients[0]);
    await until(() => {
      emitter.volatile.emit("maybe");
      return cluster.clients.every(({ box }) => box.length);
    }, "a volatile event at every client");
    await cluster.seenAfter((marker) => emitter.emit(marker));
  },

  async "emitter: join and leave"(cluster) {
    const emitter = emitterOf(cluster);
    const members = cluster.nodes.map((n) => n.clients[0]);
    const [room, more] = [await cluster.room(...members), fresh("more")];
    emitter.in(room).socketsJoin(more);
    await roomsBecome(cluster, members, (r) => r.includes(more));
    emitter.in(room).socketsLeave([more]);
    await roomsBecome(cluster, members, (r) => !r.includes(more));
  },

  async "emitter: disconnect"(cluster) {
    const emitter = emitterOf(cluster);
    const doomed = await Promise.all(cluster.nodes.map((n) => cluster.dial(n)));
    const room = await cluster.room(...doomed);
    const reasons = Promise.all(doomed.map((c) => once(c.socket, "disconnect")));
    emitter.in(room).disconnectSockets(true);
    for (const [reason] of await reasons) assert.equal(reason, "io server disconnect");
  },

  async "emitter: serverSideEmit"(cluster) {
    const event = fresh("sse");
    for (const node of cluster.nodes) {
      await cluster.ctl(node, "serverSideListen", { event, mode: "record" });
      await cluster.ctl(node, "serverSideLog");
    }
    emitterOf(cluster).serverSideEmit(event, 1, { é: [null] });
    for (const node of cluster.nodes) {
      const log = await until(async () => {
        const got = await cluster.ctl(node, "serverSideLog");
        return got.length && got;
      }, `the event on ${node.name}`);
      assert.deepEqual(log, [{ nsp: cluster.nsp, event, args: [1, { é: [null] }], withAck: false }]);
    }
  },
};
