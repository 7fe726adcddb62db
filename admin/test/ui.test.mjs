// The official UI, as it comes from npm, in a real browser against a Go server. With
// SCREENSHOT=<file> it takes the picture of docs/admin.md.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";
import { credentials, start, until } from "./servers.mjs";

const timeout = 240_000;
let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
});
after(() => browser?.close());

// open shows the UI. Whatever its page fails to catch fails the test.
async function open(server, errors) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  await context.route((url) => url.origin !== server.url, (route) => route.abort()); // fonts of other hosts
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (e) => errors.push(e.message));
  await page.goto(server.url + "/ui/");
  return page;
}

async function login(page, server, { username, password }) {
  await page.getByLabel("Server URL").fill(server.url);
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Connect" }).click();
}


// show goes to a page of the UI and waits until the one before has faded away.
async function show(page, path, title) {
  await page.evaluate((p) => (location.hash = p), "#" + path);
  const titles = page.locator("main .v-breadcrumbs");
  await until(`page ${title}`, async () => {
    const [text, ...others] = await titles.allInnerTexts();
    return !others.length && text?.trim().endsWith(title);
  });
}
const row = (page, text) => page.locator("tbody tr", { hasText: text });

async function connect(server) {
  const client = io(server.url, { forceNew: true, reconnection: false });
  await until("a connection", () => client.connected && client.io.engine.transport.name === "websocket");
  assert.equal(await client.timeout(30_000).emitWithAck("hello", "Ann"), "ok");
  return client;
}

describe("a UI that may act", { timeout }, () => {
  let server, page, client;
  const errors = [];
  before(async () => {
    server = await start("go", "-development", "-writable");
    client = await connect(server);
    page = await open(server, errors);
  }, { timeout });
  after(async () => {
    client?.disconnect();
    await server?.stop();
    assert.deepEqual(errors, []);
  });

  it("turns a wrong password away and takes the right one", async () => {
    await login(page, server, { ...credentials, password: "wrong" });
    await page.getByText("Invalid credentials").waitFor();
    await login(page, server, credentials);
    await page.getByText("Invalid credentials").waitFor({ state: "hidden" });
    await page.getByLabel("Server URL").waitFor({ state: "hidden" });
  });

  it("shows the dashboard", async () => {
    await page.getByText("Clients", { exact: true }).first().waitFor();
    await until("both clients are counted", async () => /Clients\s[\s\S]*\b2\b/.test(await page.locator("main").innerText()));
    if (process.env.SCREENSHOT) {
      await until("two reports", async () => (await page.locator("canvas").count()) >= 2);
      await page.waitForTimeout(6_000); // for the charts to fill
      await page.screenshot({ path: process.env.SCREENSHOT });
    }
  });

  it("lists the server as healthy", async () => {
    await show(page, "/servers/", "Servers");
    await until("a server", async () => /healthy/i.test(await row(page, /./).first().innerText()));
  });

  it("lists sockets and clients with their address and transport", async () => {
    await show(page, "/sockets/", "Sockets");
    await row(page, client.id).waitFor();
    assert.match(await row(page, client.id).innerText(), /127\.0\.0\.1[\s\S]*WebSocket/i);
    await show(page, "/clients/", "Clients");
    await until("two clients", async () => (await row(page, "127.0.0.1").count()) === 2);
  });

  it("lists rooms and events", async () => {
    await show(page, "/rooms/", "Rooms");
    assert.match(await row(page, "guests").innerText(), /guests/);
    await show(page, "/events/", "Events");
    const other = await connect(server);
    for (const what of ["hello", "welcome", "guests"]) await row(page, other.id).filter({ hasText: what }).first().waitFor();
    other.disconnect();
    await row(page, "client namespace disconnect").first().waitFor();
  });

  it("joins and leaves for a socket, and shows its data", async () => {
    await show(page, `/n/${encodeURIComponent("/")}/sockets/${client.id}`, "Socket details");
    await page.getByText('"name": "Ann"').waitFor();
    await page.getByLabel("Join a room").fill("picked");
    await page.locator("main form button[type=submit]").click();
    await row(page, "picked").waitFor();
    await row(page, "picked").getByRole("button").click();
    await show(page, "/rooms/", "Rooms"); // the click went through to the room's page
    await row(page, "guests").waitFor();
    await until("the room is gone", async () => (await row(page, "picked").count()) === 0);
  });

  it("disconnects a socket", async () => {
    await show(page, "/sockets/", "Sockets");
    await row(page, client.id).getByRole("button").click();
    await until("the end", () => client.disconnected);
    await show(page, "/clients/", "Clients"); // the click went through to the socket's page
    await until("one client", async () => (await row(page, "127.0.0.1").count()) === 1);
    assert.match(server.log(), /admin\.action/);
  });

  it("stays logged in over a reload", async () => {
    await page.reload();
    await page.getByLabel("Server URL").waitFor({ state: "detached" });
    await show(page, "/servers/", "Servers");
    await until("a server", async () => /healthy/i.test(await row(page, /./).first().innerText()));
  });
});

it("a UI that may only look cannot act", { timeout }, async () => {
  const server = await start("go", "-development");
  const errors = [];
  const client = await connect(server);
  try {
    const page = await open(server, errors);
    await login(page, server, credentials);
    await show(page, "/sockets/", "Sockets");
    await row(page, client.id).waitFor();
    assert.equal(await row(page, client.id).getByRole("button").count(), 0);
    // A UI that does not keep to what it was told.
    const rogue = io(server.url + "/admin", { auth: credentials, forceNew: true, transports: ["websocket"] });
    const [config] = await new Promise((resolve) => rogue.once("config", (...args) => resolve(args)));
    assert.deepEqual(config.supportedFeatures, ["AGGREGATED_EVENTS", "ALL_EVENTS"]);
    rogue.emit("join", "/", "x", client.id);
    rogue.emit("emit", "/", undefined, "note");
    rogue.emit("_disconnect", "/", true);
    client.once("note", () => errors.push("got the event"));
    await new Promise((resolve) => rogue.once("server_stats", resolve));
    await new Promise((resolve) => rogue.once("server_stats", resolve)); // long after the orders
    assert.ok(client.connected);
    await show(page, `/n/${encodeURIComponent("/")}/sockets/${client.id}`, "Socket details");
    await row(page, "guests").waitFor();
    assert.equal(await row(page, /^x$/).count(), 0);
    rogue.disconnect();
    assert.deepEqual(errors, []);
  } finally {
    client.disconnect();
    await server.stop();
  }
});

it("a UI in production shows statistics", { timeout }, async () => {
  const server = await start("go");
  const errors = [];
  try {
    const page = await open(server, errors);
    await login(page, server, credentials);
    await page.getByLabel("Server URL").waitFor({ state: "hidden" });
    await show(page, "/servers/", "Servers");
    await until("a server", async () => /healthy/i.test(await row(page, /./).first().innerText()));
    assert.deepEqual(errors, []);
  } finally {
    await server.stop();
  }
});
