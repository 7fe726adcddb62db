// withCredentials with a browser's own cookies: the page is of another origin than
// the server, which sets a cookie with the handshake and one in a middleware. Both are
// of one site, since browsers come to refuse cookies to others.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { ctl, implementations, server } from "../test/lib.mjs";

const listed = "http://localhost:8001";
const foreign = "http://localhost:8002";

let browser;
before(async () => {
  // The pages do not come over a connection: see browser.test.mjs.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"] });
});
after(() => browser?.close());

const script = readFileSync(new URL("../dist/socket.io.min.js", import.meta.url), "utf8");

/** A page of an origin, in a browser without cookies, that connects when it is told to. */
async function visit(origin, body) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.route(`${origin}/`, (route) => route.fulfill({ contentType: "text/html", body: `<!doctype html><script>${script}</script>` }));
    await page.goto(`${origin}/`);
    const connect = (url, opts) =>
      page.evaluate(
        ([url, opts]) =>
          new Promise((done) => {
            const socket = io(url, { forceNew: true, reconnection: false, timeout: 30_000, ...opts });
            socket.once("connect", () => done({ id: socket.id })).once("connect_error", (e) => done({ error: e.message }));
          }),
        [url, opts],
      );
    await body(connect, context);
  } finally {
    await context.close();
  }
}

/** The cookies the server got with a socket's handshake. */
async function cookiesOf(s, { id, error }) {
  assert.equal(error, undefined);
  const { handshake } = (await ctl(s, "sockets")).find((e) => e.id === id);
  return (handshake.headers.cookie ?? "").split("; ").filter(Boolean).map((c) => c.split("=")[0]).sort();
}

for (const impl of implementations) {
  describe(`cookies, ${impl}`, { timeout: 120_000 }, () => {
    const s = server(impl, { origins: [listed], cookies: true });
    const any = server(impl, { cookies: true }); // of any origin, and so without credentials

    it("come back with withCredentials, over polling", () =>
      visit(listed, async (connect, context) => {
        const opts = { transports: ["polling"], withCredentials: true };
        const first = await connect(s.url, opts);
        assert.deepEqual(await cookiesOf(s, first), []);
        const kept = await context.cookies(s.url);
        assert.deepEqual(kept.map((c) => c.name).sort(), ["io", "route"]);
        assert.equal(kept.find((c) => c.name === "io").httpOnly, true);
        assert.deepEqual(await cookiesOf(s, await connect(s.url, opts)), ["io", "route"]);
      }));

    it("are neither kept nor sent without it, over polling", () =>
      visit(listed, async (connect, context) => {
        const without = { transports: ["polling"] };
        await cookiesOf(s, await connect(s.url, without));
        assert.deepEqual(await context.cookies(s.url), []);
        await cookiesOf(s, await connect(s.url, { ...without, withCredentials: true }));
        assert.notDeepEqual(await context.cookies(s.url), []);
        assert.deepEqual(await cookiesOf(s, await connect(s.url, without)), []);
      }));

    it("go with a WebSocket, whatever it says", () =>
      visit(listed, async (connect, context) => {
        const opts = { transports: ["websocket"] };
        await context.addCookies([{ name: "own", value: "1", url: s.url }]);
        for (const withCredentials of [true, false]) {
          assert.ok((await cookiesOf(s, await connect(s.url, { ...opts, withCredentials }))).includes("own"));
        }
      }));

    it("take part in an upgrade", () =>
      visit(listed, async (connect) => {
        await connect(s.url, { withCredentials: true });
        assert.deepEqual(await cookiesOf(s, await connect(s.url, { withCredentials: true })), ["io", "route"]);
      }));

    it("are refused to pages that are not listed", () =>
      visit(foreign, async (connect, context) => {
        const { error } = await connect(s.url, { transports: ["polling"], withCredentials: true });
        assert.equal(error, "xhr poll error");
        if (impl !== "go") return; // the reference checks no origin, only the browser does
        assert.ok(!(await context.cookies(s.url)).some((c) => c.name === "io"));
        assert.equal((await connect(s.url, { transports: ["websocket"] })).error, "websocket error");
      }));

    it("are refused to pages of any origin, who may connect without", () =>
      visit(foreign, async (connect) => {
        assert.equal((await connect(any.url, { transports: ["polling"], withCredentials: true })).error, "xhr poll error");
        assert.deepEqual(await cookiesOf(any, await connect(any.url, { transports: ["polling"] })), []);
      }));
  });
}
