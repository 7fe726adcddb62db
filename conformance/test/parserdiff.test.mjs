// The same messages through the official decoders and through those in Go:
// 20,000 cases made from a fixed seed, and the ones protocols and advisories are
// about. What comes out must be equal, and so must what is refused, but for the
// rows of the table below.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { decodePayload } from "engine.io-parser";
import msgpack from "socket.io-msgpack-parser";
import * as text from "socket.io-parser";
import { buffer, damage, packet, random } from "../lib/generate.mjs";
import { target, temporaryFolder } from "../lib/process.mjs";
import { encode } from "../lib/values.mjs";

// Where Go decides otherwise on purpose. Each row says which of two unequal
// outcomes it explains: the case, the reference's outcome and Go's.
const differences = {
  text: [
    ["an empty message is no packet", ({ messages }) => messages.includes("")],
    ["a binary packet without attachments is a plain one", ({ messages: [m] }, ref, go) => /^[56]0*-/.test(m) && ref.error && !go.error],
    ["every attachment is used by exactly one placeholder", (_, ref, go) => /illegal attachments/.test(go.error)],
    ["placeholders hold nothing but their numbers in digits", (_, ref, go) => /illegal placeholder/.test(go.error)],
    ["ack ids are digits up to 2^53-1", (_, ref, go) => /invalid ack id/.test(go.error)],
    ["at most 128 levels", (_, ref, go) => /nested too deeply/.test(go.error)],
    ["at most 65,536 values", (_, ref, go) => /too many values/.test(go.error)],
    ["namespaces of at most 256 bytes", (_, ref, go) => /invalid namespace/.test(go.error)],
  ],
  msgpack: [
    ["reserved event names are refused", (_, ref, go) => go.error === "msgpack: invalid payload" && reserved.has(ref.packets[0]?.data[0])],
    ["ack ids are 0 to 2^53-1", (_, ref, go) => /invalid packet id/.test(go.error) && !ref.error],
    ["namespaces begin with / and are UTF-8", (_, ref, go) => /invalid namespace/.test(go.error) && !ref.error],
    ["map keys are strings or numbers", (_, ref, go) => /malformed/.test(go.error) && !ref.error],
    ["at most ten attachments", (_, ref, go) => /too many binary/.test(go.error)],
    ["an ext value is no array", ({ messages: [m] }, ref, go) => go.error === "msgpack: invalid payload" && hasExt(m)],
    ["ext type -1 is a date, type 0 of a fixed size is binary", ({ messages: [m] }, ref, go) => !go.error && hasExt(m)],
    ["each byte that is not UTF-8 is one replacement character", (_, ref, go) => !go.error && JSON.stringify(go.packets).includes("\ufffd")],
  ],
  payload: [
  ],
};
const reserved = new Set(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]);
const hasExt = (m) => m.some((byte) => byte >= 0xd4 && byte <= 0xd8) || m.some((byte) => byte >= 0xc7 && byte <= 0xc9);

const plain = (it) => JSON.parse(JSON.stringify(it) ?? "null");

function viaDecoder(decoder, messages, shape) {
  const out = { packets: [] };
  decoder.on("decoded", (p) => out.packets.push(plain({ type: p.type, nsp: p.nsp, id: p.id, data: shape(p) })));
  try {
    for (const message of messages) decoder.add(message);
  } catch (err) {
    out.error = err.message;
  }
  return out;
}

// asBuffers writes binary where there are no attachments.
const asBuffers = (it) => JSON.parse(JSON.stringify(it), (_, v) => (typeof v?.$bin === "string" ? Buffer.from(v.$bin, "base64").toJSON() : v));

const reference = {
  text: ({ messages }) => viaDecoder(new text.Decoder(), messages, (p) => p.data === undefined ? undefined : encode(p.data)),
  msgpack({ messages }) {
    const shape = ({ type, data }) => data === undefined ? undefined : type === 0 || type === 4 ? asBuffers(encode(data)) : encode(data);
    return viaDecoder(new msgpack.Decoder(), messages, shape);
  },
  payload({ messages: [payload] }) {
    const out = { packets: [] };
    for (const { type, data } of decodePayload(payload, "nodebuffer")) {
      if (type === "error") return { ...out, error: data };
      if (type === "close") return out;
      if (type === "message") out.packets.push(encode(data ?? ""));
    }
    return out;
  },
};

// again is how the reference's server writes what a msgpack decoder reported.
function again({ type, nsp, id, data }) {
  if (data !== undefined) data = revive(data);
  const it = type === 3 ? { id, type, data, nsp } : type === 2 ? { type, data, id, nsp } : { type, data, nsp };
  for (const key of ["id", "data"]) if (it[key] === undefined) delete it[key];
  return new msgpack.Encoder().encode(it)[0].toString("hex");
}
const revive = (v) => {
  if (v === null || typeof v !== "object") return v;
  if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
  if (Array.isArray(v)) return v.map(revive);
  return Object.fromEntries(Object.entries(v).map(([k, m]) => [k, revive(m)]));
};

const holder = (num) => `{"_placeholder":true,"num":${num}}`;
const deep = (n) => `${"[".repeat(n)}0${"]".repeat(n)}`;
const corpus = {
  text: [
    "", " ", "0", "0{}", "0null", "0[]", '0"x"', "0/admin?x=1,", "1", "1/admin", "1/admin,", "1{}", "2", "2[]", "2{}", '2"a"', "2[", "2[1]", '2[1.5,"x"]',
    "2[true]", "2[null]", "2[{}]", '2["connect"]', '2["connect_error"]', '2["disconnect"]', '2["disconnecting"]', '2["newListener"]', '2["removeListener"]',
    '2["connection"]', '2["error"]', '2["__proto__"]', '20["a"]', '2007["a"]', "212", '2-1["a"]', '2abc["a"]', '21.5["a"]', '21e3["a"]', '2 ["a"]', '2 1["a"]', '21 ["a"]', '2\t["a"]',
    '299999999999999999999["a"]', '29007199254740991["a"]', '29007199254740992["a"]', '2/a["x"]', "31", "31{}", "31[]", "4", '4"x"', "4{}", "5", "51", "5a-", "51.23-", '5-["a"]', '50-["a"]', '500-["a"]',
    `511-["a",${holder(0)}]`, "51e0-[]", "5+1-[]", "5 1-[]", "50x1-[]", "7", "9", "a", "é", "2/" + "n".repeat(255) + ',["a"]', "2/" + "n".repeat(256) + ',["a"]', `2["a",${deep(126)}]`, `2["a",${deep(127)}]`, `2["a",${deep(128)}]`,
    `2["a"${",0".repeat(65534)}]`, `2["a"${",0".repeat(65535)}]`, '2["a",1e999]', '2["a",-0]', '2["a","\\ud800"]', '2["a"]x', '2["a"]\n', '2 \n["a"]', '2["\\u0063onnect"]', '2[{"toString":"foo"}]', "2[1e2]",
  ].map((m) => [m]).concat([
    [`51-["a",${holder(0)}]`, Buffer.from("x")], [`51-["a",${holder(0)}]`, Buffer.alloc(0)], [`52-["a",${holder(1)},{"b":${holder(0)}}]`, Buffer.from("x"), Buffer.from("y")],
    [`61-/x,7[${holder(0)}]`, Buffer.from("x")], [`51-[${holder(0)}]`, Buffer.from("x")], [`51-{"a":${holder(0)}}`, Buffer.from("x")], [`51-["a"]`, Buffer.from("x")],
    [`51-["a",${holder(0)},${holder(0)}]`, Buffer.from("x")], [`51-["a",${holder(1)}]`, Buffer.from("x")], [`51-["a",${holder(-1)}]`, Buffer.from("x")], [`51-["a",${holder('"0"')}]`, Buffer.from("x")],
    [`51-["a",${holder('"splice"')}]`, Buffer.from("x")], [`51-["a",${holder("0.5")}]`, Buffer.from("x")], [`51-["a",{"num":0,"_placeholder":true,"x":1}]`, Buffer.from("x")], [`51-["a",{"_placeholder":1,"num":0}]`, Buffer.from("x")],
    [`51-["a",${holder(0)}]`, '2["b"]'], [`51-["a",${holder(0)}]`, Buffer.from("x"), '2["b"]'], ['2["a"]', Buffer.from("x")], [Buffer.from("x")], [`50-["a"]`, '2["b"]'], [`51-["a",${holder(0)}]`, Buffer.from("x"), Buffer.from("y")],
    [`510-["a"${Array.from({ length: 10 }, (_, i) => `,${holder(i)}`).join("")}]`, ...Array.from({ length: 10 }, (_, i) => Buffer.from([i]))],
  ]),
  msgpack: [
    "83a47479706502a46461746192a568656c6c6fa3796f75a36e7370a12f", "83a47479706500a464617461d40000a36e7370a12f", "82a47479706501a36e7370a12f", "", "c0", "80", "90", "dd7fffffff", "dfffffffff", "c1",
    "83a47479706502a46461746190a36e7370a12f", "83a47479706502a46461746191a7636f6e6e656374a36e7370a12f", "83a47479706500a464617461c0a36e7370a12f", "84a47479706502a46461746191a161a26964c0a36e7370a12f",
    "83a47479706502a46461746192a161c7010005a36e7370a12f", "83a47479706502a46461746192a161c708000102030405060708a36e7370a12f", "83a47479706502a46461746192a161d7000000016f5e66e800a36e7370a12f",
    "83a47479706502a46461746193a161d4000081a162d40000a36e7370a12f", "84a47479706502a46461746191a161a26964cb4000000000000000a36e7370a12f", "83a47479706502a464617461d40500a36e7370a12f",
    `83a47479706502a46461746191${"91".repeat(100)}c0a36e7370a12f`,
  ].map((hex) => [Buffer.from(hex, "hex")]),
  payload: ["", "4", "4x", "4x\x1e", "\x1e4x", "4x\x1e\x1e4y", "bAQID", "bAQIDBA", "b_-8=", "b!!!AQ ID", "b", "4a\x1ebAQ==\x1e4é😀", "x", "4a\x1ex\x1e4b", "6\x1e4a", "3\x1e4a", "4a\x1e1\x1e4b", "00", "9"].map((m) => [m]),
};

const generate = {
  text(r) {
    const parts = [..."012345678910-/,[]{}\":.e+ \\", "_placeholder", "true", "num", holder(0), "null", "-0", "1e5", "é", "\u0000", "/a,", "[["];
    const messages = new text.Encoder().encode(packet(r, [() => buffer(r), () => 1e21]));
    if (r.chance(0.6)) messages[0] = damage(r, messages[0], parts);
    if (messages.length > 1 && r.chance(0.2)) messages.splice(r.below(messages.length), 1);
    if (r.chance(0.05)) messages.splice(r.below(messages.length + 1), 0, r.chance(0.5) ? Buffer.from("more") : '2["more"]');
    return messages;
  },
  msgpack(r) {
    const bytes = () => Uint8Array.from(buffer(r));
    const kinds = [() => buffer(r), bytes, () => bytes().buffer, () => undefined, () => new Date(r.below(4e12) - 2e12)];
    let message = new msgpack.Encoder().encode(packet(r, kinds))[0];
    if (r.chance(0.5)) return Object.assign([message], { intact: true });
    // A length of 32 bits makes the reference allocate what it says.
    message = damage(r, message, Array.from({ length: 256 }, (_, i) => [i]).filter(([i]) => i !== 0xc9));
    return [message];
  },
  payload(r) {
    const one = () => r.pick([() => "4" + r.pick(["", "a", "é", "😀", "{}"]), () => "b" + buffer(r).toString("base64"), () => "6", () => "3"])();
    let payload = [one(), ...r.some(4, one)].join("\x1e");
    if (r.chance(0.4)) payload = damage(r, payload, [..."46bx\x1e=-_+ A9é"]);
    return [payload];
  },
};
// Left out: pings are the server's to send, and upgrades belong to a probe.
const usable = { text: () => true, msgpack: () => true, payload: ([m]) => !m.split("\x1e").some((p) => /^[025]/.test(p)) && m !== "" };

function casesOf(kind, seed, count) {
  const r = random(seed);
  const cases = corpus[kind].slice();
  while (cases.length < count) cases.push(generate[kind](r));
  return cases.filter(usable[kind]).map((messages) => ({ kind, messages }));
}

function throughGo(cases) {
  const file = join(temporaryFolder(), "parserdiff");
  const root = fileURLToPath(new URL("../..", import.meta.url));
  execFileSync("go", ["build", "-o", file, "./conformance/parserdiff"], { cwd: root, stdio: "inherit" });
  const line = ({ kind, messages }) =>
    [kind, ...messages.map((m) => `${typeof m === "string" ? "t" : "b"}:${Buffer.from(m).toString("base64")}`)].join(" ");
  const input = cases.map(line).join("\n") + "\n";
  const output = execFileSync(file, { input, maxBuffer: 1 << 28, timeout: 60_000 }).toString().trimEnd().split("\n");
  assert.equal(output.length, cases.length);
  return output.map((text) => JSON.parse(text));
}

const equal = (ref, go) => !ref.error === !go.error && JSON.stringify(ref.packets) === JSON.stringify(go.packets);
const show = (m) => (typeof m === "string" ? JSON.stringify(m) : m.toString("hex")).slice(0, 300);

// There is nothing to compare when the reference itself is under test.
if (target === "go") {
  describe("parsers against the official ones", { timeout: 120_000 }, () => {
    for (const [kind, seed, count] of [["text", 1, 14_000], ["msgpack", 2, 5000], ["payload", 3, 1000]]) {
      it(`${kind}: ${count} cases`, (t) => {
        const cases = casesOf(kind, seed, count);
        const explained = new Map(differences[kind].map(([row]) => [row, 0]));
        const [failures, tally] = [[], { equal: 0, refused: 0, again: 0 }];
        for (const [i, go] of throughGo(cases).entries()) {
          const ref = reference[kind](cases[i]);
          const same = equal(ref, go);
          if (same) tally.equal++;
          if (same && ref.error) tally.refused++;
          const row = same || differences[kind].find(([, applies]) => applies(cases[i], ref, go))?.[0];
          if (!same && row) explained.set(row, explained.get(row) + 1);
          if (!row) failures.push(`${cases[i].messages.map(show).join(" ")}\n  reference ${JSON.stringify(ref).slice(0, 300)}\n  Go        ${JSON.stringify(go).slice(0, 300)}`);
          // What a damaged packet holds may have no bytes of its own in JavaScript.
          if (same && go.again && cases[i].messages.intact && go.packets[0].type !== 0) {
            tally.again++;
            const want = again(go.packets[0]);
            if (go.again !== want) failures.push(`${show(cases[i].messages[0])} encoded again\n  reference ${want}\n  Go        ${go.again}`);
          }
        }
        t.diagnostic(`${cases.length} cases: ${tally.equal} equal (${tally.refused} of them refused), ${tally.again} encoded again; differences: ${JSON.stringify(Object.fromEntries(explained))}`);
        for (const [row, count] of explained) if (count === 0) failures.push(`no case needs the row "${row}"`);
        assert.equal(failures.length, 0, `${failures.length} differences:\n${failures.slice(0, 10).join("\n")}`);
      });
    }
  });
}
