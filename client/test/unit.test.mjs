// What needs no server: transports of the test's own.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { client, closeAfterEach, io, Manager, once, pause, Silent, track, Transport, until } from "./lib.mjs";

closeAfterEach();

class Failing extends Transport {
  get name() {
    return "failing";
  }
  doOpen() {
    queueMicrotask(() => this.onError("refused"));
  }
  doClose() {}
  write() {}
}

/** Records the pauses before attempts, and makes them short. */
async function pauses(attempts, opts) {
  const real = globalThis.setTimeout;
  const seen = [];
  globalThis.setTimeout = (fn, ms, ...rest) => {
    if (ms == 12345) return real(fn, ms, ...rest); // of the attempt itself
    seen.push(ms);
    return real(fn, 0, ...rest);
  };
  try {
    const m = track(new Manager("http://localhost", { transports: [Failing], reconnectionAttempts: attempts, timeout: 12345, ...opts }));
    await new Promise((done) => m.once("reconnect_failed", done));
  } finally {
    globalThis.setTimeout = real;
  }
  return seen;
}

const silent = (opts) => track(io("http://localhost", { forceNew: true, transports: [Silent], ...opts }));

/** A connected socket that nobody answers. */
async function connected(opts) {
  const socket = silent(opts);
  await once(socket.io, "open");
  const { transport } = socket.io.engine;
  const give = (text) => transport.onMessage("4" + text);
  const drain = () => {
    transport.writable = true;
    transport.emit("drain");
  };
  drain();
  give('0{"sid":"abc","pid":"p"}');
  await once(socket, "connect");
  drain();
  transport.sent.length = 0;
  return { socket, transport, give, drain };
}

describe("back-off", () => {
  it("doubles from reconnectionDelay to reconnectionDelayMax, off by randomizationFactor", async () => {
    assert.deepEqual(await pauses(5, { randomizationFactor: 0 }), [1000, 2000, 4000, 5000, 5000]);
    for (const ms of await pauses(3, { reconnectionDelay: 100 })) assert.ok(ms >= 50 && ms <= 600, `${ms}`);
  });

  it("takes zero or nothing for the default, as the official client does", async () => {
    const opts = { reconnectionDelay: 0, reconnectionDelayMax: undefined, randomizationFactor: 0 };
    assert.deepEqual(await pauses(4, opts), [1000, 2000, 4000, 5000]);
    const m = new Manager("http://localhost", { autoConnect: false, timeout: undefined, path: undefined, reconnectionAttempts: 0 });
    assert.equal(m.timeout(), 20000);
    assert.equal(m.opts.path, "/socket.io");
    assert.equal(m.reconnectionAttempts(), Infinity);
  });

  it("has no lock-step: many clients at the cap spread over half of it", async () => {
    const last = [];
    for (let i = 0; i < 400; i++) last.push((await pauses(6)).at(-1));
    assert.ok(last.every((ms) => ms >= 2500 && ms <= 5000));
    const buckets = Array(10).fill(0);
    for (const ms of last) buckets[Math.min(9, Math.floor((ms - 2500) / 250))]++;
    // The official client leaves none of them below the cap, or half of them on it.
    assert.ok(Math.max(...buckets) < 100 && Math.min(...buckets) > 5, buckets.join());
  });

  it("never ends with reconnectionAttempts at its default, and ends at once without reconnection", async () => {
    const m = track(new Manager("http://localhost", { transports: [Failing], reconnectionDelay: 1, reconnectionDelayMax: 1 }));
    await until(() => m.engine, "an attempt");
    let tried = 0;
    m.on("reconnect_attempt", () => tried++);
    await until(() => tried > 20, "20 attempts");
    m.reconnection(false);
    tried = 0;
    await pause(30);
    assert.equal(tried, 0);
  });
});

/** A transport whose connections open when the test says so, or fail. */
class Scripted extends Transport {
  static made = [];
  get name() {
    return "scripted";
  }
  doOpen() {
    Scripted.made.push(this);
  }
  doClose() {}
  write() {}
  welcome() {
    this.onOpen();
    this.onMessage('0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}');
  }
  fail() {
    this.onError("refused");
  }
}
const next = async () => {
  await until(() => Scripted.made.length, "a connection");
  return Scripted.made.shift();
};

describe("a Manager opened by hand during a pause", () => {
  const start = async (opts) => {
    const m = track(new Manager("http://localhost", { transports: [Scripted], ...opts }));
    (await next()).fail(); // now it pauses
    return m;
  };

  it("does not make the attempt that was to come, and reconnects when that connection is lost", async () => {
    const m = await start({ reconnectionDelay: 20, randomizationFactor: 0 });
    m.open();
    const transport = await next();
    const attempts = [];
    m.on("reconnect_attempt", (n) => attempts.push(n));
    await pause(60); // the pause has ended
    transport.welcome();
    assert.deepEqual(attempts, []);
    transport.fail();
    (await next()).welcome();
    assert.deepEqual(attempts, [1]);
  });

  it("goes on when that fails, too", async () => {
    const m = await start({ reconnectionDelay: 20, randomizationFactor: 0 });
    m.open();
    (await next()).fail();
    (await next()).fail();
    (await next()).welcome();
    assert.equal(m._readyState, "open");
    assert.equal(m._reconnecting, false);
  });
});

describe("manager", () => {
  it("reads and writes its options", () => {
    const m = new Manager("http://localhost", { autoConnect: false });
    const defaults = { reconnection: true, reconnectionAttempts: Infinity, reconnectionDelay: 1000, reconnectionDelayMax: 5000, randomizationFactor: 0.5, timeout: 20000 };
    for (const [name, value] of Object.entries(defaults)) {
      assert.equal(m[name](), value, name);
      assert.equal(m[name](7), m);
      assert.equal(m[name](), 7);
    }
  });

  it("gives one socket per namespace, and shares connections by server and path", () => {
    const opts = { autoConnect: false };
    const a = io("http://localhost:9/a", opts);
    assert.equal(io("http://localhost:9/b", opts).io, a.io);
    assert.notEqual(io("http://localhost:9/a", opts).io, a.io, "the same namespace again");
    assert.notEqual(io("http://localhost:9/c", { ...opts, forceNew: true }).io, a.io);
    assert.notEqual(io("http://localhost:9/d", { ...opts, multiplex: false }).io, a.io);
    assert.notEqual(io("http://localhost:9/e", { ...opts, path: "/other" }).io, a.io);
    assert.equal(io("http://localhost:80/f", opts).io, io("http://localhost/g", opts).io);
    assert.equal(a.io.socket("/a"), a);
    assert.equal(a.active, false);
  });

  it("takes namespaces as they are written, and the query of the address", () => {
    const s = io("http://localhost:9/a b/日本?x=1&y=a%20b", { autoConnect: false, forceNew: true });
    assert.equal(s.nsp, "/a b/日本");
    assert.deepEqual(s.io.opts.query, { x: "1", y: "a b" });
    assert.equal(io("http://localhost:9", { autoConnect: false, forceNew: true }).nsp, "/");
  });

  it("fails after timeout", async () => {
    class Never extends Failing {
      doOpen() {}
    }
    const s = track(io("http://localhost", { forceNew: true, transports: [Never], timeout: 10, reconnection: false }));
    const [error] = await once(s, "connect_error");
    assert.equal(error.message, "timeout");
  });

  it("tries all transports, also after it remembered the last of them", async () => {
    class Other extends Scripted {
      get name() {
        return "websocket";
      }
    }
    const opts = { transports: [Scripted, Other], tryAllTransports: true, rememberUpgrade: true, reconnection: false };
    const names = [];
    for (const works of [true, false]) {
      const m = track(new Manager("http://localhost", { ...opts, transports: works ? [Other] : opts.transports }));
      const t = await next();
      names.push(t.name);
      if (works) t.welcome();
      else {
        t.fail();
        const second = await next();
        names.push(second.name);
        second.welcome();
      }
      assert.equal(m._readyState, "open");
    }
    assert.deepEqual(names, ["websocket", "websocket", "scripted"]);
  });

  it("says so when it has no transport", async () => {
    const s = track(io("http://localhost", { forceNew: true, transports: ["carrier pigeon"], reconnection: false }));
    const [error] = await once(s, "connect_error");
    assert.equal(error, "No transports available");
  });
});

describe("socket", () => {
  it("exports what the official client exports", () => {
    for (const name of ["Manager", "Socket", "io", "connect", "default", "protocol", "Fetch", "XHR", "WebSocket"]) assert.ok(client[name], name);
    assert.equal(io.connect, io);
    assert.equal(io.io, io);
    assert.equal(io.Manager, client.Manager);
    assert.equal(io.Socket, client.Socket);
    assert.equal(client.protocol, 5);
  });

  it("refuses to emit reserved events", async () => {
    const s = io("http://localhost", { autoConnect: false });
    for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
      assert.throws(() => s.emit(name), /reserved/);
    }
  });

  it("has the emitter's methods under all their names", () => {
    const s = io("http://localhost", { autoConnect: false, forceNew: true });
    const calls = [];
    const fn = (x) => calls.push(x);
    for (const [on, off] of [["on", "off"], ["addListener", "removeListener"], ["addEventListener", "removeEventListener"], ["on", "removeAllListeners"]]) {
      s[on]("x", fn);
      assert.ok(s.hasListeners("x"));
      assert.deepEqual(s.listeners("x"), [fn]);
      s[off]("x", fn);
      assert.ok(!s.hasListeners("x"));
    }
    s.once("x", fn);
    s.off("x", fn);
    assert.ok(!s.hasListeners("x"));
    s.on("x", fn).on("y", fn).off();
    assert.ok(!s.hasListeners("x") && !s.hasListeners("y"));
  });

  it("drops volatile events while the transport is busy or the socket is not connected", async () => {
    const { socket, transport, drain } = await connected();
    socket.volatile.emit("first");
    socket.volatile.emit("second");
    drain();
    assert.deepEqual(transport.sent.map((m) => m.data), ['2["first"]']);
    const other = io("http://localhost", { autoConnect: false, forceNew: true });
    other.volatile.emit("lost");
    assert.equal(other.sendBuffer.length, 0);
    other.emit("kept");
    assert.equal(other.sendBuffer.length, 1);
  });

  it("sends what was emitted before the connection, in order, before connect is fired", async () => {
    const socket = silent();
    socket.emit("a", 1).emit("b", 2);
    socket.on("connect", () => socket.emit("c"));
    await once(socket.io, "open");
    const { transport } = socket.io.engine;
    transport.onMessage('40{"sid":"x"}');
    await once(socket, "connect");
    transport.emit("drain");
    transport.writable = true;
    await pause(1);
    const all = [...transport.sent, ...socket.io.engine.writeBuffer].map((m) => m.data);
    assert.deepEqual([...new Set(all)], ["0", '2["a",1]', '2["b",2]', '2["c"]']);
  });

  it("tells listeners for all events, in both directions", async () => {
    const { socket, give } = await connected();
    const calls = [];
    const first = (...args) => calls.push(["any", ...args]);
    socket.onAny(first).prependAny((...args) => calls.push(["before", ...args]));
    socket.onAnyOutgoing((...args) => calls.push(["out", ...args])).prependAnyOutgoing(() => calls.push(["before out"]));
    assert.equal(socket.listenersAny().length, 2);
    assert.equal(socket.listenersAnyOutgoing().length, 2);
    socket.on("in", () => calls.push(["own"]));
    give('2["in",1]');
    await until(() => calls.length == 3, "the event");
    socket.emit("go", 2);
    assert.deepEqual(calls, [["before", "in", 1], ["any", "in", 1], ["own"], ["before out"], ["out", "go", 2]]);
    socket.offAny(first).offAnyOutgoing();
    assert.equal(socket.listenersAny().length, 1);
    assert.equal(socket.listenersAnyOutgoing().length, 0);
  });

  it("fails acks after timeout, and ones that can be told when it disconnects", async () => {
    const { socket } = await connected();
    const [late] = await new Promise((done) => socket.timeout(5).emit("x", (...args) => done(args)));
    assert.match(late.message, /timed out/);
    await assert.rejects(socket.timeout(5).emitWithAck("x"), /timed out/);
    let plain = 0;
    socket.emit("x", () => plain++);
    const promise = socket.emitWithAck("x");
    const timed = new Promise((done) => socket.timeout(10_000).emit("x", done));
    socket.disconnect();
    await assert.rejects(promise, /disconnected/);
    assert.match((await timed).message, /disconnected/);
    assert.equal(plain, 0);
    assert.deepEqual(Object.keys(socket.acks), []);
  });

  it("gives acks an error first only when they asked for it", async () => {
    const { socket, give } = await connected();
    const plain = new Promise((done) => socket.emit("a", (...args) => done(args)));
    const timed = new Promise((done) => socket.timeout(1000).emit("b", (...args) => done(args)));
    const promised = socket.emitWithAck("c");
    give("30[1,2]");
    give("31[1,2]");
    give("32[0]");
    assert.deepEqual(await plain, [1, 2]);
    assert.deepEqual(await timed, [null, 1, 2]);
    assert.equal(await promised, 0);
    assert.ok(socket.lag >= 0);
  });

  it("repeats an emit until it is answered, one at a time, and gives up after retries", async () => {
    const { socket, give, drain } = await connected({ retries: 2, ackTimeout: 20 });
    const sent = [];
    socket.onAnyOutgoing((event) => sent.push(event));
    const first = new Promise((done) => socket.emit("first", done));
    const second = socket.emitWithAck("second");
    assert.match((await first).message, /timed out/);
    assert.deepEqual(sent.slice(0, 3), ["first", "first", "first"]);
    await until(() => sent.includes("second"), "the second");
    give(`3${socket.ids - 1}["ok"]`);
    assert.equal(await second, "ok");
    assert.equal(sent.filter((e) => e == "first").length, 3);
    drain();
    drain();
    socket.volatile.emit("now"); // not one for the queue
    assert.equal(sent.at(-1), "now");
  });

  it("retries without ackTimeout take any answer for success", async () => {
    const { socket, give } = await connected({ retries: 1 });
    const answer = new Promise((done) => socket.emit("x", (...args) => done(args)));
    give(`30["value"]`);
    assert.deepEqual(await answer, [null, "value"]);
  });

  it("knows how long its oldest packet has been waiting", async () => {
    const { socket, transport, drain } = await connected();
    assert.equal(socket.slow, 0);
    socket.emit("x");
    assert.equal(transport.writable, false);
    await until(() => socket.slow >= 5, "5 ms");
    drain();
    assert.equal(socket.slow, 0);
  });

  it("keeps what is emitted while the server is overdue, until the next connection", async () => {
    const { socket, transport } = await connected();
    const real = Date.now;
    Date.now = () => real() + 60_000; // the machine slept
    try {
      socket.emit("one");
      socket.emit("two");
      assert.equal(socket.sendBuffer.length, 2);
      assert.equal(transport.sent.length, 0);
      const [reason] = await once(socket, "disconnect");
      assert.equal(reason, "ping timeout");
    } finally {
      Date.now = real;
    }
  });

  it("is told about a server of version 2", async () => {
    const s = silent({ reconnection: false });
    await once(s.io, "open");
    s.io.engine.transport.onMessage("40");
    const [error] = await once(s, "connect_error");
    assert.match(error.message, /Socket.IO 2/);
  });

  it("leaves what a listener throws to the program, and stays connected", async () => {
    const { socket, give } = await connected();
    const others = process.listeners("uncaughtException"); // the test runner's
    process.removeAllListeners("uncaughtException");
    const seen = new Promise((done) => process.once("uncaughtException", done));
    socket.on("bad", () => {
      throw new Error("the listener's");
    });
    give('2["bad"]');
    assert.equal((await seen).message, "the listener's");
    for (const fn of others) process.on("uncaughtException", fn);
    assert.ok(socket.connected);
  });
});

describe("engine", () => {
  const handshake = (upgrades) => "0" + JSON.stringify({ sid: "s", upgrades, pingInterval: 25000, pingTimeout: 20000, maxPayload: 20 });

  it("sends over WebSocket without a timer between", async () => {
    const [realSocket, realTimeout] = [globalThis.WebSocket, globalThis.setTimeout];
    const sent = [];
    let ws;
    globalThis.WebSocket = class {
      constructor() {
        ws = this;
      }
      send(m) {
        sent.push(m);
      }
      close() {}
    };
    globalThis.setTimeout = () => 0; // a hidden page's are late
    try {
      const m = track(new Manager("http://localhost", { transports: ["websocket"], autoConnect: false }));
      m.open();
      ws.onopen();
      ws.onmessage({ data: handshake([]) });
      m.engine.write("a");
      await null;
      m.engine.write("b");
      await null;
      m.engine.write("c").write("d");
      await null;
      await null;
      assert.deepEqual(sent, ["4a", "4b", "4c", "4d"]);
    } finally {
      [globalThis.WebSocket, globalThis.setTimeout] = [realSocket, realTimeout];
    }
  });

  it("fills a payload to the byte, and never beyond, but for one message", async () => {
    const m = track(new Manager("http://localhost", { transports: [Scripted], autoConnect: false }));
    m.open();
    const t = await next();
    const sent = [];
    Object.defineProperty(t, "name", { value: "polling" });
    t.write = (list) => sent.push(list.map((x) => x.type + x.data).join("|"));
    t.onOpen();
    t.onMessage(handshake([]));
    t.writable = false;
    for (const text of ["x".repeat(9), "y".repeat(8), "é", "z".repeat(99), "end"]) m.engine.write(text);
    for (let i = 0; i < 4; i++) {
      t.writable = true;
      t.emit("drain");
    }
    assert.deepEqual(sent, ["4xxxxxxxxx|4yyyyyyyy", "4é", "4" + "z".repeat(99), "4end"]);
    assert.equal(new TextEncoder().encode(sent[0]).length, 20);
  });

  it("gives WebTransport a head start, and takes WebSocket when it fails", async () => {
    class First extends Scripted {
      get name() {
        return "polling";
      }
    }
    class WS extends Scripted {
      get name() {
        return "websocket";
      }
    }
    class WT extends Scripted {
      get name() {
        return "webtransport";
      }
    }
    const m = track(new Manager("http://localhost", { transports: [First, WS, WT], autoConnect: false }));
    m.open();
    const t = await next();
    t.onOpen();
    t.onMessage(handshake(["websocket", "webtransport"]));
    const [a] = Scripted.made.splice(0);
    assert.equal(a.name, "webtransport");
    assert.equal(Scripted.made.length, 0);
    a.fail();
    const b = await next();
    assert.equal(b.name, "websocket");
    b.onOpen();
    b.onMessage("3probe");
    assert.equal(m.engine.transport.name, "websocket");
  });

  it("starts no upgrade when it was closed as it opened", async () => {
    const m = track(new Manager("http://localhost", { transports: [Scripted, class extends Scripted { get name() { return "websocket"; } }], autoConnect: false }));
    m.open();
    m.engine.on("open", () => m.engine.write("last").close());
    const t = await next();
    t.onOpen();
    t.onMessage(handshake(["websocket"]));
    assert.equal(m.engine.readyState, "closing");
    assert.equal(Scripted.made.length, 0);
  });
});

describe("withCredentials", () => {
  it("sends the cookies of other origins, and only then", async () => {
    const real = globalThis.fetch;
    const seen = [];
    globalThis.fetch = (_, { credentials }) => {
      seen.push(credentials);
      return Promise.reject(new Error("not sent"));
    };
    try {
      for (const withCredentials of [true, false, undefined]) {
        const m = new Manager("http://localhost:1", { withCredentials, transports: ["polling"], reconnection: false, autoConnect: false });
        await new Promise((done) => m.open(done));
      }
    } finally {
      globalThis.fetch = real;
    }
    assert.deepEqual(seen, ["include", "same-origin", "same-origin"]);
  });
});
