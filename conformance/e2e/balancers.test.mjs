// Fleets behind real load balancers, with the files of examples/deploy and the
// official client over every transport: no client may see a connection error.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { transportsOf } from "../lib/client.mjs";
import { Crowd, PATIENCE } from "../lib/crowd.mjs";
import { Fleet, startBalancer } from "../lib/fleet.mjs";
import { startRedis } from "../lib/redis.mjs";
import { pause, until } from "../lib/wait.mjs";

const CLIENTS = Number(process.env.E2E_CLIENTS ?? 100); // per transport

// A poll is on its way to its node at most this long; a later abort finds it waiting. When
// it takes longer the session ends all the same.
const POLL_ARRIVES = 300;

// Where the clients come from, as nodes must see them through any number of hops.
const HOME = "127.0.0.9";

// routes: the load balancer finds the owner itself, so that nothing is forwarded.
const balancers = [
  { file: "haproxy-roundrobin.cfg", routes: false },
  { file: "haproxy-sid.cfg", routes: true },
  { file: "haproxy-cookie.cfg", routes: true, client: { withCredentials: true } },
  { file: "nginx-roundrobin.conf", routes: false },
  { file: "nginx-sid.conf", routes: true },
];

const rows = [];
let redis;

before(async () => {
  redis = await startRedis();
});

after(async () => {
  await redis.kill();
  console.log("load balancer and transport              clients on n1/n2/n3  errors  polls/posts/upgrades forwarded");
  for (const row of rows) console.log(row);
});

for (const { file, routes, client } of balancers) {
  describe(file, { timeout: 600_000 }, () => {
    let fleet, balancer;

    before(async () => {
      // Clients share an address here.
      fleet = await new Fleet(redis.url, {
        SOCKETIO_ADDRESS_HANDSHAKE_RATE: "-1",
        SOCKETIO_MAX_CONNECTIONS_PER_ADDRESS: "-1",
        DRAIN_GRACE: "4s", // HAProxy has noticed by then
        DRAIN_WINDOW: "1s",
      }).start();
      balancer = await startBalancer(file, fleet);
    });

    after(async () => {
      await balancer?.kill();
      await fleet?.stop();
    });

    for (const [name, transports] of Object.entries(transportsOf)) {
      it(`serves ${CLIENTS} clients over ${name} without an error`, async () => {
        const before = await fleet.stats();
        const crowd = new Crowd(balancer.url, { home: HOME, ...client });
        try {
          await crowd.grow(CLIENTS, transports);
          const places = await crowd.places();
          await crowd.everybodyHears(`over ${name}`);
          const now = await fleet.stats();
          const forwarded = ["poll", "post", "upgrade"].map((kind) => now[kind] - before[kind]);
          rows.push(
            `${file.padEnd(24)} ${name.padEnd(14)} ${Object.values(places).join("/").padStart(20)} ` +
              `${String(crowd.errors.length).padStart(7)}  ${forwarded.join("/")}`,
          );
          const { client_gone: _, ...failed } = now.failed; // polls of clients that earlier tests closed
          assert.deepEqual([crowd.errors, crowd.losses, failed], [[], [], {}]);
          assert.ok(Object.values(places).every((n) => n > 0), `all nodes have clients: ${JSON.stringify(places)}`);
          const expected = { polling: [true, true, false], upgrade: [true, true, true], websocket: [false, false, false] };
          assert.deepEqual(
            forwarded.map((n) => n > 0),
            routes ? [false, false, false] : expected[name],
            "polls, posts and upgrades were forwarded",
          );
        } finally {
          crowd.close();
        }
      });
    }

    it("tells the node at once when a client goes away", async () => {
      await until(async () => (await fleet.sessions()) === 0, "the clients of other tests to go", PATIENCE);
      const url = `${balancer.url}/socket.io/?EIO=4&transport=polling`;
      const handshake = await fetch(url);
      const { sid } = JSON.parse((await handshake.text()).slice(1));
      const cookie = handshake.headers.get("set-cookie")?.split(";")[0] ?? "";
      assert.equal(await fleet.sessions(), 1);
      const gone = new AbortController();
      const poll = fetch(`${url}&sid=${sid}`, { signal: gone.signal, headers: { cookie } });
      await pause(POLL_ARRIVES);
      gone.abort();
      await assert.rejects(poll, { name: "AbortError" });
      // Much earlier than the ping times out.
      await until(async () => (await fleet.sessions()) === 0, "the session to end");
    });

    it("restarts a node without a connection error", async () => {
      const crowd = new Crowd(balancer.url, { home: HOME, reconnection: true, reconnectionDelay: 500, ...client });
      try {
        for (const transports of Object.values(transportsOf)) await crowd.grow(10, transports);
        await crowd.places();
        const moved = crowd.at.map(({ node }) => node === "n1");
        const ids = crowd.clients.map((s) => s.id);
        // Sessions go on while their node drains.
        const talk = setInterval(() => crowd.clients.forEach((s) => s.connected && s.emit("join", "room")), 200);
        await fleet.restart("n1").finally(() => clearInterval(talk));
        await until(() => crowd.clients.every((s) => s.connected), "clients to be back", PATIENCE);
        await crowd.places();
        await crowd.everybodyHears("after the restart");
        assert.deepEqual(crowd.errors, []);
        assert.ok(moved.includes(true));
        const { poll, post, upgrade } = await fleet.stats();
        if (routes) assert.deepEqual([poll, post, upgrade], [0, 0, 0], "polls, posts and upgrades were forwarded");
        crowd.clients.forEach((s, i) => {
          if (moved[i]) assert.notEqual(s.id, ids[i], "a client of the restarted node has a new session");
          else if (routes) assert.equal(s.id, ids[i], "a client of another node keeps its session");
        });
      } finally {
        crowd.close();
      }
    });
  });
}
