// The real socket.io-client 2 (Engine.IO 3) against a server that allows it, next
// to a client of today. The server is mode "node" of the implementation under test.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import io2 from "socket.io-client-v2";
import { closeClientsAfterEach, connect, inbox, transportsOf } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { startTarget } from "../lib/process.mjs";
import { address, send } from "../lib/raw.mjs";
import { once, until, within } from "../lib/wait.mjs";

let server;
before(async () => (server = await startTarget("node", { allowEIO3: true, pingInterval: 300, pingTimeout: 10_000 })));
after(() => server?.kill());
closeClientsAfterEach();

const sockets = new Set();
afterEach(() => {
  for (const socket of sockets) socket.io.close();
  sockets.clear();
});

function open2(nsp = "/", opts = {}) {
  const socket = io2(server.url + nsp, { forceNew: true, reconnection: false, ...opts });
  sockets.add(socket);
  return socket;
}

async function connect2(nsp, opts) {
  const socket = open2(nsp, opts);
  await once(socket, "connect");
  return socket;
}

const echo = (socket, ...args) =>
  within(new Promise((resolve) => socket.emit("echo", ...args, (...got) => resolve(got))), "the echo");

async function reasonOf(id) {
  const entry = async () => (await ctl(server, "log")).find((e) => e.id === id && e.event === "disconnect");
  return (await until(entry, `the server to log the end of ${id}`)).reason;
}

const variants = {
  ...Object.fromEntries(Object.entries(transportsOf).map(([name, transports]) => [name, { transports }])),
  "polling with base64": { transports: ["polling"], forceBase64: true },
  "websocket with base64": { transports: ["websocket"], forceBase64: true },
};

for (const [name, opts] of Object.entries(variants)) {
  describe(`client 2.x over ${name}`, { timeout: 60_000 }, () => {
    const dial = (nsp, more) => connect2(nsp, { ...opts, ...more });

    it("has the session's id", async () => {
      const socket = await dial();
      assert.equal(socket.id, socket.io.engine.id);
      await until(async () => (await ctl(server, "sockets")).some((s) => s.id === socket.id), "the server to know the id");
    });

    it("exchanges text and binary", async () => {
      const socket = await dial();
      const values = ["", "€uro", "😀", "a\u2028b\u0000", 1.5, null, [1, { deep: true }], { a: "\ud83d\ude00", b: [] }, "x".repeat(100_000)];
      assert.deepEqual(await echo(socket, ...values), values);
      const bytes = Buffer.from([0, 1, 2, 254, 255]);
      const [text, object, big] = await echo(socket, "€", { at: [bytes] }, Buffer.alloc(70_000, 7));
      assert.equal(text, "€");
      assert.deepEqual(Buffer.from(object.at[0]), bytes);
      assert.deepEqual(Buffer.from(big), Buffer.alloc(70_000, 7));
    });

    it("keeps its order while it upgrades", async () => {
      const socket = await dial();
      const got = await within(Promise.all(Array.from({ length: 200 }, (_, i) => echo(socket, i))), "200 echoes");
      assert.deepEqual(got.flat(), Array.from({ length: 200 }, (_, i) => i));
      if (name === "upgrade") await until(() => socket.io.engine.transport.name === "websocket", "the upgrade");
      assert.deepEqual(await echo(socket, "after"), ["after"]);
    });

    it("stays connected by its heartbeat", async () => {
      const socket = await dial();
      for (let pongs = 0; pongs < 3; pongs++) await once(socket, "pong");
      assert.ok(socket.connected);
    });

    it("joins a namespace with a query", async () => {
      const socket = await dial("/custom?token=a%20b&token=c", opts);
      assert.equal(socket.id, `/custom#${socket.io.engine.id}`);
      const all = await ctl(server, "fetchSockets", { nsp: "/custom" });
      const mine = all.find((s) => s.id === socket.id);
      assert.deepEqual(mine.handshake.auth, { token: "c" });
      assert.deepEqual(mine.rooms, [socket.id]);
      assert.deepEqual(await echo(socket, "x"), ["x"]);
    });

    it("is told of a namespace that does not exist", async () => {
      const socket = open2("/nowhere", opts);
      const [error] = await once(socket, "error");
      assert.deepEqual(error, { message: "Invalid namespace" });
    });

    it("talks with a client of today", async () => {
      const old = await dial();
      const today = await connect(server.url);
      const box = inbox(today);
      old.emit("relayRoom", today.id, "hi", "€", Buffer.from([1, 2]));
      await until(() => box.length === 1, "the message to the client of today");
      assert.deepEqual(box[0].slice(0, 3), ["hi", old.id, "€"]);
      assert.deepEqual(Buffer.from(box[0][3]), Buffer.from([1, 2]));
      const hello = once(old, "hello");
      today.emit("relayRoom", old.id, "hello", { at: Buffer.from([3]) });
      const [from, value] = await hello;
      assert.equal(from, today.id);
      assert.deepEqual(Buffer.from(value.at), Buffer.from([3]));
    });

    it("is disconnected by the server, and leaves by itself", async () => {
      const socket = await dial();
      const first = socket.id;
      const gone = once(socket, "disconnect");
      await ctl(server, "disconnectSockets", { to: [first] });
      assert.deepEqual(await gone, ["io server disconnect"]);
      assert.equal(await reasonOf(first), "server namespace disconnect");
      const other = await dial();
      const { id } = other;
      other.disconnect();
      assert.match(await reasonOf(id), /^(client namespace disconnect|transport close)$/);
    });
  });
}

describe("JSONP", { timeout: 30_000 }, () => {
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const payloadOf = (got) => {
    assert.equal(got.headers["content-type"], "text/plain; charset=UTF-8");
    const [, literal] = /^___eio\[3\]\((".*")\);$/s.exec(got.body);
    return JSON.parse(literal);
  };

  for (const EIO of [3, 4]) {
    it(`serves Engine.IO ${EIO}`, async () => {
      const query = { EIO, transport: "polling", j: 3, b64: 1 };
      const first = payloadOf(await send(address(server.url, "/socket.io/", query)));
      const { sid } = JSON.parse(first.slice(first.indexOf("{")));
      const url = address(server.url, "/socket.io/", { ...query, sid });
      const post = (payload) =>
        send(url, { method: "POST", headers: form, body: `d=${encodeURIComponent(payload)}` });
      if (EIO === 4) assert.equal((await post("40")).body, "ok");
      const connected = payloadOf(await send(url));
      assert.match(connected, EIO === 4 ? /^40\{"sid":/ : /^2:40$/);
      const framed = (packet) => (EIO === 4 ? packet : `${packet.length}:${packet}`);
      const escaped = framed('4217["echo","a\\nb\u2028€"]').replace(/\\n/g, "\\\\n"); // as the client does
      assert.equal((await post(escaped)).status, 200);
      assert.equal(payloadOf(await send(url)), framed('4317["a\\nb\u2028€"]'));
    });
  }
});
