// The pages of the examples in a real browser. It takes the screenshots of the
// README: with SCREENSHOTS=docs/img they are written there.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

const root = new URL("..", import.meta.url).pathname;
const { chromium } = createRequire(join(root, "client/package.json"))("playwright-core");
const work = mkdtempSync(join(tmpdir(), "examples-"));
const shots = process.env.SCREENSHOTS ? join(root, process.env.SCREENSHOTS) : work;
mkdirSync(shots, { recursive: true });

const wide = { viewport: { width: 1280, height: 860 } };
const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const patience = 60_000;

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
});
after(async () => {
  await browser?.close();
  rmSync(work, { recursive: true });
});

const freePort = () =>
  new Promise((done, failed) => {
    const s = createServer().on("error", failed);
    s.listen(0, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => done(port));
    });
  });

// start builds and runs an example on a free port, until its suite has ended.
function start(name) {
  const example = { errors: [] };
  before(async () => {
    const binary = join(work, name);
    execFileSync("go", ["build", "-o", binary, `./examples/${name}`], { cwd: root, stdio: "inherit" });
    example.port = await freePort();
    example.url = `http://127.0.0.1:${example.port}`;
    example.process = spawn(binary, ["-addr", `127.0.0.1:${example.port}`], { stdio: ["ignore", "pipe", "inherit"] });
    let printed = "";
    example.process.stdout.on("data", (text) => (printed += text));
    for (const limit = Date.now() + 60_000; ; ) {
      const up = await fetch(example.url + "/").then((r) => r.ok, () => false);
      if (up && (name !== "cluster" || printed.includes("Open http"))) return; // after its own proof
      assert.ok(Date.now() < limit && example.process.exitCode === null, `${name} does not start: ${printed}`);
      await new Promise((r) => setTimeout(r, 100));
    }
  }, { timeout: 180_000 });
  after(async () => {
    example.process?.kill("SIGINT");
    if (example.process?.exitCode === null) await new Promise((r) => example.process.once("exit", r));
    assert.deepEqual(example.errors, []);
  });
  // open shows the page as somebody. Whatever the page fails to catch fails the suite.
  example.open = async (path, options) => {
    const page = await (await browser.newContext({ ...wide, ...options })).newPage();
    page.setDefaultTimeout(patience);
    page.on("pageerror", (e) => example.errors.push(`${path}: ${e.message}`));
    for (let tries = 5; ; tries--) {
      try {
        await page.goto(example.url + path);
        return page;
      } catch (e) {
        // A connection that the browser kept and the server has just given up.
        if (!tries || !/ERR_(SOCKET_NOT_CONNECTED|CONNECTION|EMPTY_RESPONSE)/.test(e.message)) throw e;
      }
    }
  };
  return example;
}

const connected = (page) => page.waitForSelector("#state[data-state=connected]");
async function enter(example, name, options, query = "") {
  const page = await example.open(`/?name=${encodeURIComponent(name)}${query}`, options);
  await connected(page);
  await page.waitForFunction(() => document.querySelector("#node").textContent !== "–");
  return page;
}
async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}
const hears = (page, text) => page.waitForSelector(`#log .bubble:has-text(${JSON.stringify(text)})`);

describe("chat", { timeout: 480_000 }, () => {
  const example = start("chat");

  it("talks between two windows", async () => {
    const ada = await enter(example, "Ada");
    const linus = await enter(example, "Linus", { colorScheme: "dark" });
    await say(ada, "Good morning!");
    await hears(linus, "Good morning!");
    await ada.waitForSelector(".ticks.seen");
    await linus.locator("#text").pressSequentially("Hel");
    await ada.waitForFunction(() => document.querySelector("#typing").textContent === "Linus is typing…");
    await ada.waitForFunction(() => document.querySelectorAll("#people li").length === 2);
    await ada.waitForFunction(() => document.querySelector("#transport").textContent === "websocket");

    await say(linus, "<b>not</b> HTML & a long " + "word".repeat(60));
    const bubble = await hears(ada, "<b>not</b>");
    assert.equal(await bubble.evaluate((e) => e.children.length), 0);
    await linus.close();
    await ada.waitForFunction(() => document.querySelectorAll("#people li").length === 1);
  });

  it("shows who has several windows once, until the last is closed", async () => {
    const ada = await enter(example, "Ada");
    const windows = [await enter(example, "Grace"), await enter(example, "grace")];
    const graces = (n) => ada.waitForFunction((n) => [...document.querySelectorAll("#people b")].filter((e) => /^grace$/i.test(e.textContent)).length === n, n);
    await graces(1);
    await windows[0].close();
    await say(windows[1], "still here");
    await hears(ada, "still here");
    await graces(1);
    await windows[1].close();
    await graces(0);
  });

  it("sends pictures and files as binary", async () => {
    const [ada, linus] = [await enter(example, "Ada"), await enter(example, "Linus")];
    const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
    await ada.setInputFiles("#file", { name: "dot.png", mimeType: "image/png", buffer: png });
    const image = await linus.waitForSelector("#log img");
    await image.evaluate((e) => e.decode());
    assert.equal(await image.evaluate((e) => e.naturalWidth), 1);
    await ada.setInputFiles("#file", { name: "page.html", mimeType: "text/html", buffer: Buffer.from("<script>alert(1)</script>") });
    const link = await linus.waitForSelector("#log a:has-text('page.html')");
    assert.equal(await link.getAttribute("download"), "page.html");
    await ada.setInputFiles("#file", { name: "big", mimeType: "x/y", buffer: Buffer.alloc(513 * 1024) });
    await ada.waitForSelector(".notice.bad:has-text('512 KiB')");
  });

  it("keeps rooms apart", async () => {
    const [ada, linus] = [await enter(example, "Ada"), await enter(example, "Linus")];
    await linus.fill("#room-name", "quiet");
    await linus.press("#room-name", "Enter");
    await linus.waitForSelector("#rooms [aria-current=true]:has-text('quiet')");
    await say(ada, "only for the lobby");
    await say(linus, "only here");
    await linus.click("#rooms button:has-text('lobby')");
    await say(ada, "welcome back");
    await hears(linus, "welcome back");
    assert.equal(await linus.locator(".bubble:has-text('only for the lobby')").count(), 0);
    assert.equal(await ada.locator(".bubble:has-text('only here')").count(), 0);
  });

  it("recovers what it missed", async () => {
    const [ada, linus] = [await enter(example, "Ada"), await enter(example, "Linus")];
    await say(ada, "before");
    await hears(linus, "before");
    await linus.evaluate("socket.io.engine.close()");
    await say(ada, "meanwhile");
    await linus.waitForSelector(".notice.good:has-text('nothing was missed')");
    await hears(linus, "meanwhile");
  });

  it("fits a phone", async () => {
    const page = await enter(example, "A rather long name here!", phone);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"));
    const send = await page.locator("#submit").boundingBox();
    assert.ok(send.x + send.width <= 390 && send.y + send.height <= 780);
  });
});

describe("cluster", { timeout: 480_000 }, () => {
  const example = start("cluster");

  it("shows its nodes, and a killed one loses nothing", async () => {
    const ada = await enter(example, "Ada", { colorScheme: "light" });
    const linus = await enter(example, "Linus", { colorScheme: "dark" });
    const grace = await enter(example, "Grace", phone);
    const others = [];
    for (const [i, name] of ["Edsger", "Barbara", "Tony", "Margaret", "Ken"].entries()) {
      others.push(await enter(example, name, wide, i % 2 ? "&room=random" : "&transports=polling"));
    }
    await ada.waitForFunction(() => document.querySelectorAll("#graph .socket").length === 8);
    await say(ada, "Which node are you on?");
    await hears(others[0], "Which node are you on?"); // a client that polls
    await say(linus, "Let me look at the map.");
    await say(grace, "A phone, behind the same port.");
    await say(others[0], "Polling, through plain round robin.");
    await hears(ada, "Polling, through plain round robin.");

    const node = await ada.textContent("#node");
    await linus.click(`#nodes button:has-text("Kill ${node}")`);
    await linus.waitForSelector("#graph .dead");
    await connected(linus);
    await say(linus, "Ada, your node is gone. Can you read this?");
    await ada.waitForSelector(".notice.good:has-text('nothing was missed')");
    await hears(ada, "Can you read this?");
    assert.notEqual(await ada.textContent("#node"), node);
    await say(ada, "Yes: I am on another one, and missed nothing.");
    await hears(grace, "missed nothing.");
    await ada.waitForTimeout(300); // for the picture: a message between two nodes
    await ada.screenshot({ path: join(shots, "cluster.png") });
    await linus.screenshot({ path: join(shots, "cluster-dark.png") });
    await grace.screenshot({ path: join(shots, "cluster-phone.png") });

    await linus.click(`#nodes button:has-text("Start ${node}")`);
    await linus.waitForFunction(() => !document.querySelector("#graph .dead"));

    // Who does not come back from a node that was killed leaves the lists of all others.
    const guest = await enter(example, "A guest");
    const listed = (page, yes) => page.waitForFunction((yes) => yes === [...document.querySelectorAll("#people b")].some((e) => e.textContent === "A guest"), yes);
    await listed(ada, true);
    await guest.evaluate("socket.io.reconnection(false)");
    const last = await guest.textContent("#node");
    await linus.click(`#nodes button:has-text("Kill ${last}")`);
    for (const page of [ada, linus]) {
      await listed(page, false);
      await page.waitForFunction(() => document.querySelectorAll("#people li").length === 6);
    }
  });
});

describe("intro", { timeout: 480_000 }, () => {
  const example = start("intro");

  it("welcomes, and sends to all and to one", async () => {
    const [a, b] = [await example.open("/"), await example.open("/")];
    const line = (page, text) => page.waitForSelector(`#log li:has-text(${JSON.stringify(text)})`);
    const id = /You are (\S+)\./.exec(await (await line(b, "Hello! You are")).textContent())[1];
    await line(a, `${id} joined`);
    await a.fill("#to", id);
    await a.fill("#text", "to you");
    await a.press("#text", "Enter");
    await line(b, ": to you");
    await a.fill("#to", "");
    await a.fill("#text", "to all");
    await a.press("#text", "Enter");
    await line(a, ": to all");
    await line(b, ": to all");
    assert.equal(await a.locator("li:has-text('to you')").count(), 0);
    await b.close();
    await line(a, `${id} left`);
  });
});
