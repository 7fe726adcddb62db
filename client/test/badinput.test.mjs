// Servers that answer garbage: an event with the right reason, never an uncaught
// exception, and then another attempt.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, describe, it } from "node:test";
import { WebSocketServer } from "ws";
import { closeAfterEach, once, open, pause } from "./lib.mjs";

const handshake = (more) => "0" + JSON.stringify({ sid: "s", upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1e6, ...more });
const hello = '40{"sid":"abc"}';

/** A server of its own for each test; scripted.list is what it sends next: texts, buffers, CLOSE or CUT. */
async function serve(list) {
  const scripted = { list: [...list] };
  const http = createServer((req, res) => {
    if (req.method == "POST") return res.end("ok");
    // Handshakes are not for a session that is about to close.
    if (String(scripted.list[0])[0] == "0" && req.url.includes("sid=")) return;
    const next = scripted.list.shift();
    if (next === undefined) return; // a poll that waits
    if (next === "CUT") {
      res.writeHead(200, { "content-length": 100 });
      res.write("0{");
      return setTimeout(() => res.destroy(), 10);
    }
    if (typeof next == "number") return res.writeHead(next).end("nothing here");
    res.end(next);
  });
  new WebSocketServer({ server: http }).on("connection", async (peer) => {
    const { list } = scripted; // the next connection may have another
    while (list.length) {
      await pause(2); // a packet for itself
      const next = list.shift();
      if (next === "CLOSE") return peer.close();
      if (next === "CUT") {
        peer._socket.write(Buffer.from([0x81, 50, 0x32])); // the start of a frame
        return setTimeout(() => peer._socket.destroy(), 10);
      }
      peer.send(next);
    }
  });
  const sockets = new Set();
  http.on("connection", (c) => sockets.add(c.on("error", () => {})));
  await new Promise((done) => http.listen(0, done));
  servers.push(() => {
    http.close();
    for (const c of sockets) c.destroy();
  });
  scripted.url = `http://localhost:${http.address().port}`;
  return scripted;
}

const servers = [];
closeAfterEach();
afterEach(() => servers.splice(0).forEach((close) => close()));

/** How the client takes what the server sends; then it must try again. */
async function outcome(transport, list) {
  const server = await serve(list);
  const socket = open(server.url, { transports: [transport], timeout: 5000, reconnectionDelay: 50 });
  const end = await new Promise((done) => {
    socket.on("connect_error", (e) => done("connect_error: " + (e.message ?? e)));
    socket.on("disconnect", (reason) => done("disconnect: " + reason));
  });
  server.list = [handshake(), hello];
  await once(socket, "connect");
  return end;
}

const duringHandshake = {
  "an empty answer": [[""], /connect_error: server error/],
  "a web page": [["<html>nothing</html>"], /connect_error: server error/],
  "a packet of no type": [["9"], /connect_error: server error/],
  "a handshake that is no JSON": [["0{"], /connect_error: invalid handshake/],
  "a handshake that is null": [["0null"], /connect_error: invalid handshake/],
  "a handshake without upgrades": [['0{"sid":"x"}'], /connect_error: invalid handshake/],
  "a cut answer": [["CUT"], /connect_error: (xhr poll|websocket) error|connect_error: transport close/],
};
const afterwards = {
  "a web page": ["<html>", /disconnect: transport error/],
  "a packet of no Socket.IO type": ["49", /disconnect: parse error/],
  "broken JSON": ['42["a"', /disconnect: parse error/],
  "a reserved event": ['42["connect"]', /disconnect: parse error/],
  "too many attachments": ['4599999-["a"]', /disconnect: parse error/],
  "a negative attachment": ['451--1["a"]', /disconnect: parse error/],
  "text among attachments": ['451-["a",{"_placeholder":true,"num":0}]', /disconnect: parse error/, '42["b"]'],
  "more attachments than anybody needs": ['451001-["a"]', /disconnect: parse error/],
  "a refusal without a reason": ["44", /disconnect: parse error/],
  "an Engine.IO packet of no type": ["x", /disconnect: transport error/],
  "a close packet": ["1", /disconnect: transport close/, "", "CLOSE"],
  "an end in the middle of a packet": ["CUT", /disconnect: transport (error|close)/],
};

const two = '452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]';
const other = '451-["a",{"_placeholder":true,"num":7}]';
const amongAttachments = {
  "an attachment of another number": { polling: [other + "\x1ebAQ=="], websocket: [other, Buffer.of(1)], want: /disconnect: parse error/ },
  "one attachment too many": { polling: [two + "\x1ebAQ==\x1ebAQ==\x1ebAQ=="], websocket: [two, Buffer.of(1), Buffer.of(1), Buffer.of(1)], want: /disconnect: parse error/ },
  "an end among the attachments": { polling: [two + "\x1ebAQ==", "1"], websocket: [two, Buffer.of(1), "CLOSE"], want: /disconnect: transport close/ },
};

for (const transport of ["polling", "websocket"]) {
  describe(`a bad server over ${transport}`, { timeout: 60_000 }, () => {
    for (const [what, [list, want]] of Object.entries(duringHandshake)) {
      it(`that begins with ${what}`, async () => assert.match(await outcome(transport, list), want));
    }
    for (const [what, [first, want, second, instead]] of Object.entries(afterwards)) {
      it(`that sends ${what}`, async () => {
        const bad = transport == "websocket" && instead ? [instead] : [first, second].filter(Boolean);
        assert.match(await outcome(transport, [handshake(), hello, ...bad]), want);
      });
    }

    for (const [what, { [transport]: list, want }] of Object.entries(amongAttachments)) {
      it(`that sends ${what}`, async () => assert.match(await outcome(transport, [handshake(), hello, ...list]), want));
    }

    it("that sends packets nobody waits for", async () => {
      const { url } = await serve([handshake(), hello, "43999[1]", '42/other,["x"]', "44/other,{}", "6", "3", "5", '42["fine",1]']);
      const socket = open(url, { transports: [transport] });
      assert.deepEqual(await once(socket, "fine"), [1]);
      assert.ok(socket.connected);
    });
  });
}

describe("a bad server over polling", () => {
  it("that answers binary which is not base64", async () => assert.match(await outcome("polling", [handshake(), hello, "b%%%"]), /disconnect: transport error/));
  it("that answers 500", async () => assert.match(await outcome("polling", [handshake(), hello, 500]), /disconnect: transport error/));
  it("that does not know the session", async () => assert.match(await outcome("polling", [400]), /connect_error: xhr poll error/));
});

describe("a bad server over websocket", () => {
  it("that closes before the handshake", async () => assert.match(await outcome("websocket", ["CLOSE"]), /connect_error: transport close/));
  it("that sends bytes without a packet", async () => assert.match(await outcome("websocket", [handshake(), hello, Buffer.of(1)]), /disconnect: parse error/));
});
