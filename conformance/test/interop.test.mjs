// The interoperation table: what a node of one implementation does to the clients
// of another one, operation by wire and direction, each with separate processes
// and the published packages. Printed at the end, and written to the file
// CONFORMANCE_TABLE names. CONFORMANCE_PAIRS="go,node;node,node" and
// CONFORMANCE_ADAPTERS choose the columns; streams/csr is streams on servers with
// connection state recovery, which send some things on other ways.
import { writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { interopCases } from "../cases/interop.mjs";
import { recoveryCases } from "../cases/recovery.mjs";
import { closeClients } from "../lib/client.mjs";
import { Cluster } from "../lib/cluster.mjs";
import { stopNATS } from "../lib/nats.mjs";
import { target } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { Table } from "../lib/table.mjs";

const pairs = (process.env.CONFORMANCE_PAIRS ?? (target === "node" ? "node,node" : "go,node"))
  .split(";").map((pair) => pair.split(","));
const wires = (process.env.CONFORMANCE_ADAPTERS ?? "redis,sharded-dynamic,streams").split(",");
const names = { redis: "classic", "redis-specific": "classic, own channels", "streams/csr": "streams, recovery on" };
const WINDOW = 20_000; // of recovery, in milliseconds
const title = { go: "Go", node: "Node" };

const table = new Table();
let redis;
before(async () => (redis = await startRedis()));
after(async () => {
  await redis?.kill();
  await stopNATS();
  const text = `Interoperation, by operation, wire and direction\n${table}\n`;
  if (process.env.CONFORMANCE_TABLE) writeFileSync(process.env.CONFORMANCE_TABLE, text);
  console.log(`\n${text}`);
});

for (const wire of wires) {
  for (const pair of pairs) {
    describe(`${pair} over ${wire}`, { timeout: 300_000 }, () => interoperate(wire, pair));
    describe(`recovery, ${pair} over ${wire}`, { timeout: 300_000 }, () => recover(wire, pair));
  }
}

function interoperate(wire, pair) {
  let cluster;
  const [adapter, csr] = wire.split("/");
  before(async () => (cluster = await Cluster.start(pair, adapter, redis, "/", csr && { csr: WINDOW })));
  after(async () => {
    closeClients();
    await cluster?.stop();
  });
  for (const [operation, run] of Object.entries(interopCases)) {
    for (const [from, to] of directions(pair)) {
      check(wire, operation, [pair[from], pair[to]], run, async () => {
        for (const client of cluster.clients) client.box.length = 0;
        await run(cluster, cluster.nodes[from], cluster.nodes[to]);
      });
    }
  }
}

// recover starts a cluster for every row: most of them end a node.
function recover(wire, pair) {
  for (const [operation, run] of Object.entries(recoveryCases)) {
    for (const [from, to] of directions(pair)) {
      check(wire, operation, [pair[from], pair[to]], run, async () => {
        const cluster = await Cluster.start(pair, wire, redis, "/", { csr: WINDOW });
        try {
          await run(cluster, cluster.nodes[from], cluster.nodes[to]);
        } finally {
          closeClients();
          await cluster.stop();
        }
      });
    }
  }
}

// directions of nodes of one implementation are the same.
function directions([a, b]) {
  return a === b ? [[0, 1]] : [[0, 1], [1, 0]];
}

// check runs one cell of the table, unless the reference has no such thing.
function check(wire, operation, [from, to], run, body) {
  const column = `${names[wire] ?? wire} ${title[from]}→${title[to]}`;
  const reason = run.unavailable?.(wire, from, to);
  if (reason) return table.record(operation, column, "n.a.", reason);
  table.record(operation, column, "not run");
  it(`${operation}, ${column}`, { timeout: 60_000 }, async () => {
    table.record(operation, column, "FAIL");
    await body();
    table.record(operation, column, "ok");
  });
}
