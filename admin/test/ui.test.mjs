// The official UI against a Go server. With SCREENSHOT=<file> it takes the picture of
// docs/admin.md.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { io } from "socket.io-client";
import { credentials, start, until } from "./servers.mjs";
import { connect, launch, login, open, row, show } from "./ui.mjs";

const timeout = 240_000;
let browser;

before(async () => {
  browser = await launch();
});
after(() => browser?.close());

describe("a UI that may act", { timeout }, () => {
  let server, page, client;
  const errors = [];
  before(async () => {
    server = await start("go", "-development", "-writable");
    client = await connect(server);
    page = await open(browser, errors, server);
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
    const page = await open(browser, errors, server);
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
    const page = await open(browser, errors, server);
    await login(page, server, credentials);
    await page.getByLabel("Server URL").waitFor({ state: "hidden" });
    await show(page, "/servers/", "Servers");
    await until("a server", async () => /healthy/i.test(await row(page, /./).first().innerText()));
    assert.deepEqual(errors, []);
  } finally {
    await server.stop();
  }
});
