// A client in another language behind plain round robin, whose node is stopped with
// SIGTERM: it comes back on the other node, and from then on gets every event once and in
// order. DRAIN_CLIENT is its command as a JSON array, which gets the URL and the
// transports, and DRAIN_LANGUAGE its name. scripts/conformance-all runs this.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { startFront } from "../lib/front.mjs";
import { goBinary, run } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { until, within } from "../lib/wait.mjs";

const language = process.env.DRAIN_LANGUAGE;
const command = JSON.parse(process.env.DRAIN_CLIENT);
const PATIENCE = 60_000; // the machine may be busy

// A close packet is the end for python-socketio, which only polling has: its user has to
// connect again, and so the program does.
const away = (transports) => language === "python" && transports === "polling";

describe(`the ${language} client of a node that drains`, { timeout: 280_000 }, () => {
  let redis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.kill());

  for (const transports of ["polling", "websocket", "polling,websocket"]) {
    it(`comes back on another node, over ${transports}`, async () => {
      const config = {
        adapter: "streams", key: `drain-${process.pid}-${transports}`, secret: randomBytes(24).toString("hex"),
        redis: redis.url, csr: 120_000, every: 50, grace: 1000, window: 1000,
      };
      const front = await startFront();
      const started = [];
      const startNode = async (i, name) => {
        const env = { NODE_CONFIG: JSON.stringify({ ...config, name, life: name }) };
        const node = await run(goBinary(), ["rolling"], { env, ready: /^LISTENING (\d+)$/m });
        started.push(node);
        await front.set(i, Number(node.match[1]));
        await until(() => front.ready(i), `${name} to be ready`, PATIENCE);
        return node;
      };
      try {
        const doomed = await startNode(0, "A");
        const client = await listen(front.url, transports);
        started.push(client);
        await until(() => client.all("CONNECT").length === 1, "the client", PATIENCE);
        const other = await startNode(1, "B");
        for (const node of [doomed, other]) {
          await fetch(`http://127.0.0.1:${node.match[1]}/start`, { method: "POST" });
        }
        await until(() => ["A", "B"].every((name) => client.got(name).length), "events of both nodes", PATIENCE);

        doomed.child.kill("SIGTERM");
        const { code } = await within(doomed.exited, "the node to end", PATIENCE);
        assert.equal(code, 0, doomed.output());
        const report = JSON.parse(/^DRAINED (.*)$/m.exec(doomed.output())[1]);
        assert.equal(report.forced, 0, JSON.stringify(report));
        assert.equal(report.closed, 1, JSON.stringify(report));
        assert.equal(report.flushed, 1, JSON.stringify(report));
        await until(() => client.all("CONNECT").length === 2, "the client to come back", PATIENCE);
        const before = client.got("B").length;
        await until(() => client.got("B").length >= before + 20, "events on the other node", PATIENCE);

        const [end, ...more] = client.all("DISCONNECT");
        assert.deepEqual(more, []);
        assert.match(end, away(transports) ? /^server disconnect$/ : /^transport (close|error)$/);
        assert.deepEqual(client.all("AWAY").length, away(transports) ? 1 : 0);
        assert.deepEqual(client.all("REFUSED"), []);
        // Nothing comes twice or out of order, and nothing is missing within a session.
        const numbers = client.got("B");
        const steps = numbers.slice(1).map((n, i) => n - numbers[i]);
        assert.ok(steps.every((n) => n > 0) && steps.filter((n) => n > 1).length <= 1, `events ${numbers}`);
        // Neither client knows connection state recovery.
        const [first, second] = client.all("CONNECT");
        assert.notEqual(first, second);
        console.log(`  ${language}, ${transports}: "${end}", back with a new session, ` +
          `${Math.max(...steps) - 1} events missed meanwhile`);
      } finally {
        front.close();
        for (const process of started.reverse()) await process.kill();
      }
    });
  }
});

// listen starts the client, and keeps the lines it prints.
async function listen(url, transports) {
  let output = "";
  const [program, ...args] = command;
  const onOutput = (chunk) => (output += chunk);
  const client = await run(program, [...args, url, transports], { ready: /^CONNECT .*$/m, input: "pipe", onOutput });
  // The last line may be half there.
  const all = (what) => output.split(/\r?\n/).slice(0, -1).filter((line) => line.startsWith(what + " ")).map((line) => line.slice(what.length + 1));
  const got = (name) => all("GOT").map((line) => line.split(" ")).filter(([emitter]) => emitter === name).map(([, number]) => Number(number));
  return { ...client, all, got };
}
