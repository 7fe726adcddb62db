// The control endpoint itself: every operation and every field of the
// configuration, on one node. What they do to other nodes is in cluster.test.mjs.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createClient } from "redis";
import msgpackParser from "socket.io-msgpack-parser";
import { closeClientsAfterEach, connect, inbox } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { accepts } from "../lib/differences.mjs";
import { startTarget, target } from "../lib/process.mjs";
import { openWebSocket } from "../lib/raw.mjs";
import { startRedis } from "../lib/redis.mjs";
import { once, until } from "../lib/wait.mjs";

const bytes = Buffer.from([0, 1, 254, 255]);
closeClientsAfterEach();

let redis;
before(async () => (redis = await startRedis()));
after(() => redis?.kill());

describe("operations", { timeout: 60_000 }, () => {
  let node;
  before(async () => {
    node = await startTarget("node", { name: "one", adapter: "redis", redis: redis.url, key: "control", requestsTimeout: 300 });
  });
  after(() => node?.kill());
  const run = (op, fields) => ctl(node, op, fields);

  // dial returns a client that answers "ask" with "answer".
  async function dial(nsp = "/") {
    const socket = await connect(node.url, nsp, { transports: ["websocket"] });
    const box = inbox(socket);
    socket.on("ask", (...args) => args.pop()("answer", "ignored"));
    return { id: socket.id, socket, box };
  }
  const got = (client, ...want) => until(() => client.box.length >= want.length, "the events")
    .then(() => assert.deepEqual(client.box.splice(0), want));

  it("info", async () => {
    const info = await run("info");
    assert.equal(info.pid, node.child.pid);
    assert.deepEqual(info, { impl: target, name: "one", pid: info.pid, adapter: "redis" });
  });

  it("refuses what it does not know, and goes on", async () => {
    await assert.rejects(run("toString"), { message: "unknown operation toString" });
    await assert.rejects(run("rooms", { id: "nobody" }), { message: "no local socket nobody" });
    await assert.rejects(run("emit", { from: "nobody", event: "e" }), { message: "no local socket nobody" });
    await assert.rejects(run("remote", { id: "nobody", do: "join", rooms: ["r"] }), { message: "no socket nobody" });
    for (const [method, path] of [["GET", "/ctl"], ["POST", "/other"]]) {
      const { ok } = await fetch(node.url + path, { method });
      assert.ok(!ok, `${method} ${path}`);
    }
    const { error, ok } = await (await fetch(`${node.url}/ctl`, { method: "POST", body: "{" })).json();
    assert.ok(!ok && error);
    assert.equal((await run("info")).name, "one");
  });

  it("namespace, serverCount", async () => {
    assert.equal(await run("namespace", { nsp: "/dyn-made" }), null);
    await until(async () => (await run("serverCount", { nsp: "/dyn-made" })) === 1, "the count");
  });

  it("emit with every field of a target", async () => {
    const [a, b] = [await dial(), await dial()];
    await run("join", { id: a.id, rooms: ["r", "s"] });
    await run("emit", { event: "all", args: [1, bytes, { deep: bytes }] });
    await run("emit", { event: "room", to: ["r", "s", "none"] });
    await run("emit", { event: "except", except: ["r"] });
    await run("emit", { event: "local", local: true, compress: false, timeout: 100 });
    await run("emit", { event: "from", from: a.id });
    await run("emit", { event: "end" });
    const all = ["all", 1, bytes, { deep: bytes }];
    await got(a, all, ["room"], ["local"], ["end"]);
    await got(b, all, ["except"], ["local"], ["from"], ["end"]);
    await until(async () => {
      await run("emit", { event: "maybe", to: [a.id], volatile: true });
      return a.box.some(([event]) => event === "maybe");
    }, "a volatile event");
  });

  it("emitWithAck", async () => {
    const client = await dial();
    assert.deepEqual(await run("emitWithAck", { event: "ask", args: [bytes], to: [client.id], timeout: 4000 }),
      { err: null, responses: ["answer"] });
    assert.deepEqual(await run("emitWithAck", { event: "silence", to: [client.id], timeout: 100 }),
      { err: "operation has timed out", responses: [] });
  });

  it("a waiting operation holds up no other", async () => {
    const client = await dial();
    let done = false;
    const waiting = run("emitWithAck", { event: "silence", to: [client.id], timeout: 3000 }).finally(() => (done = true));
    await run("info");
    assert.ok(!done);
    client.socket.disconnect();
    await waiting;
  });

  it("socketsJoin, socketsLeave, rooms, join, leave", async () => {
    const { id } = await dial();
    await run("join", { id, rooms: ["b", "a"] });
    assert.deepEqual(await run("rooms", { id }), ["a", "b", id].sort());
    await run("leave", { id, rooms: ["a", "b"] });
    assert.deepEqual(await run("rooms", { id }), [id]);
    const becomes = (want) => until(async () => String(await run("rooms", { id })) === String(want), `rooms ${want}`);
    await run("socketsJoin", { to: [id], rooms: ["c"] });
    await becomes(["c", id].sort());
    await run("socketsLeave", { to: [id], rooms: ["c"] });
    await becomes([id]);
  });

  it("sockets, setData, fetchSockets, allRooms", async () => {
    const { id } = await dial();
    await run("setData", { id, data: { n: [1, null] } });
    const own = (await run("sockets")).find((s) => s.id === id);
    assert.deepEqual([own.rooms, own.data, Boolean(own.recovered)], [[id], { n: [1, null] }, false]);
    const [fetched] = await run("fetchSockets", { to: [id] });
    assert.deepEqual(fetched, { id, rooms: [id], data: own.data, handshake: own.handshake });
    assert.deepEqual(Object.keys(own.handshake).sort(),
      ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
    assert.ok((await run("allRooms")).includes(id));
  });

  it("socketEmit, socketEmitWithAck", async () => {
    const client = await dial();
    await run("socketEmit", { id: client.id, event: "one", args: [bytes] });
    await got(client, ["one", bytes]);
    assert.equal(await run("socketEmitWithAck", { id: client.id, event: "ask", timeout: 4000 }), "answer");
    const silence = run("socketEmitWithAck", { id: client.id, event: "silence", timeout: 100 });
    await assert.rejects(silence, { message: "operation has timed out" });
  });

  it("remote emit, emitWithAck, join, leave", async () => {
    const client = await dial();
    const remote = (what, fields) => run("remote", { id: client.id, do: what, ...fields });
    await remote("emit", { event: "one", args: [bytes] });
    await got(client, ["one", bytes]);
    assert.equal(await remote("emitWithAck", { event: "ask", timeout: 4000 }), "answer");
    await remote("join", { rooms: ["x"] });
    await until(async () => (await run("rooms", { id: client.id })).includes("x"), "the join");
    await remote("leave", { rooms: ["x"] });
    await until(async () => !(await run("rooms", { id: client.id })).includes("x"), "the leave");
  });

  for (const [op, fields] of [
    ["socketDisconnect", (id) => ({ id })],
    ["disconnectSockets", (id) => ({ to: [id] })],
    ["remote", (id) => ({ id, do: "disconnect" })],
  ]) {
    it(`log of ${op} that disconnects`, async () => {
      const nsp = "/custom";
      for (const close of [false, true]) {
        const { id, socket } = await dial(nsp);
        const reason = once(socket, "disconnect");
        await run(op, { nsp, ...fields(id), close });
        assert.equal((await reason)[0], "io server disconnect");
        const log = await until(async () => {
          const mine = (await run("log")).filter((e) => e.id === id);
          return mine.length === 2 && mine;
        }, "both entries of the log");
        assert.deepEqual(log, [
          { event: "connection", nsp, id, recovered: false },
          { event: "disconnect", nsp, id, reason: "server namespace disconnect" },
        ]);
      }
    });
  }

  it("serverSideListen, serverSideEmit, serverSideLog", async () => {
    assert.equal(await run("serverSideListen", { event: "sse", mode: "record" }), null);
    assert.equal(await run("serverSideListen", { event: "sse", mode: "reply", value: 1 }), null);
    assert.equal(await run("serverSideEmit", { event: "sse", args: [1] }), null);
    assert.deepEqual(await run("serverSideEmit", { event: "sse", ack: true }), { err: null, responses: [] });
    assert.deepEqual(await run("serverSideLog"), [], "a node does not hear itself");
  });

  it("echo, relay, relayAll, relayRoom", async () => {
    const [a, b] = [await dial("/dyn-relay"), await dial("/dyn-relay")];
    await ctl(node, "join", { nsp: "/dyn-relay", id: b.id, rooms: ["r"] });
    a.socket.emit("relay", "one", 1);
    a.socket.emit("relayAll", "two", bytes);
    a.socket.emit("relayRoom", "r", "three");
    assert.deepEqual(await a.socket.emitWithAck("echo", bytes), bytes);
    await got(a, ["two", a.id, bytes]);
    await got(b, ["one", a.id, 1], ["two", a.id, bytes], ["three", a.id]);
    await assert.rejects(dial("/elsewhere"), { message: "Invalid namespace" });
  });

  it("batch, pending", async () => {
    const client = await dial();
    const ops = [{ op: "info" }, { op: "emit", event: "x" }, { op: "rooms", id: client.id }];
    const [info, nothing, rooms] = await run("batch", { ops });
    assert.deepEqual([info.name, nothing, rooms], ["one", null, [client.id]]);
    await until(async () => {
      const { requests, acks } = await run("pending");
      return requests === 0 && acks === 0;
    }, "nothing pending");
  });
});

describe("configuration", { timeout: 300_000 }, () => {
  // withNode runs a test on a node of its own.
  const withNode = (what, config, test) => it(what, { timeout: 60_000 }, async () => {
    const node = await startTarget("node", { redis: redis.url, key: "config", ...config });
    await Promise.resolve(test(node)).finally(() => node.kill());
  });

  it("refuses values it does not know", async () => {
    for (const bad of [{ adapter: "carrier-pigeon" }, { parser: "morse" }]) {
      await assert.rejects(startTarget("node", bad).then((node) => node.kill()), /ended early.*"code":1/, JSON.stringify(bad));
    }
  });

  it("adapterParser", async () => {
    const outcome = await startTarget("node", { adapter: "redis", redis: redis.url, key: "json", adapterParser: "json" })
      .then((node) => node.kill().then(() => "accepted"), () => "refused");
    accepts("JSON between the nodes", outcome);
  });

  const channels = {
    redis: "key-redis-request#/#",
    "redis-specific": "key-redis-specific-request#/#",
    "sharded-static": "key-sharded-static#/#",
    "sharded-dynamic": "key-sharded-dynamic#/#",
    "sharded-dynamic-private": "key-sharded-dynamic-private#/#",
    streams: "key-streams#/#",
  };
  for (const [adapter, channel] of Object.entries(channels)) {
    withNode(`adapter ${adapter} with its key`, { adapter, key: `key-${adapter}` }, async (node) => {
      const client = await createClient({ url: redis.url }).connect();
      const command = adapter.startsWith("sharded") ? "SHARDNUMSUB" : "NUMSUB";
      await until(async () => Number((await client.sendCommand(["PUBSUB", command, channel]))[1]) === 1, channel);
      await client.close();
      assert.equal((await ctl(node, "info")).adapter, adapter);
    });
  }

  withNode("streamCount", { adapter: "streams", key: "spread", streamCount: 3 }, async (node) => {
    const client = await createClient({ url: redis.url }).connect();
    await ctl(node, "emit", { event: "x" });
    const all = ["spread-0", "spread-1", "spread-2"];
    await until(async () => (await client.exists(all)) === 1, "an entry in one of the streams");
    assert.equal(await client.exists("spread"), 0);
    await client.close();
  });

  withNode("parser msgpack", { parser: "msgpack" }, async (node) => {
    const socket = await connect(node.url, "/", { parser: msgpackParser });
    assert.equal(await socket.emitWithAck("echo", "é"), "é");
  });

  withNode("pingInterval, pingTimeout", { pingInterval: 1234, pingTimeout: 567 }, async (node) => {
    const ws = await openWebSocket(node.url, "/socket.io/");
    const opening = JSON.parse((await ws.next()).slice(1));
    assert.deepEqual([opening.pingInterval, opening.pingTimeout, opening.maxPayload], [1234, 567, 5e6]);
    ws.close();
  });

  withNode("csr", { csr: 5000 }, async (node) => {
    assert.match((await connect(node.url))._pid, /^[\w-]{20}$/);
  });

  withNode("no csr", {}, async (node) => assert.equal((await connect(node.url))._pid, undefined));

  for (const cleanup of [true, false]) {
    const config = { adapter: "redis", key: `clean-${cleanup}`, cleanupEmptyChildNamespaces: cleanup };
    withNode(`cleanupEmptyChildNamespaces ${cleanup}`, config, async (node) => {
      const client = await createClient({ url: redis.url }).connect();
      const count = async () => Number((await client.sendCommand(["PUBSUB", "NUMSUB", `clean-${cleanup}-request#/dyn-x#`]))[1]);
      const socket = await connect(node.url, "/dyn-x");
      await until(async () => (await count()) === 1, "the subscription");
      socket.disconnect();
      await until(async () => (await ctl(node, "log")).some((e) => e.event === "disconnect"), "the end of the socket");
      await until(async () => (await count()) === (cleanup ? 0 : 1), "the subscription as configured");
      await client.close();
    });
  }

  withNode("CORS", {}, async (node) => {
    const headers = { origin: "http://elsewhere.example" };
    const response = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`, { headers });
    assert.deepEqual([response.status, response.headers.get("access-control-allow-origin")], [200, "*"]);
  });

  withNode("stop", { adapter: "redis", key: "stopped" }, async (node) => {
    const socket = await connect(node.url);
    const reason = once(socket, "disconnect");
    assert.equal(await ctl(node, "stop"), null);
    assert.equal((await reason)[0], "transport close");
    assert.deepEqual(await node.exited, { code: 0, signal: null });
    const client = await createClient({ url: redis.url }).connect();
    assert.equal(Number((await client.sendCommand(["PUBSUB", "NUMSUB", "stopped-request#/#"]))[1]), 0);
    await client.close();
  });
});
