// What servers of the future may say on each wire, written by hand: requests and
// messages of unknown types, and known ones with more in them. Node.js nodes, which
// get such things from Go nodes, have to go on unharmed; Go nodes count the unknown.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { encode } from "@msgpack/msgpack";
import { closeClients } from "../lib/client.mjs";
import { Cluster, fresh } from "../lib/cluster.mjs";
import { ctl } from "../lib/ctl.mjs";
import { target } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { until } from "../lib/wait.mjs";

const mix = target === "node" ? ["node", "node"] : ["go", "node", "node"];
const packet = (event) => ({ type: 2, data: [event], nsp: "/" });
const opts = { rooms: [], except: [], flags: {} };
const ext = "from a server of the future";

// Per wire: what of an unknown type is said, how many of these a Go node counts, and
// what of a known type says more than is known.
const wires = {
  redis: {
    unknown: 2,
    async strange({ redis, key }) {
      const request = { type: 99, uid: "stranger", requestId: "r1", rooms: ["x"], future: { deep: [1] } };
      await redis.publish(`${key}-request#/#`, JSON.stringify(request));
      await redis.publish(`${key}-request#/#`, Buffer.from(encode(request)));
      await redis.publish(`${key}-response#/#`, JSON.stringify({ type: 99, requestId: "r1", uid: "stranger", future: 1 }));
    },
    async more({ redis, key }, event) {
      await redis.publish(`${key}#/#`, Buffer.from(encode(["stranger", packet(event), opts, ext, { fifth: 5 }])));
    },
  },
  "sharded-dynamic": {
    unknown: 2,
    async strange({ redis, key }) {
      const message = { uid: "stranger", nsp: "/", type: 99, data: { requestId: "r1", future: { deep: [1] } }, ext };
      await redis.sPublish(`${key}#/#`, JSON.stringify(message));
      await redis.sPublish(`${key}#/#`, Buffer.from(encode(message)));
    },
    async more({ redis, key }, event) {
      const message = { uid: "stranger", nsp: "/", type: 3, data: { packet: packet(event), opts, future: 1 }, ext, future: [2] };
      await redis.sPublish(`${key}#/#`, Buffer.from(encode(message)));
    },
  },
  streams: {
    unknown: 2,
    async strange({ redis, key }) {
      const entry = { uid: "stranger", nsp: "/", type: "99", future: "1" };
      await redis.xAdd(key, "*", entry);
      await redis.xAdd(key, "*", { ...entry, data: JSON.stringify({ requestId: "r1" }), ext });
    },
    async more({ redis, key }, event) {
      const data = JSON.stringify({ packet: packet(event), opts, future: 1 });
      await redis.xAdd(key, "*", { uid: "stranger", nsp: "/", type: "3", data, ext, future: "2" });
    },
  },
};

let redis;
before(async () => (redis = await startRedis()));
after(() => redis?.kill());

for (const [wire, { strange, more, unknown }] of Object.entries(wires)) {
  describe(`the unknown over ${wire}`, { timeout: 120_000 }, () => {
    let cluster;
    before(async () => (cluster = await Cluster.start(mix, wire, redis, "/")));
    after(async () => {
      closeClients();
      await cluster?.stop();
    });
    const heard = (event) => until(
      () => cluster.clients.every((client) => client.box.some(([name]) => name === event)), `${event} to be heard`);

    it("goes by, and everything else goes on", async () => {
      await strange(cluster);
      for (const node of cluster.nodes) {
        const event = fresh("after");
        await cluster.ctl(node, "emit", { event });
        await heard(event);
        assert.equal(await ctl(node, "serverCount", { nsp: "/" }), mix.length);
        assert.equal((await cluster.ctl(node, "fetchSockets", {})).length, cluster.clients.length);
      }
    });

    it("is ignored within what is known", async () => {
      const event = fresh("more");
      await more(cluster, event);
      await heard(event);
    });

    it("is counted by Go nodes", { skip: target === "node" }, async () => {
      const go = cluster.nodes.find(({ name }) => name === "A");
      await until(async () => (await ctl(go, "pending", {})).unknown === unknown, `${unknown} to be counted`);
    });
  });
}
