// The official UI in a fleet of one Go node and one Node.js node that runs the
// reference's instrument(), on a real Redis: connected to either, it shows both and acts
// on sockets of the other.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startRedis } from "../../conformance/lib/redis.mjs";
import { credentials, startNode, until } from "./servers.mjs";
import { connect, launch, login, open, row, show } from "./ui.mjs";

const timeout = 300_000;
let browser, redis;

before(async () => {
  browser = await launch();
  redis = await startRedis();
}, { timeout });
after(async () => {
  await browser?.close();
  await redis?.kill();
});

for (const [here, there] of [["go", "node"], ["node", "go"]]) {
  describe(`a UI connected to the ${here} node`, { timeout }, () => {
    const nodes = {}, clients = {}, errors = [];
    let page;
    before(async () => {
      const flags = ["-development", "-writable"];
      const cluster = { SOCKETIO_ADAPTER: redis.url };
      nodes.go = await startNode("go", { ...cluster, SOCKETIO_NODE_ID: "gopher" }, ...flags);
      // The page is the Go node's, so that the other one lets its origin in.
      nodes.node = await startNode("node", { ...cluster, SOCKETIO_NODE_ID: "reference", SOCKETIO_ORIGINS: nodes.go.url }, ...flags);
      for (const kind of ["go", "node"]) clients[kind] = await connect(nodes[kind]);
      page = await open(browser, errors, nodes.go, nodes.node);
      await login(page, nodes[here], credentials);
      await page.getByLabel("Server URL").waitFor({ state: "hidden" });
    }, { timeout });
    after(async () => {
      await page?.close();
      for (const client of Object.values(clients)) client.disconnect();
      for (const node of Object.values(nodes)) await node.stop();
      assert.deepEqual(errors, []);
    });

    it("lists both servers as healthy", async () => {
      await show(page, "/servers/", "Servers");
      for (const id of ["gopher", "reference"]) {
        await until(id, async () => /healthy/i.test((await row(page, id).allInnerTexts()).join()));
      }
    });

    it("lists the sockets and clients of both", async () => {
      await show(page, "/sockets/", "Sockets");
      for (const client of Object.values(clients)) {
        await row(page, client.id).waitFor();
        assert.match(await row(page, client.id).innerText(), /127\.0\.0\.1[\s\S]*WebSocket/i);
      }
      await show(page, "/clients/", "Clients");
      await until("both clients and the UI", async () => (await row(page, "127.0.0.1").count()) === 3);
    });

    it("lists rooms with the members of both", async () => {
      await show(page, "/rooms/", "Rooms");
      await until("two guests", async () => /guests\s[\s\S]*\b2\b/.test((await row(page, "guests").allInnerTexts()).join()));
    });

    it("shows what happens on the other node", async () => {
      await show(page, "/events/", "Events");
      const late = await connect(nodes[there]);
      for (const what of ["hello", "welcome", "guests"]) await row(page, late.id).filter({ hasText: what }).first().waitFor();
      late.disconnect();
      await row(page, late.id).filter({ hasText: "client namespace disconnect" }).first().waitFor();
    });

    it("joins and leaves for a socket of the other node, and shows its data", async () => {
      const { id } = clients[there];
      await show(page, `/n/${encodeURIComponent("/")}/sockets/${id}`, "Socket details");
      await page.getByText('"name": "Ann"').waitFor();
      await page.getByLabel("Join a room").fill("picked");
      await page.locator("main form button[type=submit]").click();
      await row(page, "picked").waitFor(); // told by the node that has the socket
      await row(page, "picked").getByRole("button").click();
      await show(page, "/rooms/", "Rooms"); // the click went through to the room's page
      await row(page, "guests").waitFor();
      await until("the room is gone", async () => (await row(page, "picked").count()) === 0);
    });

    it("disconnects a socket of the other node, and no other", async () => {
      const { id } = clients[there];
      await show(page, "/sockets/", "Sockets");
      await row(page, id).getByRole("button").click();
      await until("the end", () => clients[there].disconnected);
      await show(page, "/clients/", "Clients"); // the click went through to the socket's page
      await until("one client and the UI", async () => (await row(page, "127.0.0.1").count()) === 2);
      assert.ok(clients[here].connected);
    });
  });
}
