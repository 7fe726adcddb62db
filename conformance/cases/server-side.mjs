// Events between the nodes themselves.
import assert from "node:assert/strict";
import { REQUESTS_TIMEOUT, fresh } from "../lib/cluster.mjs";
import { accepts } from "../lib/differences.mjs";
import { until } from "../lib/wait.mjs";

const others = (cluster, node) => cluster.nodes.filter((n) => n !== node);

async function listen(cluster, event, answers) {
  for (const [i, node] of cluster.nodes.entries()) {
    await cluster.ctl(node, "serverSideListen", { event, ...answers(node, i) });
    await cluster.ctl(node, "serverSideLog");
  }
}

export const serverSideCases = {
  async "serverSideEmit"(cluster, node) {
    const [event, marker] = [fresh("sse"), fresh("sse-marker")];
    await listen(cluster, event, () => ({ mode: "record" }));
    await listen(cluster, marker, () => ({ mode: "record" }));
    const args = [1, "é", { a: [null] }];
    await cluster.ctl(node, "serverSideEmit", { event, args });
    await cluster.ctl(node, "serverSideEmit", { event });
    await cluster.ctl(node, "serverSideEmit", { event: marker });
    const want = [[event, args], [event, []], [marker, []]]
      .map(([name, list]) => ({ nsp: cluster.nsp, event: name, args: list, withAck: false }));
    for (const other of others(cluster, node)) {
      const log = [];
      await until(async () => log.push(...(await cluster.ctl(other, "serverSideLog"))) >= 3, `the events on ${other.name}`);
      assert.deepEqual(log, want);
    }
    assert.deepEqual(await cluster.ctl(node, "serverSideLog"), [], "the sender hears nothing");
  },

  async "serverSideEmit with ack"(cluster, node) {
    const event = fresh("sse");
    await listen(cluster, event, (n) => ({ mode: "reply", value: { from: n.name, v: ["é", null] } }));
    const got = await cluster.ctl(node, "serverSideEmit", { event, args: ["question"], ack: true });
    const want = others(cluster, node).map((n) => ({ from: n.name, v: ["é", null] }));
    assert.equal(got.err, null);
    assert.deepEqual(got.responses.sort((a, b) => (a.from < b.from ? -1 : 1)), want);
    for (const other of others(cluster, node)) {
      assert.deepEqual(await cluster.ctl(other, "serverSideLog"),
        [{ nsp: cluster.nsp, event, args: ["question"], withAck: true }]);
    }
  },

  async "serverSideEmit, acks given twice"(cluster, node) {
    const event = fresh("sse");
    await listen(cluster, event, (n) => ({ mode: "reply-twice", value: n.name }));
    const got = await cluster.ctl(node, "serverSideEmit", { event, ack: true });
    assert.deepEqual({ ...got, responses: got.responses.sort() },
      { err: null, responses: others(cluster, node).map((n) => n.name) });
  },

  async "serverSideEmit, an answer missing"(cluster, node) {
    const event = fresh("sse");
    const [answering, silent] = others(cluster, node);
    await listen(cluster, event, (n) => (n === silent ? { mode: "record" } : { mode: "reply", value: n.name }));
    const start = Date.now();
    const got = await cluster.ctl(node, "serverSideEmit", { event, ack: true });
    accepts("server-side ack missing", got.err);
    assert.deepEqual(got.responses, [answering.name]);
    if (cluster.classic) assert.ok(Date.now() - start >= REQUESTS_TIMEOUT - 50, "it waits for the answer");
  },
};
