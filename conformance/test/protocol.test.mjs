// Socket.IO packets on the wire: what the official protocol suite expects, every
// packet a decoder must refuse, and packets that come in the wrong state. A
// refused packet may cost its sender the connection, but nobody else.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { accepts } from "../lib/differences.mjs";
import { startTarget } from "../lib/process.mjs";
import { openPolling, openWebSocket } from "../lib/raw.mjs";
import { within } from "../lib/wait.mjs";

const PATH = "/socket.io/";
let server;
let bystander;
before(async () => {
  server = await startTarget("protocol");
  bystander = await joined();
});
after(() => server?.kill());

// dial opens a websocket session that answers the heartbeat by itself.
async function dial() {
  const ws = openWebSocket(server.url, PATH, {}, { heartbeat: true });
  assert.equal((await ws.next())[0], "0");
  return ws;
}

// joined is connected to the main namespace.
async function joined() {
  const ws = await dial();
  ws.send("40");
  assert.match(await ws.next(), /^40\{"sid":"[\w-]{20}"\}$/);
  assert.equal(await ws.next(), '42["auth",{}]');
  return ws;
}

async function assertServes(ws) {
  const mark = `mark ${Math.random()}`;
  ws.send(`42["message",${JSON.stringify(mark)}]`);
  assert.equal(await ws.next(), `42["message-back",${JSON.stringify(mark)}]`);
}

// outcome sends frames and tells whether the server closed the connection or
// still serves it, without depending on what it answered to them.
async function outcome(ws, frames) {
  for (const frame of frames) ws.send(frame);
  const mark = JSON.stringify(`mark ${Math.random()}`);
  ws.send(`42["message",${mark}]`);
  const served = async () => {
    for (;;) if ((await ws.next()) === `42["message-back",${mark}]`) return "accepted";
  };
  const alive = served();
  alive.catch(() => {});
  return within(Promise.race([alive, ws.closed.then(() => "closed")]), `the outcome of ${frames}`);
}

describe("protocol: connecting", { timeout: 30_000 }, () => {
  for (const [what, packet, sid, auth] of [
    ["the main namespace", "40", /^40\{"sid":"[\w-]{20}"\}$/, '42["auth",{}]'],
    ["the main namespace with auth", '40{"token":"1é","n":[true]}', /^40\{"sid":"[\w-]{20}"\}$/, '42["auth",{"token":"1é","n":[true]}]'],
    ["a custom namespace", "40/custom,", /^40\/custom,\{"sid":"[\w-]{20}"\}$/, '42/custom,["auth",{}]'],
    ["a custom namespace without comma", "40/custom", /^40\/custom,\{"sid":"[\w-]{20}"\}$/, '42/custom,["auth",{}]'],
    ["a custom namespace with auth", '40/custom,{"token":"abc"}', /^40\/custom,\{"sid":"[\w-]{20}"\}$/, '42/custom,["auth",{"token":"abc"}]'],
  ]) {
    it(`connects to ${what}`, async () => {
      const ws = await dial();
      ws.send(packet);
      assert.match(await ws.next(), sid);
      assert.equal(await ws.next(), auth);
      ws.close();
    });
  }

  for (const nsp of ["/random", "/custom?x=1", "/custom/", '/a["b"]']) {
    it(`refuses the unknown namespace ${nsp} and keeps the connection`, async () => {
      const ws = await joined();
      ws.send(`40${nsp},`);
      assert.equal(await ws.next(), `44${nsp},{"message":"Invalid namespace"}`);
      await assertServes(ws);
      ws.close();
    });
  }

  it("closes a connection that joins no namespace in time", async () => {
    const ws = await dial();
    const start = Date.now();
    await assert.rejects(ws.next(), /websocket closed/);
    assert.ok(Date.now() - start >= 800, "the connect timeout is 1000 ms");
  });

  it("works the same over polling", async () => {
    const session = await openPolling(server.url, PATH);
    assert.equal((await session.post('40{"a":1}')).body, "ok");
    let packets = [];
    const read = async (count) => {
      while (packets.length < count) {
        const got = (await session.poll()).body.split("\x1e");
        if (got.includes("2")) await session.post("3");
        packets.push(...got.filter((packet) => packet !== "2"));
      }
      return packets.splice(0, count);
    };
    const [connect, auth] = await read(2);
    assert.match(connect, /^40\{"sid":"[\w-]{20}"\}$/);
    assert.equal(auth, '42["auth",{"a":1}]');
    await session.post('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]\x1ebAQID\x1ebBAUG');
    assert.deepEqual(await read(3),
      ['452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', "bAQID", "bBAUG"]);
  });
});

describe("protocol: messages", { timeout: 30_000 }, () => {
  const [one, two] = [Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])];
  const holder = (num) => `{"_placeholder":true,"num":${num}}`;
  const ten = Array.from({ length: 10 }, (_, i) => Buffer.from([i]));
  const rows = [
    ["text", ['42["message",1,"2",{"3":[true]}]'], ['42["message-back",1,"2",{"3":[true]}]']],
    ["no arguments", ['42["message"]'], ['42["message-back"]']],
    ["characters JSON may leave alone", ['42["message","<a>&\u2028é😀"]'], ['42["message-back","<a>&\u2028é😀"]']],
    ["binary", [`452-["message",${holder(0)},${holder(1)}]`, one, two],
      [`452-["message-back",${holder(0)},${holder(1)}]`, one, two]],
    ["an empty buffer", [`451-["message",${holder(0)}]`, Buffer.alloc(0)], [`451-["message-back",${holder(0)}]`, Buffer.alloc(0)]],
    ["ten buffers", [`4510-["message",${ten.map((_, i) => holder(i))}]`, ...ten],
      [`4510-["message-back",${ten.map((_, i) => holder(i))}]`, ...ten]],
    ["nested binary", [`451-["message",{"a":[${holder(0)}]}]`, one], [`451-["message-back",{"a":[${holder(0)}]}]`, one]],
    ["an acknowledgement", ['42456["message-with-ack",1,"2",{"3":[false]}]'], ['43456[1,"2",{"3":[false]}]']],
    ["an acknowledgement with id 0", ['420["message-with-ack"]'], ["430[]"]],
    ["an acknowledgement with zeros before its id", ['42007["message-with-ack",1]'], ["437[1]"]],
    ["binary acknowledgements", [`452-789["message-with-ack",${holder(0)},${holder(1)}]`, one, two],
      [`462-789[${holder(0)},${holder(1)}]`, one, two]],
  ];
  for (const [what, sent, expected] of rows) {
    it(`echoes ${what}`, async () => {
      const ws = await joined();
      for (const frame of sent) ws.send(frame);
      for (const frame of expected) assert.deepEqual(await ws.next(), frame);
      await assertServes(ws);
      ws.close();
    });
  }

  const served = [
    ["an acknowledgement nobody waits for", ["431[1]"]],
    ["an acknowledgement without data", ["431"]],
    ["an event with a number as its name", ["42[1]"]],
    ["an event with a fraction as its name", ['42[1.5,"x"]']],
    ["an event named connection", ['42["connection"]']],
    ["an event named error", ['42["error"]']],
    ["an event nobody listens to, with an id", ['421["nobody"]']],
    ["a user's own object that looks like a placeholder", ['42["message",{"_placeholder":true,"num":0}]']],
  ];
  for (const [what, frames] of served) {
    it(`goes on after ${what}`, async () => {
      const ws = await joined();
      assert.equal(await outcome(ws, frames), "accepted");
      ws.close();
    });
  }

  for (const [row, frames] of [
    ["event without payload", ["42"]],
    ["event without payload", ["421"]],
    ["binary event without attachments", ["45-"]],
    ["binary event without attachments", ['45-["message",1]']],
    ["binary event without attachments", ['450-["message",1]']],
    ["attachment used twice", [`451-["message",${holder(0)},${holder(0)}]`, one]],
    ["attachment used by nothing", ['451-["message"]', one]],
    ["placeholder with a fractional number", ['451-["message",{"_placeholder":true,"num":0.5}]', one]],
  ]) {
    it(`survives ${row}: ${frames[0]}`, async () => {
      accepts(row, await outcome(await joined(), frames));
      await assertServes(bystander);
    });
  }
});

describe("protocol: refused packets", { timeout: 60_000 }, () => {
  const holder = (num) => `{"_placeholder":true,"num":${num}}`;
  const bytes = Buffer.from([1]);
  const rows = [
    ...["42{}", "42[]", '42"a"', "42[", '42["message"', '42["message"]]', "42[true]", "42[null]", '42[{"a":1}]', "4abc",
      '42abc["message"]', '42-1["message"]', '4221.5["message"]', '421e3["message"]',
      '42["connect"]', '42["connect_error"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]',
      '40null', "40[]", '40"x"', "41{}", "431{}", "45", "451", "45a-", "451.23-", '4511-["message"]', '45-1-["message"]',
      "47", "49", "4a", "4", '44{"message":"x"}', '451-{"x":1}', `451-[${holder(0)}]`, "461-1{}"].map((frame) => [frame]),
    [bytes],
    ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
    [`451-["message",${holder(1)}]`, bytes],
    [`451-["message",${holder(-1)}]`, bytes],
    ['451-["message",{"_placeholder":true}]', bytes],
    ['451-["message",{"_placeholder":true,"num":"0"}]', bytes],
    ['451-["message",{"_placeholder":true,"num":1e9}]', bytes],
    ['4599999999999999999999-["message"]'],
  ];
  for (const frames of rows) {
    it(`closes only the sender of ${frames.map((f) => (typeof f === "string" ? f : "<binary>")).join(" + ")}`, async () => {
      const ws = await joined();
      assert.equal(await outcome(ws, frames), "closed");
      await assertServes(bystander);
    });
  }
});

describe("protocol: packets in the wrong state", { timeout: 30_000 }, () => {
  for (const [what, frames] of [
    ["an event before the namespace is joined", ['42["message"]']],
    ["an acknowledgement before the namespace is joined", ["431[]"]],
    ["a disconnect before the namespace is joined", ["41"]],
    ["a connect error", ['44{"message":"x"}']],
  ]) {
    it(`closes on ${what}`, async () => {
      const ws = await dial();
      for (const frame of frames) ws.send(frame);
      await ws.closed;
      await assertServes(bystander);
    });
  }

  for (const [what, frames] of [
    ["a second connect", ["40"]],
    ["an event for another namespace", ['42/custom,["message"]']],
    ["a disconnect from another namespace", ["41/custom,"]],
  ]) {
    it(`closes on ${what}`, async () => {
      assert.equal(await outcome(await joined(), frames), "closed");
      await assertServes(bystander);
    });
  }

  it("leaves one namespace and keeps the other", async () => {
    const ws = await joined();
    ws.send("40/custom,");
    await ws.next();
    await ws.next();
    ws.send("41/custom,");
    await assertServes(ws);
    ws.close();
  });

  it("keeps the connection after the last namespace is left: the next frame is a ping", async () => {
    const ws = openWebSocket(server.url, PATH);
    await ws.next();
    ws.send("40");
    await ws.next();
    await ws.next();
    ws.send("41");
    assert.equal(await ws.next(), "2");
    ws.send("3");
    ws.send("40");
    assert.match(await ws.next(), /^40\{"sid":/);
    ws.close();
  });
});
