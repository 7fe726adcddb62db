// The same program with this client and with socket.io-client: what each of them
// asks of the server, and tells the program, is compared.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { WebSocketServer } from "ws";
import * as official from "../../conformance/node_modules/socket.io-client/build/esm/index.js";
import { client, closeAfterEach, ctl, once, server, startProxy, track, until } from "./lib.mjs";

closeAfterEach();

/** Runs a program with both clients; it returns what there is to compare. */
async function same(program) {
  const got = await program(client);
  const want = await program(official);
  assert.deepEqual(got, want);
  return got;
}

/** Records the names of events, and what pick makes of their arguments. */
function record(list, emitter, events, pick = () => []) {
  for (const e of events) emitter.on(e, (...args) => list.push([e, ...pick(e, args)].join(" ")));
}

const tick = () => new Promise((done) => setImmediate(done));

describe("what is asked of a server", { timeout: 60_000 }, () => {
  let http, url, seen;
  before(async () => {
    const note = (req) => seen(req);
    http = createServer((req, res) => {
      note(req);
      res.writeHead(404).end();
    });
    http.on("upgrade", (req, socket) => {
      note(req);
      socket.destroy();
    });
    await new Promise((done) => http.listen(0, done));
    url = `http://localhost:${http.address().port}`;
  });
  after(() => {
    http.closeAllConnections();
    http.close();
  });

  /** The first request: its path, its query without what a time made, a header. */
  const first = (address, opts) => async ({ io }) => {
    const asked = new Promise((done) => (seen = done));
    track(io(url + address, { forceNew: true, reconnection: false, ...opts }));
    const req = await asked;
    const [path, query] = req.url.split("?");
    const pairs = [...new URLSearchParams(query)].map(([k, v]) => (/^(t|stamp)$/.test(k) ? [k, !!v] : [k, v]));
    return [req.method, path, pairs.sort(), req.headers["x-mine"]];
  };

  for (const [address, opts] of [
    ["", {}],
    ["/chat", {}],
    ["", { path: "/other" }],
    ["", { path: "/other/" }],
    ["", { path: "/other", addTrailingSlash: false }],
    ["", { addTrailingSlash: false, transports: ["websocket"] }],
    ["", { query: { a: "b c", plus: "+", "&": "=", n: 1, no: undefined } }],
    ["", { query: "a=b+c&d=%2B%20" }],
    ["/chat?token=ab+c/d%2Be==&x", {}],
    ["", { timestampRequests: false }],
    ["", { timestampParam: "stamp" }],
    ["", { transports: ["websocket"] }],
    ["", { transports: ["websocket"], timestampRequests: true }],
    ["", { extraHeaders: { "x-mine": "1" } }],
    ["", { transportOptions: { polling: { extraHeaders: { "x-mine": "2" } } } }],
    ["", { transportOptions: { websocket: { path: "/w/" } }, transports: ["websocket"] }],
    ["", { transports: ["websocket", "polling"] }],
  ]) {
    it(`${address || "/"} ${JSON.stringify(opts)}`, () => same(first(address, opts)));
  }
});

describe("what the program is told", { timeout: 120_000 }, () => {
  const s = server("node", { csr: 60_000 });
  const start = ({ io }, opts, url = s.url) => track(io(url, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 40, ...opts }));

  it("every packet of the engine, by its type's name", () =>
    same(async (lib) => {
      const socket = start(lib, { transports: ["websocket"] });
      const list = [];
      const text = (data) => (typeof data != "string" ? data?.byteLength ?? data?.length : /sid|pid/.test(data) ? "ids" : data);
      record(list, socket.io.engine, ["packetCreate", "packet", "message", "data"], (_, [p]) => (p.type ? [p.type, text(p.data)] : [text(p)]));
      await once(socket, "connect");
      await socket.emitWithAck("echo", "a");
      await socket.emitWithAck("echo", Uint8Array.of(1, 2));
      socket.disconnect();
      return list;
    }));

  it("the engine's way to its end", () =>
    same(async (lib) => {
      const socket = start(lib);
      const list = [];
      record(list, socket.io.engine, ["open", "handshake", "upgrading", "upgrade", "close"], (e, [x]) => (/upgrad/.test(e) ? [x.name] : e == "close" ? [x] : []));
      await once(socket.io.engine, "upgrade");
      if (!socket.connected) await once(socket, "connect");
      list.push(socket.io.engine.transport.name, socket.io.engine.readyState);
      socket.disconnect();
      await until(() => socket.io.engine.readyState == "closed", "the end");
      return list;
    }));

  it("what was changed between two connections is used by the next", () =>
    same(async (lib) => {
      const socket = start(lib, { transports: ["websocket"], query: { n: 1 }, auth: { a: 1 } });
      await once(socket, "connect");
      socket.io.opts.query = { n: 2 };
      socket.io.opts.extraHeaders = { "x-mine": "2" };
      socket.io.opts.transports = ["polling"];
      socket.auth.a = 2;
      const lost = once(socket, "disconnect");
      socket.io.engine.close();
      const [reason] = await lost;
      await once(socket, "connect");
      const { handshake } = (await ctl(s, "sockets")).find((e) => e.id == socket.id);
      return [reason, socket.recovered, handshake.query.n, socket.io.engine.transport.name];
    }));

  it("the session it asks back, and from where on", () =>
    same(async (lib) => {
      const socket = start(lib, { transports: ["websocket"], auth: { token: "x" } });
      await once(socket, "connect");
      const got = once(socket, "news");
      await ctl(s, "emit", { event: "news", args: [1] });
      const offset = (await got).at(-1);
      const asked = new Promise((done) => {
        socket.io.once("reconnect_attempt", () => tick().then(() => socket.io.engine.on("packetCreate", ({ data }) => data?.[0] == "0" && done(JSON.parse(data.slice(1))))));
      });
      socket.io.engine.close();
      const auth = await asked;
      await once(socket, "connect");
      return [Object.keys(auth), auth.offset == offset, auth.token, socket.recovered];
    }));

  it("attempts that fail, until the last", () =>
    same(async (lib) => {
      const list = [];
      const socket = start(lib, { autoConnect: false, reconnectionAttempts: 2 }, "http://localhost:1");
      record(list, socket, ["connect", "connect_error", "disconnect"], (_, [e]) => [e.message, e.type, socket.active]);
      record(list, socket.io, ["open", "error", "close", "reconnect_attempt", "reconnect_error", "reconnect_failed"], (e, [x]) => (e == "reconnect_attempt" ? [x] : []));
      socket.connect();
      await once(socket.io, "reconnect_failed");
      await tick();
      return [list, socket.active, socket.io._readyState];
    }));

  it("nothing, when it leaves before it has arrived", () =>
    same(async (lib) => {
      const list = [];
      const socket = start(lib);
      record(list, socket, ["connect", "connect_error", "disconnect"], (_, args) => args);
      record(list, socket.io, ["open", "error", "close"], (_, args) => args);
      socket.disconnect();
      list.push(socket.active, socket.io._readyState, socket.io.engine.readyState);
      socket.connect();
      await once(socket, "connect");
      return list;
    }));

  for (const event of ["reconnect_attempt", "reconnect_error", "error"]) {
    it(`no more attempts once it has left, at ${event}`, () =>
      same(async (lib) => {
        const list = [];
        const socket = start(lib, {}, "http://localhost:1");
        record(list, socket.io, ["reconnect_attempt", "reconnect_error", "reconnect_failed", "error"], () => []);
        await new Promise((done) => socket.io.once(event, () => done(socket.disconnect())));
        const before = list.length;
        await new Promise((done) => setTimeout(done, 150));
        return [socket.active, list.length - before];
      }));
  }

  it("how a Manager was opened, by hand", () =>
    same(async (lib) => {
      const list = [];
      const m = track(new lib.Manager(s.url, { autoConnect: false }));
      await new Promise((done) => m.open((e) => done(list.push("first", e))));
      m.open(() => list.push("again")); // it is open, nobody is told
      await tick();
      m._close();
      const dead = track(new lib.Manager("http://localhost:1", { autoConnect: false, reconnectionDelay: 20 }));
      record(list, dead, ["error", "reconnect_attempt"]);
      await new Promise((done) => dead.open((e) => done(list.push(e.message))));
      await new Promise((done) => setTimeout(done, 100)); // whoever asks by hand tries again by hand
      return list;
    }));

  it("which sockets share a connection", () =>
    same(async ({ io }) => {
      const opts = { autoConnect: false };
      const base = "http://localhost:4";
      const all = [
        io(base, opts),
        io(base + "/a", opts),
        io(base + "/a", opts),
        io(base + "/b?x=1", opts),
        io(base + "/c", { ...opts, query: { x: 2 } }),
        io(base + "/d", { ...opts, path: "/p" }),
        io(base + "/e", { ...opts, path: "/p" }),
        io(base + "/f", { ...opts, forceNew: true }),
        io(base + "/g", { ...opts, multiplex: false }),
        io(base + "/h/", opts),
        io("ws://localhost:4/i", opts),
      ];
      return all.map((x) => [x.nsp, all.map((y) => x.io == y.io)]);
    }));

  it("the fate of acknowledgements and volatile events while offline", () =>
    same(async (lib) => {
      const list = [];
      const socket = start(lib, { autoConnect: false, transports: ["websocket"] });
      socket.timeout(20).emit("echo", 1, (e) => list.push("late " + e.message));
      socket.emit("echo", 2, (v) => list.push("kept " + v));
      await until(() => list.length == 1, "the timeout");
      list.push(socket.sendBuffer.length);
      socket.connect();
      await once(socket, "connect");
      await until(() => list.length == 3, "the answer");
      socket.emit("never", () => list.push("no"));
      socket.timeout(60_000).emit("never", (e) => list.push("told " + e.message));
      const promise = socket.emitWithAck("never").catch((e) => list.push("rejected " + e.message));
      socket.io.engine.close();
      socket.volatile.emit("echo", "lost");
      await promise;
      return [list, Object.keys(socket.acks).length];
    }));

  it("repeats with retries, across a lost connection", () =>
    same(async (lib) => {
      const list = [];
      const socket = start(lib, { transports: ["websocket"], retries: 2, ackTimeout: 5000 });
      socket.emit("echo", "a", (...args) => list.push(["a", ...args]));
      const b = socket.emitWithAck("echo", "b");
      await once(socket, "connect");
      list.push(await b);
      const never = new Promise((done) => socket.timeout(15).emit("never", (e) => done(e.message)));
      const out = [];
      socket.onAnyOutgoing((event) => out.push(event));
      list.push(await never, out);
      socket.io.engine.close();
      const c = socket.emitWithAck("echo", "c");
      list.push(socket._queue.length, socket.sendBuffer.length, await c);
      return list;
    }));

  for (const transports of [["websocket"], ["polling"]]) {
    it(`why it was cut off, over ${transports}`, () =>
      same(async (lib) => {
        const proxy = await startProxy(s.port);
        const socket = start(lib, { transports, reconnection: false }, proxy.url);
        await once(socket, "connect");
        if (transports[0] == "polling") await socket.emitWithAck("echo", 1);
        const lost = once(socket, "disconnect");
        proxy.lead(0);
        proxy.drop();
        const [reason, details] = await lost;
        return [reason, details?.message, typeof details?.description == "number" ? details.description : typeof details?.description, details instanceof Error, socket.active];
      }));
  }

  it("the listeners it had, in the same order", () =>
    same(async (lib) => {
      const list = [];
      const socket = start(lib, { autoConnect: false });
      const fn = () => list.push("fn");
      socket.on("x", fn).on("x", fn).once("x", fn).off("x", fn);
      list.push(socket.listeners("x").length, socket.hasListeners("y"), socket.hasListeners("toString"));
      socket.off("x");
      list.push(socket.listeners("x").length);
      for (const name of ["connect", "disconnecting", "newListener"]) assert.throws(() => socket.emit(name), /reserved/);
      list.push(socket.send("m") == socket, socket.sendBuffer[0].data, socket.compress(false).emit("y").sendBuffer[1].options);
      return list;
    }));
});

describe("a server that says what the test wants", { timeout: 60_000 }, () => {
  let http, url;
  const replies = { text: "" };
  before(async () => {
    http = createServer();
    new WebSocketServer({ server: http }).on("connection", (peer) => {
      peer.send('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100}');
      peer.on("message", () => replies.list.splice(0).forEach((m) => peer.send(m)));
    });
    await new Promise((done) => http.listen(0, done));
    url = `http://localhost:${http.address().port}`;
  });
  after(() => {
    http.closeAllConnections();
    http.close();
  });

  for (const [what, list] of Object.entries({
    "an event before the connection": ['42["early",1]', '40{"sid":"x"}', '42["late",2]'],
    "a refusal with data": ['44{"message":"no","data":{"code":1}}'],
    "an event of another namespace": ['40{"sid":"x"}', '42/other,["x"]', '42["late"]'],
    "an acknowledgement nobody waits for": ['40{"sid":"x"}', '4399["x"]', '42["late"]'],
    "its own disconnection": ['40{"sid":"x"}', "41"],
    "a disconnection of nobody": ["41/other,", '40{"sid":"x"}'],
    "an event with a number for a name": ['40{"sid":"x"}', "42[7,1]", '42["late"]'],
    "a placeholder without attachments": ['40{"sid":"x"}', '42["late",{"_placeholder":true,"num":0}]'],
    "attachments out of range": ['40{"sid":"x"}', '451-["late",{"_placeholder":true,"num":1}]', Buffer.of(1)],
    "a namespace with a query": ['40/?token=1,{"sid":"x"}', '40{"sid":"x"}'],
    "an empty event": ['40{"sid":"x"}', "42[]"],
    "a noop": ['40{"sid":"x"}', "6", '42["late"]'],
  })) {
    it(what, () =>
      same(async ({ io }) => {
        replies.list = [...list];
        const told = [];
        const socket = track(io(url, { forceNew: true, transports: ["websocket"], reconnection: false }));
        socket.onAny((...args) => told.push(["event", ...args]));
        for (const e of ["connect", "disconnect", "connect_error"]) socket.on(e, (x) => told.push([e, x?.message ?? x, x?.data]));
        socket.on("connect", () => told.push([socket.recovered || false, socket.id]));
        await until(() => told.some(([e, x]) => e != "connect" && typeof e != "boolean" && (x == "late" || e != "event")) || (replies.list.length == 0 && list.at(-1).startsWith?.("40") && told.length > 1), "the end");
        await tick();
        return told;
      }));
  }
});
