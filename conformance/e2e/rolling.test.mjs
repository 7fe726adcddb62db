// A rolling restart: three nodes behind plain round robin are stopped with SIGTERM
// and started anew, one after the other, while several emitters number what they
// emit. The real socket.io-client must get every number, in order and once.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { closeClients, connected, open, transportsOf } from "../lib/client.mjs";
import { goEmitter } from "../lib/emitters.mjs";
import { startFront } from "../lib/front.mjs";
import { goBinary, run } from "../lib/process.mjs";
import { startRedis } from "../lib/redis.mjs";
import { until, within } from "../lib/wait.mjs";

const NAMES = ["A", "B", "C"];
const CLIENTS = { upgrade: 12, websocket: 12, polling: 6 };
const EVERY = 50; // between two numbers of an emitter
const GRACE = 1000; // the front looks every 100 ms
const WINDOW = 8000;
const PATIENCE = 60_000; // the machine may be busy

const config = {
  adapter: "streams", key: `rolling-${process.pid}`, secret: randomBytes(24).toString("hex"),
  csr: 120_000, every: EVERY, grace: GRACE, window: WINDOW,
};
const nodes = [];
const clients = [];
const last = {}; // the last number of each emitter, once it is known
const refused = [];
let redis, front, outside;
let tunnels = 0;

// startNode begins a life of node i.
async function startNode(i) {
  const life = `${NAMES[i]}${(nodes[i]?.number ?? 0) + 1}`;
  const env = { NODE_CONFIG: JSON.stringify({ ...config, redis: redis.url, name: NAMES[i], life }) };
  const node = await run(goBinary(), ["rolling"], { env, ready: /^LISTENING (\d+)$/m });
  nodes[i] = Object.assign(node, { life, number: (nodes[i]?.number ?? 0) + 1, url: `http://127.0.0.1:${node.match[1]}` });
  await front.set(i, Number(node.match[1]));
  await until(() => front.ready(i), `${life} to be ready`, PATIENCE);
}

const tell = (node, what) => fetch(`${node.url}/${what}`, { method: "POST" });

// ended notes what an emitter of a node has done.
function ended(node, { last: n, errors }) {
  last[node.life] = last[`${node.life}/odd`] = n;
  refused.push(...errors.map((err) => `${node.life}: ${err}`));
}

// outsider emits from a process that is no node, until it is told to stop.
async function outsider() {
  const emitter = await goEmitter({ config: { ...config, redis: redis.url }, nsp: "/" }, "streams");
  const ticks = { stopped: false, number: 0 };
  const running = (async () => {
    while (!ticks.stopped) {
      await emitter.ctl("emit", { event: "m", args: ["outside", ++ticks.number] }).catch((err) => refused.push(`outside: ${err.message}`));
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  })();
  return async () => {
    ticks.stopped = true;
    await running;
    last.outside = ticks.number;
    await emitter.close();
  };
}

// dial connects a client that keeps the books of what it gets.
async function dial(transport, i) {
  const rooms = i % 2 ? ["odd"] : [];
  const socket = open(front.url, "/", { transports: transportsOf[transport], reconnection: true, auth: { rooms } });
  const client = { name: `${transport} ${i}`, rooms, socket, got: {}, wrong: [], log: [], fresh: -1 };
  const note = (what) => client.log.push({ what, at: Date.now() });
  socket.on("m", (emitter, number) => {
    const want = (client.got[emitter] ?? 0) + 1;
    if (number !== want) client.wrong.push(`${emitter}: got ${number}, want ${want}`);
    client.got[emitter] = Math.max(number, want - 1);
  });
  socket.on("connect", () => {
    note("connect");
    if (!socket.recovered) client.fresh++;
  });
  socket.on("disconnect", (reason) => note(`disconnect: ${reason}`));
  clients.push(client);
  await connected(socket);
}

const everybody = () => clients.every(({ socket }) => socket.connected);

// times returns when clients did something since a time, in order.
const times = (what, since) => clients
  .flatMap(({ log }) => log.filter((e) => e.what.startsWith(what) && e.at > since))
  .map(({ at }) => at).sort((a, b) => a - b);

// assertSpread says that things happened over a good part of the window, and not
// most of them together. Even on a machine that stalls for a second they do.
function assertSpread(what, list) {
  const busiest = Math.max(...list.map((from) => list.filter((at) => at >= from && at < from + WINDOW / 4).length));
  const span = list.at(-1) - list[0];
  console.log(`  ${what}: ${list.length} over ${span} ms, at most ${busiest} within ${WINDOW / 4} ms`);
  assert.ok(span > WINDOW / 2, `${what}: all within ${span} ms of a window of ${WINDOW} ms`);
  assert.ok(busiest <= list.length * 0.7, `${what}: ${busiest} of ${list.length} within a quarter of the window`);
}

// roll replaces one life of a node by the next.
async function roll(i) {
  const node = nodes[i];
  const begin = Date.now();
  node.child.kill("SIGTERM");
  const { code } = await within(node.exited, `${node.life} to end`, PATIENCE);
  assert.equal(code, 0, node.output());
  const said = (what) => JSON.parse(new RegExp(`^${what} (.*)$`, "m").exec(node.output())[1]);
  const report = said("DRAINED");
  console.log(`  ${node.life} drained:`, JSON.stringify(report));
  ended(node, said("EMITTED"));

  await startNode(i);
  await tell(nodes[i], "start");
  await until(everybody, `every client to be back after ${node.life}`, PATIENCE);
  const closes = times("disconnect", begin);
  assertSpread("closes", closes);
  assertSpread("returns", times("connect", begin));
  tunnels += report.tunnels;
  assert.equal(report.forced, 0, "forced");
  assert.equal(report.left, 0, "left");
  assert.equal(report.flushed, report.closed, "flushed");
  assert.equal(report.saved, report.closed, "saved");
  assert.equal(report.closed + report.tunnels, closes.length, "what was closed and what clients noticed");
}

describe("a rolling restart", { timeout: 300_000 }, () => {
  before(async () => {
    redis = await startRedis();
    front = await startFront();
    for (const i of NAMES.keys()) await startNode(i);
    for (const [transport, count] of Object.entries(CLIENTS)) {
      await Promise.all(Array.from({ length: count }, (_, i) => dial(transport, i)));
    }
    await until(() => clients.every(({ socket, name }) =>
      name.startsWith("polling") || socket.io.engine.transport.name === "websocket"), "the upgrades", PATIENCE);
    for (const node of nodes) await tell(node, "start");
    outside = await outsider();
    await until(() => clients.every(({ got }) => [...nodes.map(({ life }) => life), "outside"].every((e) => got[e])),
      "every emitter to be heard", PATIENCE);
  });
  after(async () => {
    closeClients();
    front?.close();
    await Promise.all(nodes.map((node) => node.kill()));
    await redis?.kill();
  });

  for (const [i, name] of NAMES.entries()) it(`drains ${name} over the window`, () => roll(i));

  it("went on with the requests of other nodes", () => assert.ok(tunnels > 0, "no WebSocket went through a node that was drained"));

  it("moved clients by closes they come back from, and recovered them all", () => {
    for (const { name, fresh, log } of clients) {
      assert.equal(fresh, 0, `${name} came back with a new session`);
      for (const { what } of log) assert.match(what, /^(connect|disconnect: transport close)$/, name);
    }
  });

  it("lost no message, and refused no emit", async () => {
    await outside();
    for (const node of nodes) ended(node, await (await tell(node, "stop")).json());
    assert.deepEqual(refused, []);
    const due = ({ rooms }) => Object.entries(last).filter(([emitter]) => !emitter.endsWith("/odd") || rooms.length);
    await until(() => clients.every((client) => due(client).every(([e, n]) => client.got[e] === n)), "the last numbers", PATIENCE)
      .catch(() => {}); // what is missing is named below
    let messages = 0;
    for (const client of clients) {
      assert.deepEqual(client.wrong, [], client.name);
      const want = Object.fromEntries(due(client));
      assert.deepEqual(client.got, want, client.name);
      messages += Object.values(want).reduce((a, b) => a + b, 0);
    }
    assert.ok(messages > 10_000, `${messages} messages`);
    const moves = clients.reduce((n, { log }) => n + log.length - 1, 0) / 2;
    console.log(`  ${clients.length} clients moved ${moves} times and got ${messages} messages of ${Object.keys(last).length} emitters`);
  });
});
