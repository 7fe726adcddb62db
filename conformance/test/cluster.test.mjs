// The matrix of mixed clusters: every operation, from one node of each
// implementation, on nodes of either implementation that share one Redis, or of Go
// nodes that share one NATS server.
//
// CONFORMANCE_MIXES="go,node,go;node,go,node", CONFORMANCE_ADAPTERS="redis,..." and
// CONFORMANCE_PARSERS="default,msgpack" choose what runs: every adapter with every
// parser on every mix. Without mixes and adapters each adapter runs on one mix;
// sweep.mjs runs them all. Prints operation by direction at the end.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { emitCases } from "../cases/emit.mjs";
import { classicCases, requestCases } from "../cases/requests.mjs";
import { serverSideCases } from "../cases/server-side.mjs";
import { closeClients } from "../lib/client.mjs";
import { Cluster } from "../lib/cluster.mjs";
import { stopNATS } from "../lib/nats.mjs";
import { target } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { Table } from "../lib/table.mjs";
import { once, until } from "../lib/wait.mjs";

const chosen = process.env.CONFORMANCE_MIXES ?? process.env.CONFORMANCE_ADAPTERS;
const mixes = (process.env.CONFORMANCE_MIXES ?? (target === "node" ? "node,node,node" : "go,node,go;node,go,node"))
  .split(";").map((mix) => mix.split(","));
const adapters = (process.env.CONFORMANCE_ADAPTERS ?? "redis,sharded-dynamic,streams").split(",");
const parsers = (process.env.CONFORMANCE_PARSERS ?? "default").split(",");
const runs = (m, i) => chosen || m === i % mixes.length;

// How clients and nodes speak does not change what nodes say to each other: with
// another parser only these run, whose events and answers clients see.
const visible = [
  "emit to everyone", "emit without arguments", "emit to a room", "emit volatile and uncompressed", "emit every JSON value",
  "emit binary", "emit from a socket", "relay by a client", "300 emits in order", "emitWithAck, all answer",
  "emitWithAck, values and binary", "fetchSockets, everyone", "fetchSockets, auth and query of the client",
  "disconnectSockets by room and id", "remote emit", "remote emitWithAck", "serverSideEmit with ack",
];

let redis;
const tables = [];
before(async () => (redis = await startRedis()));
after(async () => {
  await redis?.kill();
  await stopNATS();
  console.log(tables.join("\n"));
});

for (const [m, mix] of mixes.entries()) {
  for (const [i, adapter] of adapters.entries()) {
    if (!runs(m, i)) continue;
    for (const parser of parsers) matrix(mix, adapter, i % 2 ? "/custom" : "/", parser);
  }
}

function matrix(mix, adapter, nsp, parser) {
  const title = `${mix} over ${adapter}${parser === "default" ? "" : ` and ${parser}`}`;
  describe(`cluster of ${title}`, { timeout: 300_000 }, () => {
    const table = new Table();
    let cluster;
    before(async () => (cluster = await Cluster.start(mix, adapter, redis, nsp, { parser })));
    after(async () => {
      closeClients();
      await cluster?.stop();
      tables.push(`\n${title}, namespace ${nsp}\n${table}\n`);
    });

    const check = (operation, direction, run) => {
      it(`${operation}, ${direction}`, { timeout: 60_000 }, async () => {
        table.record(operation, direction, "FAIL");
        for (const client of cluster.clients) client.box.length = 0;
        await run();
        table.record(operation, direction, "ok");
      });
    };

    const classic = adapter.startsWith("redis");
    const cases = { ...emitCases, ...serverSideCases, ...(classic && classicCases), ...requestCases };
    const wanted = parser === "default" ? Object.keys(cases) : visible;
    for (const operation of wanted) {
      const run = cases[operation];
      for (const [n, impl] of mix.entries()) {
        if (mix.indexOf(impl) !== n) continue;
        const rest = mix.filter((_, i) => i !== n);
        check(operation, `${"ABC"[n]} ${impl} -> ${rest}`, () => run(cluster, cluster.nodes[n]));
      }
    }
    departures(() => cluster, check, mix);
  });
}

// Nodes that leave take their clients along and are no longer waited for.
function departures(of, check, mix) {
  const remain = async (cluster) => {
    await cluster.settled();
    cluster.clients = cluster.nodes.flatMap((node) => node.clients);
    for (const node of cluster.nodes) {
      const got = await cluster.ctl(node, "emitWithAck", { event: "ask", timeout: 4000 });
      assert.deepEqual({ ...got, responses: got.responses.sort() },
        { err: null, responses: cluster.clients.map((c) => c.name).sort() });
      assert.equal((await cluster.ctl(node, "fetchSockets")).length, cluster.clients.length);
    }
  };

  check("a node stops", `C ${mix[2]} -> ${mix.slice(0, 2)}`, async () => {
    const cluster = of();
    const node = cluster.nodes.pop();
    const gone = Promise.all(node.clients.map((c) => once(c.socket, "disconnect")));
    await cluster.ctl(node, "stop");
    for (const [reason] of await gone) assert.equal(reason, "transport close");
    assert.deepEqual(await node.exited, { code: 0, signal: null });
    await remain(cluster);
  });

  check("a node is killed", `B ${mix[1]} -> ${mix[0]}`, async () => {
    const cluster = of();
    await cluster.nodes.pop().kill();
    await until(async () => (await cluster.ctl(cluster.nodes[0], "serverCount")) === 1, "one node left", 30_000);
    await remain(cluster);
  });
}
