// The real socket.io-client against one server without an adapter, over each
// transport. The server is mode "node" of the implementation under test.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeClientsAfterEach, connect, connected, inbox, manager, open, transportsOf, upgraded } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { startTarget } from "../lib/process.mjs";
import { startProxy } from "../lib/proxy.mjs";
import { openPolling } from "../lib/raw.mjs";
import * as samples from "../lib/samples.mjs";
import { once, until } from "../lib/wait.mjs";

let server;
before(async () => (server = await startTarget("node")));
after(() => server?.kill());
closeClientsAfterEach();

const range = (n) => Array.from({ length: n }, (_, i) => i + 1);

async function logOf(id, event, node = server) {
  return (await ctl(node, "log")).find((entry) => entry.id === id && entry.event === event);
}

async function reasonOf(id, node) {
  return (await until(() => logOf(id, "disconnect", node), `the server to log the end of ${id}`)).reason;
}

for (const [name, transports] of Object.entries(transportsOf)) {
  describe(`client over ${name}`, { timeout: 60_000 }, () => {
    const dial = (nsp, opts) => connect(server.url, nsp, { transports, ...opts });

    connecting(name, dial, transports);
    exchanging(name, dial);
    addressing(name, dial, transports);
    leaving(name, dial, transports);
    ordering(name, dial, transports);
  });
}

function connecting(name, dial, transports) {
  it("connects with an id of 20 characters that the server logs", async () => {
    const socket = await dial();
    assert.match(socket.id, /^[\w-]{20}$/);
    const entry = await until(() => logOf(socket.id, "connection"), "the connection in the log");
    assert.deepEqual(entry, { event: "connection", nsp: "/", id: socket.id, recovered: false });
    assert.ok(!socket.recovered);
  });

  it("shows the server a full handshake", async () => {
    const from = Date.now();
    const auth = { token: "abc", nested: { n: [1, "é"] } };
    const query = { room: "a b&c=ü", twice: "2" };
    const socket = await dial("/", { auth, query, extraHeaders: { "X-Custom": "Value" } });
    const { handshake } = (await ctl(server, "sockets")).find((s) => s.id === socket.id);
    assert.deepEqual(Object.keys(handshake).sort(),
      ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
    assert.deepEqual(handshake.auth, auth);
    assert.deepEqual(
      { room: handshake.query.room, twice: handshake.query.twice, EIO: handshake.query.EIO, transport: handshake.query.transport },
      { ...query, EIO: "4", transport: transports[0] });
    assert.equal(handshake.query.token, undefined, "auth is not part of the query");
    assert.equal(handshake.headers["x-custom"], "Value");
    assert.match(handshake.headers.host, /^localhost:\d+$/);
    assert.match(handshake.address, /^(::ffff:)?127\.0\.0\.1$|^::1$/);
    assert.equal(handshake.secure, false);
    assert.equal(handshake.xdomain, false);
    assert.match(handshake.url, /^\/socket\.io\/\?/);
    assert.ok(handshake.issued >= from - 1000 && handshake.issued <= Date.now() + 1000, `issued ${handshake.issued}`);
    assert.ok(Math.abs(Date.parse(handshake.time) - handshake.issued) <= 1000, `time ${handshake.time}`);
  });

  it("sees an empty object when the client sends no auth, and xdomain with an Origin", async () => {
    // Same-origin, so that a server with an origin policy lets it pass.
    const socket = await dial("/", { extraHeaders: { Origin: server.url } });
    const { handshake } = (await ctl(server, "sockets")).find((s) => s.id === socket.id);
    assert.deepEqual(handshake.auth, {});
    assert.equal(handshake.xdomain, true);
  });

  it("refuses an unknown namespace and keeps the connection", async () => {
    const shared = manager(server.url, { transports });
    const [err] = await once(shared.socket("/unknown"), "connect_error");
    assert.equal(err.message, "Invalid namespace");
    const socket = await connected(shared.socket("/"));
    assert.equal(await socket.emitWithAck("echo", 1), 1);
  });

  it("serves several namespaces over one connection", async () => {
    const shared = manager(server.url, { transports });
    const sockets = ["/", "/custom", "/dyn-one", "/dyn-two_2"].map((nsp) => shared.socket(nsp));
    await Promise.all(sockets.map(connected));
    assert.equal(new Set(sockets.map((s) => s.id)).size, 4, "ids differ");
    const answers = await Promise.all(sockets.map((s, i) => s.emitWithAck("echo", i)));
    assert.deepEqual(answers, [0, 1, 2, 3]);
    for (const [i, socket] of sockets.entries()) {
      const got = once(socket, "only");
      await ctl(server, "emit", { nsp: socket.nsp, event: "only", args: [i], to: [socket.id] });
      assert.deepEqual(await got, [i]);
    }
    const { id } = sockets[1];
    sockets[1].disconnect();
    assert.equal(await reasonOf(id), "client namespace disconnect");
    assert.equal(await sockets[2].emitWithAck("echo", "alive"), "alive");
  });

  it("keeps the namespaces apart", async () => {
    const [main, custom] = [await dial("/"), await dial("/custom")];
    const seen = inbox(main);
    await ctl(server, "emit", { nsp: "/custom", event: "secret" });
    await ctl(server, "emit", { nsp: "/", event: "open" });
    await until(() => seen.length, "an event");
    assert.deepEqual(seen, [["open"]]);
    assert.ok(custom.connected);
  });

  it("refuses a name the dynamic pattern does not match", async () => {
    const socket = open(server.url, "/dyn-no!", { transports });
    const [err] = await once(socket, "connect_error");
    assert.equal(err.message, "Invalid namespace");
  });
}

function exchanging(name, dial) {
  it("echoes every kind of JSON value", async () => {
    const socket = await dial();
    for (const value of [...samples.json, ...samples.text]) {
      assert.deepEqual(await socket.emitWithAck("echo", value), value);
    }
    const many = await new Promise((resolve) => socket.emit("echo", ...samples.json, (...args) => resolve(args)));
    assert.deepEqual(many, samples.json);
  });

  it("gets every kind of JSON value from the server, in order", async () => {
    const socket = await dial();
    const seen = inbox(socket);
    const values = [...samples.json, ...samples.text];
    for (const value of values) await ctl(server, "socketEmit", { id: socket.id, event: "value", args: [value] });
    await ctl(server, "socketEmit", { id: socket.id, event: "all", args: values });
    await ctl(server, "socketEmit", { id: socket.id, event: "none" });
    await until(() => seen.length === values.length + 2, "all events");
    assert.deepEqual(seen, [...values.map((v) => ["value", v]), ["all", ...values], ["none"]]);
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

  it("carries unicode event names and numbers of arguments", async () => {
    const socket = await dial();
    const got = once(socket, "événement ✓");
    await ctl(server, "socketEmit", { id: socket.id, event: "événement ✓", args: range(20) });
    assert.deepEqual(await got, range(20));
  });

  it("gets the right answer for each of many concurrent acks", async () => {
    const socket = await dial();
    const answers = await Promise.all(range(200).map((i) => socket.emitWithAck("echo", i)));
    assert.deepEqual(answers, range(200));
  });

  it("answers acks the server asks for, with text and binary", async () => {
    const socket = await dial();
    socket.on("ask", (value, ack) => ack(value));
    for (const value of [null, 1, "é", { a: [1] }, Buffer.from("bin"), { b: Buffer.alloc(0) }]) {
      const answer = await ctl(server, "socketEmitWithAck", { id: socket.id, event: "ask", args: [value] });
      assert.deepEqual(answer, value);
    }
  });

  it("makes the server's ack time out when the client stays silent", async () => {
    const socket = await dial();
    socket.on("ask", () => {});
    const asked = ctl(server, "socketEmitWithAck", { id: socket.id, event: "ask", timeout: 100 });
    await assert.rejects(asked, { message: "operation has timed out" });
    assert.equal(await socket.emitWithAck("echo", "alive"), "alive");
  });

  it("collects the acks of a broadcast, complete or cut by the timeout", async () => {
    const sockets = [await dial("/dyn-acks"), await dial("/dyn-acks")];
    sockets.forEach((socket, i) => socket.on("ask", (ack) => ack(i)));
    const all = await ctl(server, "emitWithAck", { nsp: "/dyn-acks", event: "ask", timeout: 3000 });
    assert.deepEqual({ ...all, responses: all.responses.sort() }, { err: null, responses: [0, 1] });

    sockets[1].off("ask");
    const partial = await ctl(server, "emitWithAck", { nsp: "/dyn-acks", event: "ask", timeout: 300 });
    assert.deepEqual(partial, { err: "operation has timed out", responses: [0] });

    const none = await ctl(server, "emitWithAck", { nsp: "/dyn-acks", event: "ask", to: ["nobody"], timeout: 3000 });
    assert.deepEqual(none, { err: null, responses: [] });
  });
}

function addressing(name, dial, transports) {
  // The three clients of a test live in a namespace of its own, so that broadcasts reach no other.
  const trio = async (label) => {
    const nsp = `/dyn-${label}-${name}`;
    const sockets = await Promise.all([dial(nsp), dial(nsp), dial(nsp)]);
    const boxes = sockets.map(inbox);
    // Whatever was emitted before the marker has arrived once the marker has.
    const seen = async () => {
      const marker = `marker-${Math.random()}`;
      await ctl(server, "emit", { nsp, event: marker });
      await until(() => boxes.every((box) => box.some(([e]) => e === marker)), "the marker");
      return boxes.map((box) => box.splice(0).filter(([e]) => !e.startsWith("marker-")));
    };
    return { nsp, sockets, seen };
  };

  it("addresses rooms, ids, exceptions and everyone", async () => {
    const { nsp, sockets: [a, b, c], seen } = await trio("rooms");
    await ctl(server, "join", { nsp, id: a.id, rooms: ["red", "blue"] });
    await ctl(server, "join", { nsp, id: b.id, rooms: ["blue"] });
    assert.deepEqual(await ctl(server, "rooms", { nsp, id: a.id }), [a.id, "blue", "red"].sort());

    const emit = (event, where) => ctl(server, "emit", { nsp, event, ...where });
    await emit("all", {});
    await emit("red", { to: ["red"] });
    await emit("either", { to: ["red", "blue"] });
    await emit("id", { to: [c.id] });
    await emit("except", { except: ["red"] });
    await emit("blue-but-b", { to: ["blue"], except: [b.id] });
    await emit("others", { from: a.id });
    await emit("nobody", { to: ["no such room"] });
    await ctl(server, "leave", { nsp, id: a.id, rooms: ["blue"] });
    await emit("blue-later", { to: ["blue"] });
    assert.deepEqual(await seen(), [
      [["all"], ["red"], ["either"], ["blue-but-b"]],
      [["all"], ["either"], ["except"], ["others"], ["blue-later"]],
      [["all"], ["id"], ["except"], ["others"]],
    ]);
  });

  it("relays between clients, sender left out or not", async () => {
    const { nsp, sockets: [a, b, c], seen } = await trio("relay");
    await ctl(server, "join", { nsp, id: a.id, rooms: ["room"] });
    await ctl(server, "join", { nsp, id: b.id, rooms: ["room"] });
    const bytes = Buffer.from("bytes");
    a.emit("relay", "r1", 1, bytes);
    a.emit("relayAll", "r2", { two: 2 });
    a.emit("relayRoom", "room", "r3");
    await a.emitWithAck("echo", "flushed");
    assert.deepEqual(await seen(), [
      [["r2", a.id, { two: 2 }]],
      [["r1", a.id, 1, bytes], ["r2", a.id, { two: 2 }], ["r3", a.id]],
      [["r1", a.id, 1, bytes], ["r2", a.id, { two: 2 }]],
    ]);
    assert.ok(c.connected);
  });

  it("moves and drops sockets by room", async () => {
    const { nsp, sockets: [a, b, c], seen } = await trio("moves");
    await ctl(server, "socketsJoin", { nsp, rooms: ["one", "two"], except: [c.id] });
    await ctl(server, "socketsLeave", { nsp, to: [b.id], rooms: ["two"] });
    await ctl(server, "emit", { nsp, event: "one", to: ["one"] });
    await ctl(server, "emit", { nsp, event: "two", to: ["two"] });
    assert.deepEqual(await seen(), [[["one"], ["two"]], [["one"]], []]);
    const gone = once(a, "disconnect");
    await ctl(server, "disconnectSockets", { nsp, to: ["two"] });
    assert.equal((await gone)[0], "io server disconnect");
    const left = (await ctl(server, "fetchSockets", { nsp })).map((s) => s.id).sort();
    assert.deepEqual(left, [b.id, c.id].sort());
  });

  it("keeps data with the socket and counts one server", async () => {
    const socket = await dial("/dyn-data");
    await ctl(server, "setData", { nsp: "/dyn-data", id: socket.id, data: { user: "é", n: [1, null] } });
    const [found] = await ctl(server, "fetchSockets", { nsp: "/dyn-data", to: [socket.id] });
    assert.deepEqual(found.data, { user: "é", n: [1, null] });
    assert.deepEqual(found.rooms, [socket.id]);
    assert.equal(await ctl(server, "serverCount", {}), 1);
  });

  it("delivers volatile events to a client that can take them", async () => {
    const socket = await dial();
    let got = 0;
    socket.on("maybe", () => got++);
    await until(async () => {
      await ctl(server, "emit", { event: "maybe", volatile: true, to: [socket.id] });
      return got;
    }, "a volatile event");
  });

  if (name !== "polling") return;
  it("drops volatile events while no poll is waiting", async () => {
    const session = await openPolling(server.url, "/socket.io/");
    await session.post("40");
    const { sid } = JSON.parse((await session.poll()).body.slice(2));
    await ctl(server, "emit", { event: "maybe", volatile: true, to: [sid] });
    await ctl(server, "emit", { event: "sure", to: [sid] });
    assert.equal((await session.poll()).body, '42["sure"]');
    await session.post("1");
  });
}

function leaving(name, dial, transports) {
  it("leaves on its own", async () => {
    const socket = await dial();
    const { id } = socket;
    const gone = once(socket, "disconnect");
    socket.disconnect();
    assert.equal((await gone)[0], "io client disconnect");
    assert.equal(await reasonOf(id), "client namespace disconnect");
    assert.equal((await ctl(server, "sockets")).some((s) => s.id === id), false);
  });

  it("is told to leave by the server", async () => {
    const socket = await dial();
    const { id } = socket;
    const gone = once(socket, "disconnect");
    await ctl(server, "socketDisconnect", { id, close: false });
    assert.equal((await gone)[0], "io server disconnect");
    assert.equal(await reasonOf(id), "server namespace disconnect");
  });

  it("loses every namespace when the server closes the connection", async () => {
    const shared = manager(server.url, { transports });
    const [one, two] = await Promise.all([connected(shared.socket("/")), connected(shared.socket("/custom"))]);
    const ids = [one.id, two.id];
    const closed = once(shared, "close");
    await ctl(server, "socketDisconnect", { id: one.id, close: true });
    await closed;
    assert.equal(one.connected || two.connected, false);
    assert.deepEqual([await reasonOf(ids[0]), await reasonOf(ids[1])],
      ["server namespace disconnect", "server namespace disconnect"]);
  });

  it("is logged as transport close when it closes the connection itself", async () => {
    const socket = await dial();
    const { id } = socket;
    if (name === "upgrade") await upgraded(socket);
    socket.io.engine.close();
    assert.equal(await reasonOf(id), "transport close");
  });

  it("comes back with a new id after the network dropped it", async () => {
    // A session lost between two polls ends by its heartbeat only.
    const nervous = await startTarget("node", { pingInterval: 400, pingTimeout: 1600 });
    const proxy = await startProxy(nervous.port);
    try {
      const socket = await connect(proxy.url, "/", { transports, reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 20 });
      if (name === "upgrade") await upgraded(socket);
      assert.equal(await socket.emitWithAck("echo", "settled"), "settled");
      const { id } = socket;
      let reason;
      socket.once("disconnect", (why) => (reason = why));
      // Between two polls there is nothing to lose: drop until something was.
      await until(() => reason ?? proxy.drop(), "the client to notice");
      assert.match(reason, /^transport (close|error)$/);
      await until(() => socket.connected, "the client to come back");
      assert.notEqual(socket.id, id);
      assert.ok(!socket.recovered);
      assert.match(await reasonOf(id, nervous), /^(transport (close|error)|ping timeout)$/);
      assert.equal(await socket.emitWithAck("echo", "back"), "back");
    } finally {
      proxy.close();
      await nervous.kill();
    }
  });

  it("sees transport close when the server stops, and the server exits with 0", async () => {
    const mortal = await startTarget("node");
    try {
      const socket = await connect(mortal.url, "/", { transports });
      if (name === "upgrade") await upgraded(socket);
      const gone = once(socket, "disconnect");
      await ctl(mortal, "stop");
      assert.equal((await gone)[0], "transport close");
      assert.deepEqual(await mortal.exited, { code: 0, signal: null });
    } finally {
      await mortal.kill();
    }
  });
}

function ordering(name, dial, transports) {
  it("loses and reorders nothing while the connection comes up and upgrades", async () => {
    const socket = await dial("/dyn-order");
    const nsp = "/dyn-order";
    const { id } = socket;
    const [down, echoed] = [[], []];
    socket.on("n", (n) => down.push(n));
    // Bursts of both kinds, spread over the whole upgrade.
    for (let n = 1; n <= 500; n += 50) {
      for (let i = n; i < n + 50; i++) socket.emit("echo", i, (value) => echoed.push(value));
      const ops = range(50).map((i) => ({ op: "socketEmit", nsp, id, event: "n", args: [n + i - 1] }));
      await ctl(server, "batch", { ops });
    }
    await until(() => down.length >= 500 && echoed.length >= 500, "all messages");
    assert.deepEqual(down, range(500));
    assert.deepEqual(echoed, range(500));
    if (name === "upgrade") await upgraded(socket);
    assert.equal(await socket.emitWithAck("echo", "after"), "after");
  });

  if (name !== "upgrade") return;
  it("keeps the order with messages sent all through the upgrade", async () => {
    const nsp = "/dyn-order";
    const socket = await dial(nsp);
    const down = [];
    const up = [];
    socket.on("n", (n) => down.push(n));
    let [sent, received] = [0, 0];
    let settled = 0;
    await until(async () => {
      socket.emit("echo", ++sent, (n) => up.push(n));
      await ctl(server, "socketEmit", { nsp, id: socket.id, event: "n", args: [++received] });
      if (socket.io.engine.transport.name === "websocket") settled++;
      return settled > 20;
    }, "the upgrade under load");
    await until(() => down.length === received && up.length === sent, "the rest");
    assert.deepEqual(down, range(received));
    assert.deepEqual(up, range(sent));
  });
}
