// The real client with socket.io-msgpack-parser against one server that speaks
// it, over each transport; and packets by hand that a decoder must refuse.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import parser from "socket.io-msgpack-parser";
import { closeClientsAfterEach, connect, connected, inbox, manager, transportsOf, upgraded } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { startTarget } from "../lib/process.mjs";
import { openPolling, openWebSocket } from "../lib/raw.mjs";
import * as samples from "../lib/samples.mjs";
import { encode } from "../lib/values.mjs";
import { once, until, within } from "../lib/wait.mjs";

const PATH = "/socket.io/";
const encoder = new parser.Encoder();
let server;
before(async () => (server = await startTarget("node", { parser: "msgpack" })));
after(() => server?.kill());
closeClientsAfterEach();

// same compares values as JSON: the reference keeps dates, undefined and kinds of
// binary apart where handlers in Go see text, nothing and bytes.
const same = (got, want) => assert.deepEqual(encode(got), encode(want));

// notepack.io writes whole numbers beyond 64 bits as others.
const values = samples.json.filter((value) => value !== 1e21);
const date = new Date("2020-02-29T12:34:56.789Z");
const bytes = (...values) => Uint8Array.from(values);
const special = [
  date, new Date(0), new Date(-1), [date, { at: date }],
  2 ** 31, 2 ** 32, -(2 ** 31) - 1, 2 ** 52, -(2 ** 52), 0.1, 1e-300, 127, 128, 255, 256, 65535, 65536, -32, -33, -128, -129,
  "x".repeat(31), "x".repeat(32), "é".repeat(200), "y".repeat(70_000),
  Array.from({ length: 20 }, (_, i) => i), Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i])),
  { gone: undefined, kept: 1 }, { all: { gone: undefined } },
  bytes(), bytes(7), bytes(1, 2, 3, 4, 5, 6, 7, 8), bytes(9).buffer, new Uint16Array([1, 256]), { deep: [{ bytes: bytes(0, 255) }] },
  { _placeholder: true, num: 0 }, [{ _placeholder: true, num: 0 }, Buffer.from("beside a literal placeholder")],
];

for (const [name, transports] of Object.entries(transportsOf)) {
  describe(`msgpack over ${name}`, { timeout: 60_000 }, () => {
    const dial = (nsp, opts) => connect(server.url, nsp, { transports, parser, ...opts });

    connecting(name, dial, transports);
    exchanging(name, dial);
    leaving(dial, transports);
  });
}

function connecting(name, dial, transports) {
  it("connects and shows the server its auth", async () => {
    const auth = { token: "é", nested: { n: [1, null] } };
    const socket = await dial("/", { auth });
    assert.match(socket.id, /^[\w-]{20}$/);
    const { handshake } = (await ctl(server, "sockets")).find((s) => s.id === socket.id);
    assert.deepEqual(handshake.auth, auth);
    const bare = await dial();
    const found = (await ctl(server, "sockets")).find((s) => s.id === bare.id);
    assert.deepEqual(found.handshake.auth, {});
  });

  it("serves several namespaces and refuses an unknown one", async () => {
    const shared = manager(server.url, { transports, parser });
    const [err] = await once(shared.socket("/unknown"), "connect_error");
    assert.equal(err.message, "Invalid namespace");
    const sockets = ["/", "/custom", "/dyn-msgpack"].map((nsp) => shared.socket(nsp));
    await Promise.all(sockets.map(connected));
    assert.deepEqual(await Promise.all(sockets.map((s, i) => s.emitWithAck("echo", i))), [0, 1, 2]);
    for (const [i, socket] of sockets.entries()) {
      const got = once(socket, "only");
      await ctl(server, "emit", { nsp: socket.nsp, event: "only", args: [i], to: [socket.id] });
      assert.deepEqual(await got, [i]);
    }
  });

  if (name !== "upgrade") return;
  it("keeps the order through the upgrade", async () => {
    const socket = await dial();
    const echoed = [];
    for (let i = 0; i < 300; i++) socket.emit("echo", i, Buffer.from([i % 256]), (n, b) => echoed.push([n, b[0]]));
    await upgraded(socket);
    await until(() => echoed.length === 300, "all answers");
    assert.deepEqual(echoed, Array.from({ length: 300 }, (_, i) => [i, i % 256]));
  });
}

function exchanging(name, dial) {
  it("echoes every kind of value", async () => {
    const socket = await dial();
    for (const value of [...values, ...samples.text, ...special]) same(await socket.emitWithAck("echo", value), value);
    const many = await new Promise((resolve) => socket.emit("echo", ...values, (...args) => resolve(args)));
    assert.deepEqual(many, values);
  });

  it("reads undefined arguments as null", async () => {
    const socket = await dial();
    same(await socket.emitWithAck("echo", [1, undefined, 2]), [1, undefined, 2]);
    const back = await new Promise((resolve) => socket.emit("echo", undefined, "last", (...args) => resolve(args)));
    same(back, [undefined, "last"]);
  });

  it("gets every kind of JSON value from the server, in order", async () => {
    const socket = await dial();
    const seen = inbox(socket);
    const sent = [...values, ...samples.text];
    for (const value of sent) await ctl(server, "socketEmit", { id: socket.id, event: "value", args: [value] });
    await ctl(server, "socketEmit", { id: socket.id, event: "none" });
    await until(() => seen.length === sent.length + 1, "all events");
    assert.deepEqual(seen, [...sent.map((v) => ["value", v]), ["none"]]);
  });

  for (const [what, value] of samples.binary) {
    it(`carries ${what} both ways`, async () => {
      const socket = await dial();
      assert.deepEqual(await socket.emitWithAck("echo", value), value);
      const got = once(socket, "bin");
      await ctl(server, "socketEmit", { id: socket.id, event: "bin", args: ["before", value, "after"] });
      assert.deepEqual(await got, ["before", value, "after"]);
    });
  }

  it("answers acks the server asks for, one client or many", async () => {
    const nsp = `/dyn-packed-${name}`;
    const sockets = [await dial(nsp), await dial(nsp)];
    sockets.forEach((socket, i) => socket.on("ask", (value, ack) => ack({ i, value })));
    for (const value of [null, 1, "é", { a: [1] }, Buffer.from("bin"), { b: Buffer.alloc(0) }]) {
      const one = await ctl(server, "socketEmitWithAck", { nsp, id: sockets[1].id, event: "ask", args: [value] });
      assert.deepEqual(one, { i: 1, value });
      const all = await ctl(server, "emitWithAck", { nsp, event: "ask", args: [value], timeout: 3000 });
      assert.equal(all.err, null);
      assert.deepEqual(all.responses.sort((a, b) => a.i - b.i), [{ i: 0, value }, { i: 1, value }]);
    }
  });

  it("relays binary and text between clients", async () => {
    const nsp = `/dyn-relay-${name}`;
    const [a, b] = [await dial(nsp), await dial(nsp)];
    const seen = inbox(b);
    a.emit("relay", "r1", Buffer.from("bytes"), { é: [1.5] });
    a.emit("relayAll", "r2");
    await until(() => seen.length === 2, "both events");
    assert.deepEqual(seen, [["r1", a.id, Buffer.from("bytes"), { é: [1.5] }], ["r2", a.id]]);
  });
}

function leaving(dial, transports) {
  it("leaves on its own", async () => {
    const socket = await dial();
    const { id } = socket;
    socket.disconnect();
    await until(async () => (await ctl(server, "log")).some((e) => e.id === id && e.reason === "client namespace disconnect"),
      "the server to log the end");
  });

  it("is told to leave one namespace and keeps the other", async () => {
    const shared = manager(server.url, { transports, parser });
    const [one, two] = await Promise.all([connected(shared.socket("/")), connected(shared.socket("/custom"))]);
    const gone = once(one, "disconnect");
    await ctl(server, "socketDisconnect", { id: one.id, close: false });
    assert.equal((await gone)[0], "io server disconnect");
    assert.equal(await two.emitWithAck("echo", "here"), "here");
  });
}

describe("msgpack on the wire", { timeout: 30_000 }, () => {
  const pack = (packet) => encoder.encode(packet)[0];
  const unpack = (chunk) => {
    let packet;
    const decoder = new parser.Decoder();
    decoder.on("decoded", (p) => (packet = p));
    decoder.add(chunk);
    return packet;
  };
  const dial = async () => {
    const ws = openWebSocket(server.url, PATH, {}, { heartbeat: true });
    assert.equal((await ws.next())[0], "0");
    return ws;
  };
  const joined = async () => {
    const ws = await dial();
    ws.send(pack({ type: 0, nsp: "/" }));
    return { ws, connect: await ws.next() };
  };

  it("answers CONNECT byte for byte as the reference does", async () => {
    const { ws, connect } = await joined();
    const { sid } = unpack(connect).data;
    assert.deepEqual(connect, pack({ type: 0, data: { sid, pid: undefined }, nsp: "/" }));
    ws.send(pack({ type: 2, data: ["echo", 1, Buffer.from("x")], id: 3, nsp: "/" }));
    assert.deepEqual(await ws.next(), pack({ id: 3, type: 3, data: [1, Buffer.from("x")], nsp: "/" }));
    await ctl(server, "socketEmit", { id: sid, event: "e", args: [1.5, "é", Buffer.alloc(0), null] });
    assert.deepEqual(await ws.next(), pack({ type: 2, data: ["e", 1.5, "é", Buffer.alloc(0), null], nsp: "/" }));
    await ctl(server, "socketDisconnect", { id: sid, close: false });
    assert.deepEqual(await ws.next(), pack({ type: 1, nsp: "/" }));
    ws.close();
  });

  it("is base64 over polling", async () => {
    const session = await openPolling(server.url, PATH);
    assert.equal((await session.post(`b${pack({ type: 0, nsp: "/" }).toString("base64")}`)).body, "ok");
    const { body } = await session.poll();
    assert.equal(body[0], "b");
    assert.match(unpack(Buffer.from(body.slice(1), "base64")).data.sid, /^[\w-]{20}$/);
    await session.post("1");
  });

  const hex = (text) => Buffer.from(text, "hex");
  const refused = [
    ["text", '2["echo",1]'],
    ["a type of nil", pack({ type: null, nsp: "/" })],
    ["a type too high", pack({ type: 5, data: ["a"], nsp: "/" })],
    ["a namespace that is no string", pack({ type: 2, data: ["a"], nsp: 1 })],
    ["an event with an object", pack({ type: 2, data: {}, nsp: "/" })],
    ["an event without data", pack({ type: 2, nsp: "/" })],
    ["a disconnect with nil", pack({ type: 1, data: null, nsp: "/" })],
    ["an id of nil", pack({ type: 2, data: ["a"], id: null, nsp: "/" })],
    ["an id with a fraction", pack({ type: 2, data: ["a"], id: 1.5, nsp: "/" })],
    ["trailing bytes", Buffer.concat([pack({ type: 2, data: ["a"], nsp: "/" }), hex("00")])],
    ["a packet cut short", pack({ type: 2, data: ["a"], nsp: "/" }).subarray(0, -1)],
    ["a reserved byte", hex("83a47479706502a46461746192a161c1a36e7370a12f")],
    ["no map", hex("93020100")],
  ];
  for (const [what, frame] of refused) {
    it(`refuses ${what} and closes that connection only`, async () => {
      const bystander = (await joined()).ws;
      const { ws } = await joined();
      ws.send(frame);
      await within(ws.closed, "the connection to be closed");
      bystander.send(pack({ type: 2, data: ["echo", "here"], id: 0, nsp: "/" }));
      assert.deepEqual(await bystander.next(), pack({ id: 0, type: 3, data: ["here"], nsp: "/" }));
      bystander.close();
    });
  }
});
