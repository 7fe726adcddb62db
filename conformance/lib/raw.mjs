// Engine.IO by hand: single HTTP requests and WebSocket frames.
import assert from "node:assert/strict";
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { WebSocket } from "ws";
import { until, within } from "./wait.mjs";

const agent = new Agent({ keepAlive: false });
export const SEPARATOR = "\x1e";

// send makes one request and resolves with {status, headers, body}, or with
// {reset: <code>} when the server cut the connection instead of answering.
export function send(url, { method = "GET", headers = {}, body } = {}) {
  const answered = new Promise((resolve, reject) => {
    const failed = (err) => (err.code ? resolve({ reset: err.code }) : reject(err));
    const req = httpRequest(url, { method, headers, agent }, (res) => {
      const chunks = [];
      res.on("error", failed);
      res.on("data", (chunk) => chunks.push(chunk));
      res.on("end", () => {
        const raw = Buffer.concat(chunks);
        resolve({ status: res.statusCode, headers: res.headers, raw, body: raw.toString() });
      });
    });
    req.on("error", failed);
    req.end(body);
  });
  return within(answered, `${method} ${url}`);
}

// sendRaw writes bytes on a TCP connection and resolves with everything that
// came back until the server closed it.
export function sendRaw(url, bytes) {
  const { port } = new URL(url);
  const answered = new Promise((resolve, reject) => {
    const chunks = [];
    const socket = connect(Number(port), "localhost", () => socket.write(bytes));
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
  });
  return within(answered, "the raw answer");
}

export const address = (url, path, query) => `${url}${path}?${new URLSearchParams(query)}`;

// openPolling makes a polling session.
export async function openPolling(url, path, query = {}) {
  const first = await send(address(url, path, { EIO: 4, transport: "polling", ...query }));
  if (first.status !== 200) throw new Error(`handshake refused: ${first.status} ${first.body}`);
  const handshake = JSON.parse(first.body.slice(1));
  const at = (more) => address(url, path, { EIO: 4, transport: "polling", sid: handshake.sid, ...more });
  return {
    first,
    handshake,
    sid: handshake.sid,
    at,
    poll: (opts) => send(at(), opts),
    post: (body, opts) => send(at(), { method: "POST", body, headers: { "content-type": "text/plain;charset=UTF-8" }, ...opts }),
    probe: () => openWebSocket(url, path, { sid: handshake.sid }),
  };
}

// openWebSocket opens a WebSocket. next() resolves with each frame in turn: a
// string for text, a Buffer for binary. closed resolves with {code, reason}, or
// {status, body} when the upgrade was refused. With opts.heartbeat pings are
// answered and not handed out.
export function openWebSocket(url, path, query = {}, { heartbeat = false, ...opts } = {}) {
  const ws = new WebSocket(address(url.replace("http", "ws"), path, { EIO: 4, transport: "websocket", ...query }), opts);
  const [frames, waiting] = [[], []];
  ws.on("message", (data, binary) => {
    const frame = binary ? data : data.toString();
    if (heartbeat && frame === "2") return ws.send("3");
    if (waiting.length) waiting.shift()(frame);
    else frames.push(frame);
  });
  const closed = new Promise((resolve) => {
    ws.on("error", () => {});
    ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    ws.on("unexpected-response", (req, res) => {
      let body = "";
      res.on("data", (chunk) => (body += chunk));
      res.on("end", () => {
        resolve({ status: res.statusCode, body });
        ws.terminate();
      });
    });
  });
  const opened = within(new Promise((resolve, reject) => {
    ws.on("open", resolve);
    closed.then((end) => reject(new Error(`websocket refused: ${JSON.stringify(end)}`)));
  }), "the websocket to open");
  opened.catch(() => {});
  const next = () => {
    if (frames.length) return Promise.resolve(frames.shift());
    const gone = closed.then((end) => Promise.reject(new Error(`websocket closed: ${JSON.stringify(end)}`)));
    return within(Promise.race([new Promise((resolve) => waiting.push(resolve)), gone]), "a websocket frame");
  };
  return {
    ws,
    closed,
    opened,
    frames,
    send: (data) => ws.send(data),
    next,
    close: () => ws.terminate(),
  };
}

// fate tells how an upgrade ended that should not succeed: the refusing status,
// or "closed after 101".
export async function fate(socket) {
  const end = await socket.closed;
  return end.status ? String(end.status) : "closed after 101";
}

// arrived waits until what was written before the call has been seen by the
// server: whole exchanges on later connections.
export async function arrived(url) {
  for (let i = 0; i < 3; i++) await send(`${url}/not-here`);
}

// postPart starts a POST and stops in the middle of the body, once the server has
// asked for it. answer resolves like send; abort cuts the connection.
export async function postPart(url, part, length) {
  let req;
  const answer = new Promise((resolve) => {
    req = httpRequest(url, {
      method: "POST",
      agent,
      headers: { expect: "100-continue", "content-type": "text/plain", "content-length": length },
    });
    req.on("error", (err) => resolve({ reset: err.code }));
    req.on("response", (res) => {
      let body = "";
      res.on("data", (chunk) => (body += chunk));
      res.on("error", (err) => resolve({ reset: err.code }));
      res.on("end", () => resolve({ status: res.statusCode, body }));
    });
  });
  const asked = new Promise((resolve) => req.once("continue", resolve));
  req.flushHeaders();
  await within(asked, "100 Continue");
  await new Promise((resolve) => req.write(part, resolve));
  return { answer: within(answer, "the answer to the cut POST"), abort: () => req.destroy() };
}

export const unknownSession = '{"code":1,"message":"Session ID unknown"}';

// gone waits until the server has forgotten a session.
export function gone(session) {
  return until(async () => {
    const got = await session.post("3");
    return got.status === 400 && got.body === unknownSession;
  }, "the session to be gone");
}

// alive shows that a polling session works, by joining the main namespace.
export async function alive(session) {
  const posted = await session.post("40");
  assert.equal(posted.body, "ok");
  const polled = await session.poll();
  assert.match(polled.body, /40\{"sid":"/);
}
