// Engine.IO over WebSocket, and the upgrade from polling.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { accepts } from "../lib/differences.mjs";
import { startTarget } from "../lib/process.mjs";
import { alive, fate, gone, openPolling, openWebSocket, unknownSession } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const PATH = "/socket.io/";
let node; // slow heartbeat, Socket.IO on top
let echo; // the protocol mode: fast heartbeat, every message comes back

before(async () => {
  node = await startTarget("node");
  echo = await startTarget("protocol");
});
after(() => Promise.all([node, echo].map((server) => server?.kill())));

const polling = () => openPolling(node.url, PATH);
const websocket = () => openWebSocket(node.url, PATH);

describe("engine: websocket", { timeout: 30_000 }, () => {
  it("opens with exactly the five keys and no upgrade", async () => {
    const ws = websocket();
    const first = await ws.next();
    assert.equal(first[0], "0");
    const handshake = JSON.parse(first.slice(1));
    assert.deepEqual({ ...handshake, sid: "" },
      { sid: "", upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 5000000 });
    ws.close();
  });

  it("echoes text and binary frames", async () => {
    const ws = openWebSocket(echo.url, "/engine.io/");
    await ws.next();
    ws.send("4é✓");
    ws.send(Buffer.from([1, 2, 3]));
    ws.send("bAQIDBA==");
    ws.send(Buffer.alloc(0));
    assert.deepEqual([await ws.next(), await ws.next(), await ws.next(), await ws.next()],
      ["4é✓", Buffer.from([1, 2, 3]), Buffer.from([1, 2, 3, 4]), Buffer.alloc(0)]);
    ws.close();
  });

  it("gives binary as base64 text when the client asks for it", async () => {
    const ws = openWebSocket(echo.url, "/engine.io/", { b64: 1 });
    await ws.next();
    ws.send(Buffer.from([1, 2, 3, 4]));
    assert.equal(await ws.next(), "bAQIDBA==");
    ws.close();
  });

  for (const [what, frame, opts] of [
    ["a ping from the client", "2"], ["an unknown type", "9x"], ["an empty frame", ""],
    ["bytes that are not UTF-8 in a text frame", Buffer.from([0x34, 0xff, 0xfe]), { binary: false }],
  ]) {
    it(`closes on ${what}`, async () => {
      const ws = websocket();
      await ws.next();
      ws.ws.send(frame, opts);
      assert.equal(await fate(ws), "closed after 101");
    });
  }

  it("closes with 1009 and no reason on a message over the limit", async () => {
    const ws = openWebSocket(echo.url, "/engine.io/", {}, { heartbeat: true });
    await ws.next();
    ws.send("4" + "y".repeat(999_999));
    assert.equal((await ws.next()).length, 1_000_000);
    ws.send("4" + "x".repeat(1_000_000));
    assert.deepEqual(await ws.closed, { code: 1009, reason: "" });
  });

  it("closes on a close packet, or waits for the heartbeat to do it", async () => {
    const ws = openWebSocket(echo.url, "/engine.io/");
    await ws.next();
    ws.send("1");
    ws.send("4after");
    const ignored = await Promise.race([ws.next(), ws.closed.then(() => null)]);
    accepts("packet 1 over websocket", ignored === "4after" ? "ignored" : "closed");
    await ws.closed;
  });

  it("pings, and closes those who stay silent", async () => {
    const ws = openWebSocket(echo.url, "/engine.io/");
    await ws.next();
    const start = Date.now();
    for (let i = 0; i < 3; i++) {
      assert.equal(await ws.next(), "2");
      ws.send("3");
    }
    assert.ok(Date.now() - start >= 3 * 300 - 50, "three intervals have passed");
    ws.send("4alive");
    assert.equal(await ws.next(), "4alive");
    const silent = Date.now();
    await ws.closed;
    const took = Date.now() - silent;
    assert.ok(took >= 350 && took < 3000, `closed after ${took} ms`);
  });

  it("pings a polling client, and forgets it when it stays silent", async () => {
    const session = await openPolling(echo.url, "/engine.io/");
    assert.equal((await session.poll()).body, "2");
    await session.post("3");
    assert.equal((await session.poll()).body, "2");
    await until(async () => (await session.poll()).body === unknownSession, "the session to be gone");
  });
});

describe("engine: upgrade", { timeout: 30_000 }, () => {
  const probed = async () => {
    const session = await polling();
    await alive(session);
    const ws = session.probe();
    await ws.opened;
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    return { session, ws };
  };

  it("releases the waiting poll with a noop, then moves to websocket", async () => {
    const { session, ws } = await probed();
    assert.equal((await session.poll()).body, "6");
    ws.send("5");
    ws.send('420["echo","over"]');
    assert.equal(await ws.next(), '430["over"]');
    const late = await session.poll();
    assert.deepEqual([late.status, late.body], [400, '{"code":3,"message":"Bad request"}']);
    ws.close();
  });

  it("keeps sending over polling until the upgrade packet", async () => {
    const { session, ws } = await probed();
    await session.post('420["echo","still polling"]');
    assert.equal((await session.poll()).body, '430["still polling"]');
    await session.post('421["echo","buffered"]');
    ws.send("5");
    assert.equal(await ws.next(), '431["buffered"]');
    ws.close();
  });

  it("accepts the upgrade packet without a probe", async () => {
    const session = await polling();
    await alive(session);
    const ws = session.probe();
    await ws.opened;
    ws.send("5");
    ws.send('420["echo",1]');
    assert.equal(await ws.next(), "430[1]");
    ws.close();
  });

  it("closes a probe that sends anything else, and stays on polling", async () => {
    const session = await polling();
    const ws = session.probe();
    await ws.opened;
    ws.send('42["echo",1]');
    await ws.closed;
    await alive(session);
    const again = session.probe();
    await again.opened;
    again.send("2probe");
    assert.equal(await again.next(), "3probe");
    again.close();
  });

  it("stays on polling when the probe goes away", async () => {
    const { session, ws } = await probed();
    ws.close();
    await session.post('420["echo",1]');
    await until(async () => (await session.poll()).body.includes("430[1]"), "the answer over polling");
  });

  it("closes a second websocket while upgrading and after", async () => {
    const { session, ws } = await probed();
    accepts("upgrade of a session that upgrades", await fate(session.probe()));
    ws.send("5");
    ws.send('420["echo",1]');
    assert.equal(await ws.next(), "430[1]");
    accepts("upgrade of a session that upgrades", await fate(session.probe()));
    ws.send('421["echo",2]');
    assert.equal(await ws.next(), "431[2]");
    ws.close();
  });

  it("closes the probe when the session ends", async () => {
    const { session, ws } = await probed();
    await session.post("1");
    await ws.closed;
    await gone(session);
  });
});
