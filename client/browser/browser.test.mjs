// The built client in a real browser, against this server and socket.io on
// Node.js. The page comes from the server's own origin, or from another one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { closeAfterEach, ctl, implementations, server, startProxy, transportsOf, until } from "../test/lib.mjs";

// The pages do not come over a connection, so Chromium cannot tell that they are as local
// as the server.
let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"] });
});
after(() => browser?.close());

closeAfterEach(); // the relays

const dist = (name) => readFileSync(new URL(`../dist/${name}`, import.meta.url));

// show opens a page of an origin that loads one of the client's files.
async function show(origin, script = '<script src="/client/socket.io.min.js"></script>') {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.failures = [];
  page.on("pageerror", (e) => page.failures.push(e.message));
  await page.route(`${origin}/page`, (route) => route.fulfill({ contentType: "text/html", body: `<!doctype html>${script}` }));
  await page.route(`${origin}/client/*`, (route) =>
    route.fulfill({ contentType: "text/javascript", body: dist(new URL(route.request().url()).pathname.split("/").pop()) }));
  await page.goto(`${origin}/page`);
  await page.waitForFunction(() => typeof io === "function");
  return page;
}
const done = async (page) => {
  assert.deepEqual(page.failures, []);
  await page.context().close();
};

// connect makes window.socket and waits until it is connected.
const connect = (page, opts, url = "") =>
  page.evaluate(async ([url, opts]) => {
    window.socket = url ? io(url, opts) : io(opts);
    await new Promise((ok, no) => socket.once("connect", ok).once("connect_error", no));
    return socket.id;
  }, [url, opts]);

for (const impl of implementations) {
  describe(`browser, ${impl}`, { timeout: 120_000 }, () => {
    const s = server(impl, { csr: 60_000 });

    for (const [name, transports] of Object.entries(transportsOf)) {
      it(`carries every form of binary over ${name}`, async () => {
        const page = await show(s.url);
        await connect(page, { transports });
        if (name === "upgrade") await page.waitForFunction(() => socket.io.engine.transport.name === "websocket");
        const got = await page.evaluate(async () => {
          const bytes = Uint8Array.of(0, 1, 254, 255);
          const out = [];
          for (const v of [bytes, bytes.buffer, new DataView(bytes.buffer), new Blob([bytes]), new File([bytes], "f")]) {
            const [plain, nested] = await new Promise((ok) => socket.emit("echo", v, { a: [v] }, (...args) => ok(args)));
            out.push([plain instanceof ArrayBuffer, [...new Uint8Array(plain)], [...new Uint8Array(nested.a[0])]]);
          }
          return out;
        });
        for (const row of got) assert.deepEqual(row, [true, [0, 1, 254, 255], [0, 1, 254, 255]]);
        assert.equal(got.length, 5);
        await done(page);
      });
    }

    it("is a module too", async () => {
      const page = await show(s.url, '<script type="module">import def, { io, Manager } from "/client/socket.io.esm.min.js"; if (def === io && Manager) window.io = io;</script>');
      assert.match(await connect(page, {}), /^[\w-]{20}$/);
      await done(page);
    });

    it("finds the server of the page by every way to say so", async () => {
      const page = await show(s.url);
      const [url, host] = [new URL(s.url), new URL(s.url).host];
      const got = await page.evaluate(
        async (list) => {
          const out = [];
          for (const address of list) {
            const socket = io(address, { forceNew: true });
            await new Promise((ok, no) => socket.once("connect", ok).once("connect_error", no));
            out.push(socket.nsp);
            socket.disconnect();
          }
          return out;
        },
        [undefined, null, "", "/", "/custom", host, `//${host}/custom`, url.href, `ws://${host}`],
      );
      assert.deepEqual(got, ["/", "/", "/", "/", "/custom", "/", "/custom", "/", "/"]);
      await done(page);
    });

    it("answers, and sees the end of a namespace", async () => {
      const page = await show(s.url);
      const id = await connect(page, {});
      await page.evaluate(() => socket.on("ask", (n, answer) => answer(n + 1)));
      assert.equal(await ctl(s, "remote", { id, do: "emitWithAck", event: "ask", args: [41], timeout: 5000 }), 42);
      await page.evaluate(() => socket.on("disconnect", (reason) => (window.reason = reason)));
      await ctl(s, "socketDisconnect", { id });
      await page.waitForFunction(() => window.reason === "io server disconnect");
      await done(page);
    });

    it("closes at once when the browser goes offline, and recovers", async () => {
      // Being offline does not keep anybody from localhost, by that name.
      const page = await show(s.url.replace("localhost", "127.0.0.1"));
      const id = await connect(page, { reconnectionDelay: 50 });
      await page.evaluate(() => {
        window.heard = [];
        socket.on("n", (n) => heard.push(n)).on("disconnect", (reason) => (window.reason = reason));
      });
      await ctl(s, "emit", { event: "n", args: [1] });
      await page.waitForFunction(() => heard.length === 1);
      await page.evaluate(() => dispatchEvent(new Event("offline")));
      await page.waitForFunction(() => window.reason === "transport close");
      await ctl(s, "emit", { event: "n", args: [2] });
      await page.waitForFunction(() => socket.connected && heard.length === 2);
      assert.deepEqual(await page.evaluate(() => [heard, socket.recovered, socket.id]), [[1, 2], true, id]);
      await done(page);
    });

    it("says goodbye before the page is left, when asked to", async () => {
      const page = await show(s.url);
      const id = await connect(page, { closeOnBeforeunload: true });
      await page.evaluate(() => dispatchEvent(new Event("beforeunload")));
      await until(async () => !(await ctl(s, "sockets")).some((e) => e.id === id), "the server to notice");
      await done(page);
    });

    it("notices after a sleep that the server is gone", async () => {
      const page = await show(s.url);
      await connect(page, { reconnection: false });
      await page.evaluate(() => {
        socket.on("disconnect", (reason) => (window.reason = reason));
        const now = Date.now;
        Date.now = () => now() + 3_600_000; // the timers slept, the clock did not
        dispatchEvent(new Event("visibilitychange"));
      });
      await page.waitForFunction(() => window.reason === "ping timeout");
      await done(page);
    });

    it("comes back after the network failed", async () => {
      const proxy = await startProxy(s.port);
      const page = await show(proxy.url);
      await connect(page, { reconnectionDelay: 50, reconnectionDelayMax: 100 });
      await page.evaluate(() => socket.io.on("reconnect", (n) => (window.attempts = n)));
      proxy.drop();
      await page.waitForFunction(() => window.attempts >= 1 && socket.connected);
      await done(page);
    });
  });

  describe(`browser, ${impl}, MessagePack`, { timeout: 60_000 }, () => {
    const s = server(impl, { parser: "msgpack" });

    it("speaks it with the file made for it", async () => {
      const page = await show(s.url, '<script src="/client/socket.io.msgpack.min.js"></script>');
      await connect(page, {});
      const got = await page.evaluate(async () => {
        const v = await socket.emitWithAck("echo", { text: "é", n: [1, -1, 1.5, 2 ** 40], b: Uint8Array.of(1, 2) });
        return { ...v, b: [...new Uint8Array(v.b)] };
      });
      assert.deepEqual(got, { text: "é", n: [1, -1, 1.5, 2 ** 40], b: [1, 2] });
      await done(page);
    });
  });
}

// What this server alone does: it serves the client.
describe("browser, the served client", { timeout: 60_000 }, () => {
  const s = server("go", {});
  for (const file of ["socket.io.js", "socket.io.min.js"]) {
    it(`loads ${file} from the server`, async () => {
      const page = await show(s.url, `<script src="/socket.io/${file}"></script>`);
      assert.equal(await page.evaluate(() => [io.connect, io.Manager, io.Socket].every((f) => typeof f === "function")), true);
      await connect(page, {});
      await done(page);
    });
  }
});
