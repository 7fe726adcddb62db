// Engine.IO over HTTP: refusals, polling, closing, client files, hooks. What a
// row expects is what engine.io 6 does, or the official protocol suite asks for.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ctl } from "../lib/ctl.mjs";
import { accepts } from "../lib/differences.mjs";
import { startTarget } from "../lib/process.mjs";
import {
  SEPARATOR, address, alive, arrived, fate, gone, openPolling, openWebSocket, postPart, send, sendRaw,
} from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const PATH = "/socket.io/";
let node; // slow heartbeat, big payloads, Socket.IO on top
let echo; // the protocol mode: fast heartbeat, every message comes back

before(async () => {
  node = await startTarget("node");
  echo = await startTarget("protocol");
});
after(() => Promise.all([node, echo].map((server) => server?.kill())));

const polling = (query) => openPolling(node.url, PATH, query);
const websocket = (query, opts) => openWebSocket(node.url, PATH, query, opts);
// hold sends a poll and waits until the server has it. The answer is wrapped:
// awaiting hold must not wait for it.
async function hold(session) {
  const answer = session.poll();
  await arrived(node.url);
  return { answer };
}

describe("engine: refused requests", { timeout: 30_000 }, () => {
  const rows = [
    ["no transport", { EIO: 4 }, "GET", 0, "Transport unknown"],
    ["an unknown transport", { EIO: 4, transport: "foo" }, "GET", 0, "Transport unknown"],
    ["a transport named like an object member", { EIO: 4, transport: "constructor" }, "GET", 0, "Transport unknown"],
    ["webtransport over HTTP", { EIO: 4, transport: "webtransport" }, "GET", 0, "Transport unknown"],
    ["transport in capitals", { EIO: 4, transport: "POLLING" }, "GET", 0, "Transport unknown"],
    ["an unknown transport before a bad version", { EIO: 3, transport: "foo" }, "GET", 0, "Transport unknown"],
    ["an unknown session", { EIO: 4, transport: "polling", sid: "nope" }, "GET", 1, "Session ID unknown"],
    ["an unknown session by POST", { EIO: 4, transport: "polling", sid: "nope" }, "POST", 1, "Session ID unknown"],
    ["a session id with odd characters", { EIO: 4, transport: "polling", sid: "../\u0000é" }, "GET", 1, "Session ID unknown"],
    ["a handshake by POST", { EIO: 4, transport: "polling" }, "POST", 2, "Bad handshake method"],
    ["a handshake by PUT", { EIO: 4, transport: "polling" }, "PUT", 2, "Bad handshake method"],
    ["websocket without an upgrade", { EIO: 4, transport: "websocket" }, "GET", 3, "Bad request"],
    ["version 3", { EIO: 3, transport: "polling" }, "GET", 5, "Unsupported protocol version"],
    ["no version", { transport: "polling" }, "GET", 5, "Unsupported protocol version"],
    ["version 5", { EIO: 5, transport: "polling" }, "GET", 5, "Unsupported protocol version"],
    ["the last of two versions", "EIO=4&transport=polling&EIO=3", "GET", 5, "Unsupported protocol version"],
  ];
  for (const [name, query, method, code, message] of rows) {
    it(`refuses ${name} with code ${code}`, async () => {
      const got = await send(address(node.url, PATH, query), { method, headers: { origin: "http://example.com" } });
      assert.equal(got.status, 400);
      assert.equal(got.headers["content-type"], "application/json");
      assert.equal(got.body, JSON.stringify({ code, message }));
      assert.equal(got.headers["access-control-allow-origin"], "*", "CORS headers are there on errors too");
    });
  }

  it("takes an empty session id for none", async () => {
    const got = await send(address(node.url, PATH, { EIO: 4, transport: "polling", sid: "" }));
    assert.equal(got.status, 200);
  });

  it("refuses a poll of a websocket session with code 3", async () => {
    const ws = websocket();
    const { sid } = JSON.parse((await ws.next()).slice(1));
    const got = await send(address(node.url, PATH, { EIO: 4, transport: "polling", sid }));
    assert.equal(got.status, 400);
    assert.equal(got.body, '{"code":3,"message":"Bad request"}');
    ws.close();
  });

  it("refuses an origin with a control character", async () => {
    const { host } = new URL(node.url);
    const got = await sendRaw(node.url,
      `GET ${PATH}?EIO=4&transport=polling HTTP/1.1\r\nHost: ${host}\r\nOrigin: http://a\x7f\r\nConnection: close\r\n\r\n`);
    assert.match(got, /^HTTP\/1\.1 400 /);
    accepts("origin with a control character", got.includes('{"code":3') ? "400 code 3" : "400");
  });

  it("refuses bad upgrades without harm", async () => {
    assert.equal(await fate(websocket({ transport: "foo" })), "400");
    assert.equal(await fate(websocket({ sid: "nope" })), "400");
    accepts("upgrade with an unsupported EIO", await fate(websocket({ EIO: 3 })));
    accepts("upgrade that asks for polling", await fate(websocket({ transport: "polling" })));
    const session = await polling();
    accepts("upgrade that asks for polling", await fate(websocket({ transport: "polling", sid: session.sid })));
    await alive(session);
  });

  for (const [what, headers] of [
    ["without a key", "Sec-WebSocket-Version: 13\r\n"],
    ["of an unknown version", "Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"],
  ]) {
    it(`refuses a websocket handshake ${what}`, async () => {
      const { host } = new URL(node.url);
      const got = await sendRaw(node.url, `GET ${PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${host}\r\n` +
        `Connection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n`);
      assert.match(got, /^HTTP\/1\.1 400 /);
    });
  }

  it("matches the path by its prefix", async () => {
    const query = { EIO: 4, transport: "polling" };
    assert.equal((await send(address(node.url, "/socket.io/default/", query))).status, 200);
    assert.equal((await send(address(node.url, "/other/", query))).status, 404);
  });

  it("answers a preflight request", async () => {
    const got = await send(address(node.url, PATH, { EIO: 4, transport: "polling" }), {
      method: "OPTIONS",
      headers: { origin: "http://example.com", "access-control-request-method": "POST", "access-control-request-headers": "x-a" },
    });
    assert.equal(got.status, 204);
    assert.equal(got.headers["access-control-allow-origin"], "*");
    assert.match(got.headers["access-control-allow-methods"], /POST/);
    assert.equal(got.headers["access-control-allow-headers"], "x-a");
  });
});

describe("engine: polling", { timeout: 30_000 }, () => {
  it("opens with exactly the five keys", async () => {
    const { first, handshake } = await polling();
    assert.deepEqual(Object.keys(handshake), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]);
    assert.deepEqual({ ...handshake, sid: "" },
      { sid: "", upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 5000000 });
    assert.equal(first.body[0], "0");
    assert.match(first.headers["content-type"], /^text\/plain; charset=utf-8$/i);
    assert.equal(first.headers["cache-control"], "no-store");
    assert.equal(Number(first.headers["content-length"]), first.raw.length);
  });

  it("answers a POST with ok", async () => {
    const session = await polling();
    const got = await session.post("3");
    assert.deepEqual([got.status, got.body, got.headers["content-type"], got.headers["content-length"]],
      [200, "ok", "text/html", "2"]);
  });

  it("takes several packets in one body, chunked or not", async () => {
    const session = await polling();
    await alive(session);
    await session.post(['420["echo","é"]', '421["echo",2]'].join(SEPARATOR),
      { headers: { "transfer-encoding": "chunked", "content-type": "anything/else" } });
    let packets = [];
    await until(async () => {
      packets = packets.concat((await session.poll()).body.split(SEPARATOR));
      return packets.length === 2;
    }, "both answers");
    assert.deepEqual(packets, ['430["é"]', '431[2]']);
  });

  it("takes and gives binary as base64", async () => {
    const session = await openPolling(echo.url, "/engine.io/");
    for (const [sent, back] of [["bAQIDBA==", "bAQIDBA=="], ["bAQIDBA", "bAQIDBA=="], ["b_-8=", "b/+8="], ["b", "b"], ["4", "4"]]) {
      assert.equal((await session.post(sent)).body, "ok");
      const got = (await session.poll()).body.split(SEPARATOR).filter((packet) => packet !== "2");
      assert.deepEqual(got, [back], `after ${sent}`);
      await session.post("3");
    }
  });

  it("compresses long bodies for those who ask", async () => {
    const session = await polling();
    const ask = async (size, headers) => {
      await session.post(`420["echo","${"x".repeat(size)}"]`);
      return (await session.poll({ headers })).headers["content-encoding"];
    };
    await alive(session);
    assert.equal(await ask(2000, { "accept-encoding": "gzip" }), "gzip");
    assert.equal(await ask(10, { "accept-encoding": "gzip" }), undefined);
    assert.equal(await ask(2000, {}), undefined);
  });

  it("closes when two polls overlap", async () => {
    const session = await polling();
    const got = await Promise.all([session.poll(), session.poll()]);
    got.sort((a, b) => a.status - b.status);
    assert.deepEqual(got.map(({ status, body }) => [status, body]), [[200, "1"], [400, ""]]);
    await gone(session);
  });

  it("closes when two POSTs overlap", async () => {
    const session = await polling();
    const { answer: poll } = await hold(session);
    const cut = await postPart(session.at(), "4a", 100);
    const second = await session.post("3");
    assert.deepEqual([second.status, second.body], [400, ""]);
    const first = await cut.answer;
    accepts("POST cut off by another", first.reset ? "reset" : String(first.status));
    assert.equal((await poll).body, "1");
    await gone(session);
  });

  it("closes when the client aborts a poll", async () => {
    const session = await polling();
    await until(async () => {
      const lost = await fetch(session.at(), { signal: AbortSignal.timeout(20) }).catch(() => "lost");
      return lost === "lost" ? (await session.post("3")).status === 400 : true;
    }, "the session to be gone");
    await gone(session);
  });

  it("closes when the client aborts a POST", async () => {
    const session = await polling();
    (await postPart(session.at(), "4a", 100)).abort();
    await gone(session);
  });

  it("refuses an octet-stream POST", async () => {
    const session = await polling();
    const got = await session.post("3", { headers: { "content-type": "application/octet-stream" } });
    assert.deepEqual([got.status, got.body], [400, ""]);
    const open = (await session.post("3")).status === 200;
    accepts("octet-stream POST", `400, session ${open ? "open" : "closed"}`);
  });

  it("refuses a body over the limit and keeps the session", async () => {
    const session = await openPolling(echo.url, "/engine.io/");
    const got = await session.post("4" + "x".repeat(1_000_000));
    assert.deepEqual([got.status ?? got.reset, got.body], [413, ""]);
    assert.equal((await session.post("4" + "y".repeat(999_999))).body, "ok");
    let seen = "";
    await until(async () => (seen += (await session.poll()).body).includes("y"), "the echo");
    assert.ok(!seen.includes("x"), "nothing of the refused body was processed");
  });

  for (const method of ["PUT", "DELETE", "PATCH"]) {
    it(`answers ${method} in a session with 500`, async () => {
      const session = await polling();
      const got = await send(session.at(), { method });
      assert.deepEqual([got.status, got.body], [500, ""]);
      await alive(session);
    });
  }

  for (const [what, body] of [
    ["letters", "abc"], ["nothing", ""], ["a trailing separator", `3${SEPARATOR}`],
    ["a doubled separator", `3${SEPARATOR}${SEPARATOR}3`], ["an unknown type", "9x"],
  ]) {
    it(`closes the session after a POST of ${what}, and answers the waiting poll`, async () => {
      const session = await polling();
      const { answer } = await hold(session);
      const got = await session.post(body);
      accepts("undecodable POST", got.reset ? "reset" : String(got.status));
      assert.equal((await answer).body, "1");
      await gone(session);
    });
  }

  it("delivers the packets before an undecodable one", async () => {
    const session = await polling();
    await session.post("40");
    const { sid } = JSON.parse((await session.poll()).body.slice(2));
    await session.post(`42["relayAll","x"]${SEPARATOR}abc`);
    const end = await until(async () =>
      (await ctl(node, "log")).find((e) => e.id === sid && e.event === "disconnect"), "the end in the log");
    assert.equal(end.reason, "parse error");
  });

  it("ends with noop and ok when the client posts a close packet", async () => {
    const session = await polling();
    const { answer } = await hold(session);
    assert.equal((await session.post(`1${SEPARATOR}4ignored`)).body, "ok");
    assert.equal((await answer).body, "6");
    await gone(session);
  });

  it("closes on a ping from the client", async () => {
    const session = await polling();
    await session.post("2");
    await gone(session);
  });

  it("hands out what is queued and then the close packet", async () => {
    const session = await polling();
    await session.post("40");
    const { sid } = JSON.parse((await session.poll()).body.slice(2));
    await ctl(node, "socketDisconnect", { id: sid, close: true });
    const packets = [];
    await until(async () => {
      const got = await session.poll();
      if (got.status === 200) packets.push(...got.body.split(SEPARATOR));
      return got.status === 400;
    }, "the session to be gone");
    assert.deepEqual(packets.filter((packet) => packet !== "6"), ["41", "1"]);
  });
});

describe("engine: client files", { timeout: 30_000 }, () => {
  for (const file of ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"]) {
    it(`serves ${file}`, async () => {
      const got = await send(`${node.url}${PATH}${file}`);
      assert.equal(got.status, 200);
      assert.equal(got.headers["content-type"], "application/javascript; charset=utf-8");
      assert.equal(got.headers["cache-control"], "public, max-age=0");
      assert.match(got.body, /\bManager\b/);
      const again = await send(`${node.url}${PATH}${file}`, { headers: { "if-none-match": got.headers.etag } });
      assert.deepEqual([again.status, again.body], [304, ""]);
    });
  }
});

describe("engine: hooks", { timeout: 30_000 }, () => {
  let tiny; // the engine client's mode: payloads of 100 bytes, allow-request hook, cookies
  before(async () => (tiny = await startTarget("eio-client")));
  after(() => tiny?.kill());

  it("refuses what the allow-request hook refuses with code 4", async () => {
    const got = await send(address(tiny.url, "/engine.io/", { EIO: 4, transport: "polling", deny: 1 }));
    assert.equal(got.status, 403);
    assert.equal(got.body, '{"code":4,"message":"Forbidden"}');
    accepts("upgrade refused by allow-request", await fate(openWebSocket(tiny.url, "/engine.io/", { deny: 1 })));
  });

  it("sets the cookies of the handshake once", async () => {
    const session = await openPolling(tiny.url, "/engine.io/");
    const cookies = session.first.headers["set-cookie"];
    assert.deepEqual(cookies.slice(0, 3),
      ["1=1; Max-Age=86400", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict", "3=3; Max-Age=0"]);
    assert.match(cookies[3], /^4=4; Expires=/);
    assert.equal((await session.poll()).headers["set-cookie"], undefined);
  });
});
