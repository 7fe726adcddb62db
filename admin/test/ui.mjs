// The official UI, as it comes from npm, in a real browser.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";
import { until } from "./servers.mjs";

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

// open shows the UI that the first server serves, which may talk to all of them.
// Whatever its page fails to catch ends up in errors.
export async function open(browser, errors, server, ...others) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const known = [server, ...others].flatMap(({ url }) => [url, url.replace("http", "ws")]);
  await context.route((url) => !known.includes(url.origin), (route) => route.abort()); // fonts of other hosts
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (e) => errors.push(e.message));
  await page.goto(server.url + "/ui/");
  return page;
}

export async function login(page, server, { username, password }) {
  await page.getByLabel("Server URL").fill(server.url);
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Connect" }).click();
}

// show goes to a page of the UI and waits until the one before has faded away.
export async function show(page, path, title) {
  await page.evaluate((p) => (location.hash = p), "#" + path);
  const titles = page.locator("main .v-breadcrumbs");
  await until(`page ${title}`, async () => {
    const [text, ...others] = await titles.allInnerTexts();
    return !others.length && text?.trim().endsWith(title);
  });
}
export const row = (page, text) => page.locator("tbody tr", { hasText: text });

export async function connect(server) {
  const client = io(server.url, { forceNew: true, reconnection: false });
  await until("a connection", () => client.connected && client.io.engine.transport.name === "websocket");
  assert.equal(await client.timeout(30_000).emitWithAck("hello", "Ann"), "ok");
  return client;
}
