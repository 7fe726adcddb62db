// Redis goes away under a mixed cluster and comes back: no node ends, clients
// stay, the node's own clients are served meanwhile, and the cluster heals.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeClients } from "../lib/client.mjs";
import { Cluster, fresh } from "../lib/cluster.mjs";
import { target } from "../lib/process.mjs";
import { startOwnRedis } from "../lib/redis.mjs";
import { until } from "../lib/wait.mjs";

const mix = target === "node" ? ["node", "node", "node"] : ["go", "node", "go"];

describe(`redis outage under ${mix}`, { timeout: 180_000 }, () => {
  let redis;
  let cluster;
  before(async () => {
    redis = await startOwnRedis();
    cluster = await Cluster.start(mix, "redis", redis, "/");
  });
  after(async () => {
    closeClients();
    await cluster?.stop();
    await redis?.kill();
  });

  const got = (client, event) => client.box.some(([name]) => name === event);

  it("serves a node's own clients while Redis is away", async () => {
    await redis.kill();
    for (const node of cluster.nodes) {
      const event = fresh("local");
      await cluster.ctl(node, "emit", { event });
      await until(() => node.clients.every((client) => got(client, event)), `${event} on ${node.name}`);
      assert.equal(await node.clients[0].socket.emitWithAck("echo", "alive"), "alive");
    }
    assert.ok(cluster.clients.every(({ socket }) => socket.connected), "no client was dropped");
  });

  it("heals when Redis is back", async () => {
    redis = await startOwnRedis(redis.port);
    await cluster.settled();
    for (const node of cluster.nodes) {
      await until(async () => {
        const event = fresh("healed");
        await cluster.ctl(node, "emit", { event });
        return until(() => cluster.clients.every((client) => got(client, event)), event, 200).catch(() => false);
      }, `the emits of ${node.name} everywhere`, 15_000);
    }
    for (const node of cluster.nodes) {
      const { err, responses } = await cluster.ctl(node, "emitWithAck", { event: "ask", timeout: 4000 });
      assert.deepEqual([err, responses.length], [null, cluster.clients.length]);
      assert.equal((await cluster.ctl(node, "fetchSockets")).length, cluster.clients.length);
    }
    assert.ok(cluster.clients.every(({ socket, id }) => socket.connected && socket.id === id), "no client was dropped");
  });

  it("forgets the requests of the outage", async () => {
    for (const node of cluster.nodes) {
      await until(async () => {
        const { requests, acks } = await cluster.ctl(node, "pending");
        return requests === 0 && acks === 0;
      }, `${node.name} to forget its requests`, 30_000);
    }
  });
});
