// permessage-deflate: what is negotiated, what is compressed, and what happens to a
// message that inflates to more than the server takes. The server is mode "node"
// of the implementation under test.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { WebSocket } from "ws";
import { closeClientsAfterEach, connect, inbox } from "../lib/client.mjs";
import { ctl } from "../lib/ctl.mjs";
import { startTarget, target } from "../lib/process.mjs";
import { once, until } from "../lib/wait.mjs";

let server;
before(async () => (server = await startTarget("node", { perMessageDeflate: true })));
after(() => server?.kill());
closeClientsAfterEach();

const open = new Set();
afterEach(() => {
  for (const ws of open) ws.terminate();
  open.clear();
});

// dial joins "/" with ws alone and collects what arrives.
async function dial(perMessageDeflate) {
  const url = `${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`;
  const ws = new WebSocket(url, { perMessageDeflate });
  open.add(ws);
  ws.got = [];
  ws.on("message", (data) => ws.got.push(String(data)));
  await once(ws, "open");
  ws.send("40");
  await until(() => ws.got.length === 2, "the namespace");
  return ws;
}

const long = "socket.io ".repeat(5000);

describe("permessage-deflate", { timeout: 60_000 }, () => {
  for (const [name, offer, negotiated] of [
    ["an offer", true, true],
    ["an offer without context takeover", { serverNoContextTakeover: true, clientNoContextTakeover: true }, true],
    ["no offer", false, false],
  ]) {
    it(`compresses a broadcast after ${name}: ${negotiated}`, async () => {
      const ws = await dial(offer);
      assert.equal(ws.extensions.includes("permessage-deflate"), negotiated);
      const before = ws._socket.bytesRead;
      await ctl(server, "emit", { event: "news", args: [long] });
      await until(() => ws.got.length === 3, "the broadcast");
      assert.equal(ws.got[2], `42["news","${long}"]`);
      const size = ws._socket.bytesRead - before;
      assert.ok(negotiated ? size < 2000 : size > long.length, `${size} bytes on the wire`);
    });
  }

  it("does not compress a broadcast that asks for it", async () => {
    const ws = await dial(true);
    const before = ws._socket.bytesRead;
    await ctl(server, "emit", { event: "news", args: [long], compress: false });
    await until(() => ws.got.length === 3, "the broadcast");
    const compressed = ws._socket.bytesRead - before < long.length;
    assert.equal(compressed, target === "node"); // the reference ignores the flag on WebSocket
  });

  it("reads compressed messages, text and binary", async () => {
    const socket = await connect(server.url, "/", { transports: ["websocket"], perMessageDeflate: { threshold: 0 } });
    const other = await connect(server.url, "/", { transports: ["websocket"] });
    const box = inbox(other);
    for (const value of ["short", long, Buffer.alloc(100_000, 7)]) {
      const got = await socket.emitWithAck("echo", value);
      assert.deepEqual(Buffer.from(got), Buffer.from(value));
    }
    socket.emit("relay", "big", long);
    await until(() => box.length === 1, "the relayed message");
    assert.deepEqual(box[0], ["big", socket.id, long]);
  });

  it("ends a connection whose message inflates beyond the limit", async () => {
    const ws = await dial({ threshold: 0 });
    const closed = once(ws, "close", 20_000);
    ws.send("42" + "0".repeat(60_000_000), { compress: true });
    const [code] = await closed;
    assert.ok(code === 1009 || code === 1006, `close code ${code}`);
    const socket = await connect(server.url, "/", { transports: ["websocket"] });
    assert.equal(await socket.emitWithAck("echo", "alive"), "alive");
  });
});
