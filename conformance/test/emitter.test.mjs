// Emitters of either implementation into clusters of either, every operation over
// every wire, asserted at real clients. CONFORMANCE_PAIRS="go,go;node,node" and
// CONFORMANCE_ADAPTERS choose what runs. Prints one table: operation and wire by
// direction.
import { after, before, describe, it } from "node:test";
import { notANode, publishCases, requestCases } from "../cases/emitter.mjs";
import { closeClients } from "../lib/client.mjs";
import { Cluster } from "../lib/cluster.mjs";
import { goEmitter, nodeEmitter } from "../lib/emitters.mjs";
import { target } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { Table } from "../lib/table.mjs";

const pairs = (process.env.CONFORMANCE_PAIRS ?? (target === "node" ? "node,node" : "go,go;node,node"))
  .split(";").map((pair) => pair.split(","));
const wires = (process.env.CONFORMANCE_ADAPTERS ?? "redis,sharded-dynamic,streams").split(",");
const emitters = target === "node" ? [nodeEmitter] : [goEmitter, nodeEmitter];

const table = new Table();
let redis;
before(async () => (redis = await startRedis()));
after(async () => {
  await redis?.kill();
  console.log(`\nEmitters, by wire, operation and direction\n${table}\n`);
});

for (const [i, wire] of wires.entries()) {
  describe(`emitters over ${wire}`, { timeout: 180_000 }, () => {
    for (const pair of pairs) describe(`into ${pair}`, () => into(pair, wire, i % 2 ? "/custom" : "/"));
  });
}

// missing says why an emitter cannot do something; nothing when it can.
function missing(make, wire, operation) {
  if (make === goEmitter) return;
  if (wire.startsWith("sharded")) return "no published emitter speaks sharded pub/sub";
  if (operation in requestCases) return "the published emitters hear no answers";
}

function into(pair, wire, nsp) {
  let cluster;
  before(async () => (cluster = await Cluster.start(pair, wire, redis, nsp)));
  after(async () => {
    closeClients();
    await cluster?.stop();
  });
  for (const make of emitters) {
    const direction = `${make === goEmitter ? "Go" : "Node"}→${pair}`;
    describe(direction, () => {
      const cases = { ...publishCases, ...requestCases, ...notANode };
      const can = Object.keys(cases).filter((operation) => {
        const reason = missing(make, wire, operation);
        table.record(`${wire}: ${operation}`, direction, reason ? "n.a." : "FAIL", reason);
        return !reason;
      });
      if (!can.length) return;
      let emitter;
      before(async () => (emitter = await make(cluster, wire)));
      after(() => emitter?.close());
      for (const operation of can) {
        it(operation, { timeout: 60_000 }, async () => {
          for (const client of cluster.clients) client.box.length = 0;
          await cases[operation](cluster, emitter);
          table.record(`${wire}: ${operation}`, direction, "ok");
        });
      }
    });
  }
}
