// docker-compose.yml as it runs: scripts/docker-test starts the stack, and says in
// COMPOSE with which command and in COMPOSE_URL where it is published.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { transportsOf } from "../lib/client.mjs";
import { Crowd, PATIENCE } from "../lib/crowd.mjs";
import { until } from "../lib/wait.mjs";

const url = process.env.COMPOSE_URL;
const [command, ...args] = process.env.COMPOSE.split(" ");
// The clients go on meanwhile.
const compose = (...more) => promisify(execFile)(command, [...args, ...more]);
const CLIENTS = 40; // per transport

describe("docker compose up", { timeout: 300_000 }, () => {
  for (const [name, transports] of Object.entries(transportsOf)) {
    it(`serves ${CLIENTS} clients over ${name}`, async () => {
      const crowd = new Crowd(url);
      try {
        await crowd.grow(CLIENTS, transports);
        const places = await crowd.places();
        await crowd.everybodyHears(name);
        console.log(`${name}: ${crowd.errors.length} errors, ${JSON.stringify(places)}`);
        assert.deepEqual([crowd.errors, crowd.losses], [[], []]);
        assert.ok(Object.values(places).every((n) => n > 0), `all nodes have clients: ${JSON.stringify(places)}`);
      } finally {
        crowd.close();
      }
    });
  }

  it("stops and starts a node without a connection error", async () => {
    const crowd = new Crowd(url, { reconnection: true, reconnectionDelay: 500 });
    try {
      for (const transports of Object.values(transportsOf)) await crowd.grow(10, transports);
      assert.ok((await crowd.places()).n2 > 0);
      await compose("stop", "n2");
      await until(() => crowd.clients.every((s) => s.connected), "clients to be back", PATIENCE);
      assert.equal((await crowd.places()).n2, 0);
      await crowd.everybodyHears("from two nodes");

      await compose("start", "n2");
      const back = async () => {
        await crowd.grow(3, ["websocket"]);
        return (await crowd.places()).n2 > 0;
      };
      await until(back, "n2 to get clients again", PATIENCE);
      assert.deepEqual(crowd.errors, []);
    } finally {
      crowd.close();
    }
  });
});
