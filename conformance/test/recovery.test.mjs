// Connection state recovery: the real client loses its connection, misses events
// and comes back to the same server.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeClientsAfterEach, connect, connected, inbox, transportsOf, upgraded } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { startTarget, target } from "../lib/process.mjs";
import { startProxy } from "../lib/proxy.mjs";
import { once, pause, until } from "../lib/wait.mjs";

// Long enough for every test that recovers.
const WINDOW = 20_000;

const reconnecting = { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0 };

let server;
before(async () => (server = await startTarget("node", { csr: WINDOW })));
after(() => server?.kill());
closeClientsAfterEach();

const emit = (fields, node = server) => ctl(node, "emit", fields);
const socketsOf = (id, node = server) => ctl(node, "sockets").then((all) => all.find((s) => s.id === id));
const reasonOf = async (id, node = server) =>
  (await until(async () => (await ctl(node, "log")).findLast((e) => e.id === id && e.event === "disconnect"),
    `the server to log the end of ${id}`)).reason;

// gone waits until the server has noticed that the socket's connection is lost.
const gone = (id, node = server) => until(async () => !(await socketsOf(id, node)), `the server to miss ${id}`);

// Events carry their offset as one more argument, where recovery is on.
const withoutOffset = ([event, ...args]) => [event, ...args.slice(0, -1)];

// away loses the connection, runs fn once the server has noticed, and resolves
// when the client is back.
async function away(socket, fn, node = server) {
  const id = socket.id;
  socket.io.reconnection(false);
  socket.io.engine.close();
  await gone(id, node);
  await fn();
  socket.io.reconnection(true);
  socket.connect();
  await connected(socket);
}

for (const [name, transports] of Object.entries(transportsOf)) {
  describe(`recovery over ${name}`, { timeout: 60_000 }, () => {
    const dial = async (opts) => {
      const socket = await connect(server.url, "/", { transports, ...reconnecting, ...opts });
      if (name === "upgrade") await upgraded(socket);
      return socket;
    };

    // seen has received one stored event, without which the reference cannot recover.
    const seen = async (opts) => {
      const socket = await dial(opts);
      const box = inbox(socket);
      await emit({ event: "first", to: [socket.id] });
      await until(() => box.length === 1, "the first event");
      box.length = 0;
      return [socket, box];
    };

    it("sends what was missed, in order, with the id of before", async () => {
      const [socket, box] = await seen();
      const id = socket.id;
      await away(socket, async () => {
        for (let i = 0; i < 20; i++) await emit({ event: "missed", args: [i] });
      });
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      await emit({ event: "after", args: ["live"] });
      await until(() => box.length === 21, "all events");
      assert.deepEqual(box.map(withoutOffset), [...Array(20).keys()].map((i) => ["missed", i]).concat([["after", "live"]]));
    });

    it("restores rooms and data", async () => {
      const [socket, box] = await seen();
      const id = socket.id;
      await ctl(server, "join", { id, rooms: ["a", "b"] });
      await ctl(server, "setData", { id, data: { name: "é", list: [1] } });
      await away(socket, async () => {
        await emit({ event: "to-a-and-b", to: ["a", "b"] });
        await emit({ event: "to-other", to: ["other"] });
        await emit({ event: "except-b", except: ["b"] });
        await emit({ event: "except-other", except: ["other"] });
      });
      const info = await until(() => socketsOf(id), "the socket on the server");
      assert.equal(info.recovered, true);
      assert.deepEqual([...info.rooms].sort(), [id, "a", "b"].sort());
      assert.deepEqual(info.data, { name: "é", list: [1] });
      await emit({ event: "live", to: ["a"] });
      await until(() => box.some(([event]) => event === "live"), "the live event");
      assert.deepEqual(box.map(([event]) => event), ["to-a-and-b", "except-other", "live"]);
    });

    it("replays binary", async () => {
      const [socket, box] = await seen();
      const bytes = Buffer.from([0, 1, 2, 255]);
      await away(socket, () => emit({ event: "bin", args: ["x", bytes, { deep: bytes }] }));
      await until(() => box.length === 1, "the event");
      const [event, text, whole, { deep }] = box[0];
      assert.deepEqual([event, text, Buffer.from(whole), Buffer.from(deep)], ["bin", "x", bytes, bytes]);
    });

    it("replays what was sent to the socket alone", async () => {
      const [socket, box] = await seen();
      const id = socket.id;
      await away(socket, () => emit({ event: "private", to: [id], args: [1] }));
      await until(() => box.length === 1, "the event");
      assert.deepEqual(withoutOffset(box[0]), ["private", 1]);
    });

    it("does not replay volatile events, nor those that want an answer", async () => {
      const [socket, box] = await seen();
      await away(socket, async () => {
        await emit({ event: "volatile", volatile: true });
        await ctl(server, "emitWithAck", { event: "acked", timeout: 50 });
        await emit({ event: "kept" });
      });
      await until(() => box.length > 0, "an event");
      assert.equal(await socket.emitWithAck("echo", 1), 1);
      assert.deepEqual(box.map(([event]) => event), ["kept"]);
    });

    it("recovers again and again", async () => {
      const [socket, box] = await seen();
      const id = socket.id;
      for (let i = 0; i < 5; i++) {
        await away(socket, () => emit({ event: "missed", args: [i] }));
        assert.equal(socket.recovered, true, `time ${i}`);
        assert.equal(socket.id, id);
      }
      await until(() => box.length === 5, "all events");
      assert.deepEqual(box.map(([, i]) => i), [0, 1, 2, 3, 4]);
    });

    it("recovers when nothing was missed", async () => {
      const [socket, box] = await seen();
      await away(socket, () => {});
      assert.equal(socket.recovered, true);
      assert.deepEqual(box, []);
    });

    it("recovers a client that never received an event", { skip: target === "node" && "the reference cannot" }, async () => {
      const socket = await dial();
      const box = inbox(socket);
      const id = socket.id;
      await away(socket, () => emit({ event: "missed", args: [1] }));
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      await until(() => box.length === 1, "the event");
      assert.deepEqual(withoutOffset(box[0]), ["missed", 1]);
    });

    for (const [what, fields] of [["disconnects the socket", { close: false }], ["closes the connection", { close: true }]]) {
      it(`gives a new session to a client whose server ${what}`, async () => {
        const [socket] = await seen();
        const id = socket.id;
        const left = once(socket, "disconnect");
        await ctl(server, "socketDisconnect", { id, ...fields });
        await left;
        assert.equal(await reasonOf(id), "server namespace disconnect");
        await connected(socket.connect());
        assert.equal(socket.recovered, false);
        assert.notEqual(socket.id, id);
      });
    }

    it("gives a new session to a client that left by itself", async () => {
      const [socket] = await seen();
      const id = socket.id;
      socket.disconnect();
      await gone(id);
      assert.equal(await reasonOf(id), "client namespace disconnect");
      await connected(socket.connect());
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
    });
  });
}

describe("recovery", { timeout: 60_000 }, () => {
  it("follows a connection cut by the network", async () => {
    const proxy = await startProxy(server.port);
    try {
      const socket = await connect(proxy.url, "/", { transports: ["websocket"], ...reconnecting });
      const box = inbox(socket);
      const id = socket.id;
      await emit({ event: "first", to: [id] });
      await until(() => box.length === 1, "the first event");
      const back = once(socket, "connect");
      proxy.drop();
      await back;
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      assert.equal(await reasonOf(id), "transport close");
    } finally {
      proxy.close();
    }
  });

  it("recovers after a ping timeout and after a bad packet", async () => {
    for (const [reason, pingTimeout, lose] of [
      ["ping timeout", 1000, (socket) => socket.io.engine.transport.ws.pause()],
      ["forced close", 20_000, (socket) => socket.io.engine.write("2[broken")],
    ]) {
      const node = await startTarget("node", { csr: WINDOW, pingInterval: 100, pingTimeout });
      try {
        const socket = await connect(node.url, "/", { transports: ["websocket"], ...reconnecting });
        const box = inbox(socket);
        const id = socket.id;
        await emit({ event: "first", to: [id] }, node);
        await until(() => box.length === 1, "the first event");
        const back = once(socket, "connect");
        lose(socket);
        assert.equal(await reasonOf(id, node), reason);
        await back;
        assert.equal(socket.recovered, true, reason);
        assert.equal(socket.id, id);
        socket.disconnect();
      } finally {
        await node.kill();
      }
    }
  });

  it("ends when the client stays away too long", async () => {
    const node = await startTarget("node", { csr: 100 });
    try {
      const socket = await connect(node.url, "/", { ...reconnecting });
      const box = inbox(socket);
      const id = socket.id;
      await emit({ event: "first", to: [id] }, node);
      await until(() => box.length === 1, "the first event");
      await away(socket, () => pause(250), node);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
    } finally {
      await node.kill();
    }
  });

  it("keeps the sessions of namespaces apart", async () => {
    const socket = await connect(server.url, "/", reconnecting);
    const box = inbox(socket);
    await emit({ event: "first", to: [socket.id] });
    await until(() => box.length === 1, "the first event");
    const auth = { pid: socket._pid, offset: socket._lastOffset };
    const id = socket.id;
    socket.io.reconnection(false);
    socket.io.engine.close();
    await gone(id);
    const other = await connect(server.url, "/custom", { auth });
    assert.notEqual(other.id, id);
    assert.ok(!other.recovered);
  });

  it("recovers a dynamic namespace too", async () => {
    const socket = await connect(server.url, "/dyn-csr", reconnecting);
    const box = inbox(socket);
    const id = socket.id;
    await emit({ nsp: "/dyn-csr", event: "first" });
    await until(() => box.length === 1, "the first event");
    const back = once(socket, "connect");
    socket.io.engine.close();
    await back;
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
  });
});
