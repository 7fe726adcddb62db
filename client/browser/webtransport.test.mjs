// WebTransport in a real browser: connected with at once, and upgraded to.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";

describe("browser, WebTransport", { timeout: 180_000 }, () => {
  const work = mkdtempSync(join(tmpdir(), "webtransport-"));
  let browser, server, port, hash;
  before(async () => {
    const binary = join(work, "server");
    execFileSync("go", ["build", "-o", binary, "./browser"], { cwd: new URL("../../webtransport", import.meta.url).pathname, stdio: "inherit" });
    server = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
    [port, hash] = String((await once(server.stdout, "data"))[0]).trim().split(" ");
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  }, { timeout: 120_000 });
  after(async () => {
    await browser?.close();
    server?.kill();
    rmSync(work, { recursive: true });
  });

  for (const transports of [["webtransport"], ["polling", "webtransport"]]) {
    it(`carries text and binary: ${transports}`, async () => {
      const page = await (await browser.newContext()).newPage();
      const failures = [];
      page.on("pageerror", (e) => failures.push(e.message));
      await page.goto(`http://127.0.0.1:${port}/`);
      const got = await page.evaluate(async ([transports, hash]) => {
        const value = Uint8Array.from(hash.match(/../g), (b) => parseInt(b, 16));
        const socket = (window.socket = io({ transports, transportOptions: { webtransport: { serverCertificateHashes: [{ algorithm: "sha-256", value }] } } }));
        await new Promise((ok, no) => socket.once("connect", ok).once("connect_error", no));
        for (let i = 0; i < 100 && socket.io.engine.transport.name !== "webtransport"; i++) await new Promise((r) => setTimeout(r, 100));
        const echo = (...args) => new Promise((ok) => socket.emit("echo", ...args, (...back) => ok(back)));
        const [text, bytes] = await echo("é".repeat(300), Uint8Array.of(0, 1, 255));
        const [large] = await echo(new Uint8Array(200_000).fill(7));
        return [await socket.emitWithAck("transport"), text.length, [...new Uint8Array(bytes)], large.byteLength];
      }, [transports, hash]);
      assert.deepEqual(got, ["webtransport", 300, [0, 1, 255], 200_000]);
      const end = page.evaluate(() => new Promise((r) => socket.once("disconnect", r)));
      await page.evaluate(() => socket.disconnect());
      assert.equal(await end, "io client disconnect");
      assert.deepEqual(failures, []);
    });
  }
});
