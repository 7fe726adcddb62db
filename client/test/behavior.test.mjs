// The documented behavior of socket.io-client, against this server and socket.io
// on Node.js, over each transport.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { closeAfterEach, ctl, implementations, io, Manager, once, open, pause, server, startProxy, startServer, track, transportsOf, until } from "./lib.mjs";

closeAfterEach();

for (const impl of implementations) {
  for (const [name, transports] of Object.entries(transportsOf)) {
    describe(`${impl}, ${name}`, { timeout: 60_000 }, () => {
      const s = server(impl, { csr: 60_000 });
      const dial = async (nsp = "/", opts) => {
        const socket = open(s.url + nsp, { transports, ...opts });
        if (!socket.connected) await once(socket, "connect");
        return socket;
      };

      it("connects and has an id", async () => {
        const socket = await dial();
        assert.match(socket.id, /^[\w-]{20}$/);
        assert.equal(socket.disconnected, false);
        assert.equal(socket.active, true);
        if (name == "upgrade") await until(() => socket.io.engine.transport.name == "websocket", "the upgrade");
      });

      it("sends binary in every form, nested, and receives ArrayBuffers", async () => {
        const socket = await dial();
        const bytes = Uint8Array.of(0, 1, 254, 255);
        const wide = new Uint8Array([9, ...bytes, 9]).subarray(1, 5);
        for (const v of [bytes, wide, bytes.buffer, new DataView(bytes.buffer), new Blob([bytes]), Buffer.from(bytes)]) {
          const [plain, nested] = await new Promise((done) => socket.emit("echo", v, { a: [v, { b: v }], c: null }, (...args) => done(args)));
          assert.ok(plain instanceof ArrayBuffer);
          for (const got of [plain, nested.a[0], nested.a[1].b]) assert.deepEqual(new Uint8Array(got), bytes);
          assert.equal(nested.c, null);
        }
        assert.equal((await socket.emitWithAck("echo", new Uint8Array(0))).byteLength, 0);
        assert.equal((await socket.emitWithAck("echo", new Uint8Array(500_000).fill(7))).byteLength, 500_000);
      });

      it("answers the server's acks, once", async () => {
        const socket = await dial();
        socket.on("ask", (n, answer) => {
          answer(n + 1, Uint8Array.of(n));
          answer("again");
        });
        const got = await ctl(s, "remote", { id: socket.id, do: "emitWithAck", event: "ask", args: [1], timeout: 5000 });
        assert.equal(got, 2);
      });

      it("keeps the order of what it emits while it connects and upgrades", async () => {
        const socket = open(s.url, { transports });
        const got = [];
        for (let i = 0; i < 200; i++) socket.emit("echo", i % 3 ? i : Uint8Array.of(i), (v) => got.push(typeof v == "number" ? v : new Uint8Array(v)[0]));
        await until(() => got.length == 200, "200 answers");
        assert.deepEqual(got, Array.from({ length: 200 }, (_, i) => i));
      });

      it("shares one connection between namespaces", async () => {
        const a = await dial("/");
        const b = a.io.socket("/custom", { auth: { who: "b" } });
        await once(b, "connect");
        assert.equal(await b.emitWithAck("echo", "hi"), "hi");
        a.disconnect();
        assert.ok(b.connected, "the other one stays");
        b.disconnect();
        assert.equal(a.io._readyState, "closed");
      });

      it("sends auth, a value or what a function gives for each connection, and the query and headers", async () => {
        let n = 0;
        const opts = { auth: (cb) => cb({ n: ++n }), query: { q: "ä&=" }, extraHeaders: { "x-mine": "1" } };
        const socket = await dial("/", opts);
        const shake = async () => (await ctl(s, "sockets")).find((e) => e.id == socket.id).handshake;
        const first = await shake();
        assert.deepEqual(first.auth, { n: 1 });
        assert.equal(first.query.q, "ä&=");
        assert.equal(first.headers["x-mine"], "1");
        socket.disconnect().connect();
        await once(socket, "connect");
        assert.equal((await shake()).auth.n, 2);
        socket.auth = { plain: true };
        socket.disconnect().connect();
        await once(socket, "connect");
        assert.equal((await shake()).auth.plain, true);
      });

      it("gets connect_error from a namespace that refuses, without reconnection", async () => {
        const socket = open(s.url + "/no-such", { transports });
        const [error] = await once(socket, "connect_error");
        assert.equal(error.message, "Invalid namespace");
        assert.equal(socket.active, false);
      });

      it("leaves on its own, and comes back when told to", async () => {
        const socket = await dial();
        const left = once(socket, "disconnect");
        socket.disconnect();
        assert.deepEqual((await left).slice(0, 1), ["io client disconnect"]);
        assert.equal(socket.id, undefined);
        assert.equal(socket.active, false);
        socket.connect();
        await once(socket, "connect");
      });

      it("stays away after the server disconnected it", async () => {
        const socket = await dial();
        const left = once(socket, "disconnect");
        await ctl(s, "socketDisconnect", { id: socket.id });
        assert.equal((await left)[0], "io server disconnect");
        assert.equal(socket.active, false);
      });

      it("reconnects after the network failed, recovers the session, misses nothing", async () => {
        const proxy = await startProxy(s.port);
        const socket = track(open(proxy.url, { transports }));
        await once(socket, "connect");
        const events = [];
        socket.onAny((event, n) => events.push(n));
        const seen = [];
        for (const e of ["reconnect_attempt", "reconnect_error", "reconnect", "close", "open"]) socket.io.on(e, () => seen.push(e));
        const { id } = socket;
        await ctl(s, "emit", { event: "e", args: [1] });
        await until(() => events.length == 1, "the first event");
        if (name == "upgrade") await until(() => socket.io.engine.transport.name == "websocket", "the upgrade");
        await socket.emitWithAck("echo", 0); // the server has upgraded, too
        await pause(100); // a poll waits there, whose end it notices
        const lost = once(socket, "disconnect");
        proxy.lead(0);
        proxy.drop();
        const [reason, details] = await lost;
        assert.match(reason, name == "polling" ? /^transport error$/ : /^transport (close|error)$/);
        assert.ok(details);
        assert.equal(socket.active, true);
        await once(socket.io, "reconnect_error");
        await until(async () => (await ctl(s, "log")).some((e) => e.event == "disconnect" && e.id == id), "the server to notice");
        await ctl(s, "emit", { event: "e", args: [2] });
        socket.emit("echo", "kept", (v) => events.push(v));
        proxy.lead(s.port);
        await once(socket, "connect");
        assert.equal(socket.recovered, true);
        assert.equal(socket.id, id);
        await until(() => events.length == 3, "what was missed");
        assert.deepEqual(events, [1, 2, "kept"]);
        assert.equal(seen[0], "close");
        assert.equal(seen[1], "reconnect_attempt");
        assert.deepEqual(seen.slice(-2), ["open", "reconnect"]);
      });

      it("notices that the server went silent", async () => {
        const silent = await startServer(impl, "node", { pingInterval: 200, pingTimeout: 1500 });
        const socket = open(silent.url, { transports, reconnection: false });
        await once(socket, "connect");
        let pings = 0;
        socket.io.on("ping", () => pings++);
        await until(() => pings > 1, "two pings");
        const lost = once(socket, "disconnect");
        silent.child.kill("SIGSTOP");
        assert.equal((await lost)[0], "ping timeout");
        await silent.kill();
      });

      it("takes another path for the refusal it is", async () => {
        const socket = open(s.url, { transports, path: "/elsewhere", reconnection: false });
        const [error] = await once(socket, "connect_error");
        assert.match(error.message, name == "websocket" ? /websocket error/ : /xhr poll error/);
        if (name != "websocket") assert.equal(error.context.status, 404);
      });
    });
  }

  describe(`${impl}`, { timeout: 30_000 }, () => {
    const s = server(impl, {});

    it("opens a Manager by hand, and tells its callback", async () => {
      const m = track(new Manager(s.url, { autoConnect: false }));
      const socket = m.socket("/custom");
      await new Promise((done, fail) => m.open((error) => (error ? fail(error) : done())));
      assert.equal(socket.active, false);
      socket.connect();
      await once(socket, "connect");
      const dead = track(new Manager("http://localhost:1", { autoConnect: false, reconnection: false }));
      assert.ok((await new Promise((done) => dead.open(done))) instanceof Error);
    });

    it("multiplexes by itself, and not with forceNew", async () => {
      const a = track(io(s.url));
      const b = track(io(s.url + "/custom"));
      const c = track(io(s.url + "/custom", { forceNew: true }));
      assert.equal(a.io, b.io);
      assert.notEqual(b.io, c.io);
      await Promise.all([a, b, c].map((x) => once(x, "connect")));
      assert.notEqual(b.id, c.id);
    });

    it("remembers the upgrade and tries all transports when told to", async () => {
      const first = open(s.url);
      await until(() => first.io.engine?.transport.name == "websocket", "the upgrade");
      const second = open(s.url, { rememberUpgrade: true });
      assert.equal(second.io.engine.transport.name, "websocket");
      await once(second, "connect");
      const third = open(s.url, { transports: ["websocket", "polling"], tryAllTransports: true, transportOptions: { websocket: { path: "/none/" } } });
      await once(third, "connect");
      assert.equal(third.io.engine.transport.name, "polling");
      const fourth = open(s.url, { upgrade: false });
      await once(fourth, "connect");
      assert.equal(await fourth.emitWithAck("echo", 1), 1);
      assert.equal(fourth.io.engine.transport.name, "polling");
    });

    it("connects in the classes' own names", async () => {
      const { Fetch, WebSocket } = await import("../dist/socket.io.esm.min.js");
      for (const transports of [[Fetch], [WebSocket], [Fetch, WebSocket]]) await once(open(s.url, { transports }), "connect");
    });
  });
}
