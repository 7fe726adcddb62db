// The same happens on the reference and on Go: what the UI is told must look the same.
import assert from "node:assert/strict";
import { it } from "node:test";
import { io } from "socket.io-client";
import { credentials, start, until } from "./servers.mjs";

// play runs the scenario and resolves with all the UI was told.
async function play(language, ...flags) {
  const server = await start(language, ...flags);
  const told = [];
  const all = (event) => told.filter(([name]) => name === event);
  const ui = io(server.url + "/admin", { auth: credentials, transports: ["websocket"], forceNew: true });
  try {
    ui.onAny((...args) => told.push(args));
    const development = flags.includes("-development");
    await until("a greeting", () => all("session").length && all("config").length && all("all_sockets").length >= +development);
    const seen = all("room_joined").length;
    const client = io(server.url, { forceNew: true });
    await until("an upgrade", () => client.io.engine?.transport.name === "websocket" && client.connected);
    assert.equal(await client.timeout(30_000).emitWithAck("hello", "Ann"), "ok");
    if (development) await until("a join", () => all("room_joined").length >= seen + 2);
    client.disconnect();
    if (development) await until("an end", () => all("socket_disconnected").length && all("room_left").length === 2);
    await until("statistics", () => all("server_stats").some(([, s]) => s.aggregatedEvents.some((e) => e.type === "rawDisconnection")));
    return told;
  } finally {
    ui.disconnect();
    await server.stop();
  }
}

// shape replaces values by what they are. Keys keep their order, except where clients choose
// them.
function shape(value, key) {
  if (Array.isArray(value)) {
    const items = value.map((v) => shape(v));
    // of statistics: kinds of entries, not how many
    return ["aggregatedEvents", "namespaces"].includes(key) ? [...new Set(items.map((i) => JSON.stringify(i)))].sort() : items;
  }
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value);
    if (["headers", "query"].includes(key)) keys.sort();
    return Object.fromEntries(keys.map((k) => [k, shape(value[k], k)]));
  }
  if (typeof value !== "string") return typeof value;
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) return "date";
  if (/^[\w-]{20}$/.test(value)) return "id";
  if (/^(\/.*|AGG.*|ALL.*|M?(EMIT|JOIN|LEAVE|DISCONNECT)|websocket|polling|hello|welcome|guests|Ann|(raw|packets|bytes)\w+|.* .*)$/.test(value) &&
      !["hostname", "sec-websocket-key", "serverId", "time", "url"].includes(key)) return "= " + value;
  return "string";
}

// shapes lists each different thing the UI was told.
function shapes(told) {
  const out = new Set();
  for (const args of told) {
    // Whether a connection upgrades before or after it joins is up to the client's timing.
    if (args[0] === "socket_connected") args[1].transport = "websocket";
    if (args[0] === "socket_updated" && args[1].transport) continue;
    if (args[0] === "all_sockets") args[1].forEach((s) => (s.transport = "websocket"));
    if (args[0] === "server_stats") args[1].aggregatedEvents = args[1].aggregatedEvents.map(({ type, subType, ...e }) => ({ ...e, type, ...(subType ? { subType: "x" } : {}) }));
    out.add(JSON.stringify(args.map((a, i) => (i ? shape(a) : a))));
  }
  return [...out].sort();
}

// merged folds the statistics into one: which kinds of entries there are depends on time.
function merged(list) {
  const stats = list.filter((s) => s.startsWith('["server_stats"')).map((s) => JSON.parse(s)[1]);
  const kinds = new Set(stats.flatMap((s) => s.aggregatedEvents));
  const rest = list.filter((s) => !s.startsWith('["server_stats"'));
  return [...rest, JSON.stringify({ ...stats[0], aggregatedEvents: [...kinds].sort(), namespaces: [...new Set(stats.flatMap((s) => s.namespaces))].sort() })];
}

for (const flags of [["-development", "-writable"], ["-development"], []]) {
  it(`events look like the reference's with [${flags}]`, { timeout: 240_000 }, async () => {
    const want = merged(shapes(await play("node", ...flags)));
    const got = merged(shapes(await play("go", ...flags)));
    assert.deepEqual(got, want);
    assert.ok(want.length >= (flags.length ? 11 : 3), `only ${want.length} different events`);
  });
}
