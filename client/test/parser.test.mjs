// The text parser and the MessagePack one, as the official parsers have them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import vm from "node:vm";
import { Manager } from "./lib.mjs";

const require = createRequire(new URL("../../conformance/package.json", import.meta.url));
const official = require("socket.io-parser");
const officialMsgpack = require("socket.io-msgpack-parser");

const manager = () => new Manager("http://localhost", { autoConnect: false });
const encode = (packet) => manager().encoder.encode(packet);

/** What a decoder makes of messages. */
function decode(messages, decoder = manager().decoder) {
  const packets = [];
  decoder.on("decoded", (p) => packets.push(p));
  for (const m of messages) decoder.add(m);
  return packets;
}

const packets = {
  "a connection": { type: 0, nsp: "/woot", data: { token: "123" } },
  "a connection with an answer": { type: 0, nsp: "/", data: { sid: "x", pid: "y" } },
  "a disconnection": { type: 1, nsp: "/woot" },
  "an event": { type: 2, data: ["a", 1, {}], nsp: "/" },
  "an event with a name that is a number": { type: 2, data: [1, "a", {}], nsp: "/" },
  "an event with an ack": { type: 2, data: ["a", 1, {}], id: 1, nsp: "/test" },
  "an ack": { type: 3, data: ["a", 1, {}], id: 123, nsp: "/" },
  "an ack with id 0 and nothing": { type: 3, data: [], id: 0, nsp: "/a" },
  "an error with text": { type: 4, data: "Unauthorized", nsp: "/" },
  "an error with data": { type: 4, data: { message: "Unauthorized", data: [1] }, nsp: "/x" },
  "unicode": { type: 2, data: ["héllo 中文 \u{1F600}", "\u2028"], nsp: "/日本" },
  "binary": { type: 2, data: ["a", Uint8Array.of(1, 2, 3)], id: 23, nsp: "/cool" },
  "nested binary": { type: 2, data: ["a", { b: [Uint8Array.of(1), { c: Uint8Array.of(2).buffer }], d: null }], nsp: "/" },
  "binary in an ack": { type: 3, data: ["a", new ArrayBuffer(2), {}], id: 127, nsp: "/back" },
  "a date": { type: 2, data: ["a", new Date(0)], nsp: "/" },
};

describe("parser", () => {
  for (const [what, packet] of Object.entries(packets)) {
    it(`encodes and decodes ${what} like socket.io-parser`, () => {
      const ours = encode({ ...packet });
      const theirs = new official.Encoder().encode(structuredClone(packet));
      assert.deepEqual(ours, theirs);
      const [got] = decode(ours);
      const [want] = decode(theirs, new official.Decoder());
      assert.deepEqual(JSON.parse(JSON.stringify(got)), JSON.parse(JSON.stringify({ ...want, attachments: undefined })));
    });
  }

  it("does not touch what the program hands over", () => {
    const data = ["a", { bin: Uint8Array.of(1), other: { x: 1 } }];
    encode({ type: 2, nsp: "/", data });
    assert.deepEqual(data, ["a", { bin: Uint8Array.of(1), other: { x: 1 } }]);
  });

  for (const text of [
    "", "7", "9[]", "-1", "abc", "{}", "2", '2{"a":1}', "2sd", '2["connect"]', '2["disconnect","123"]', "2[{}]", "2[]", "2null",
    "0[]", "0null", '0"text"', '1["a"]', '1"x"', "3", "3{}", '3"a"', "4", "4[]", "4null", '5["a"]', "5-[]", '50-["a"]', '51',
    '5x-["a"]', '51-["connect"]', '51-{"a":1}', "51-", "5-1-[]", '51.5-["a"]', '51001-["a"]', '61-"a"', '2["a"', "2/nsp", "2/nsp,",
    '20-["a"]', '2["a"]x', '2-1["a"]',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => decode([text]), Error);
    });
  }

  it("refuses text among attachments, attachments without a packet, and ones that are not there", () => {
    assert.throws(() => decode(['51-["a",{"_placeholder":true,"num":0}]', '2["b"]']), /plaintext/);
    assert.throws(() => decode([new ArrayBuffer(1)]), /binary/);
    for (const num of ["1", "-1", '"splice"', "null", "0.5"]) {
      assert.throws(() => decode([`51-["a",{"_placeholder":true,"num":${num}}]`, new ArrayBuffer(1)]), /attachments/);
    }
  });

  it("forgets a packet that was begun", () => {
    const { decoder } = manager();
    decode(['52-["a",{"_placeholder":true,"num":0}]', new ArrayBuffer(1)], decoder);
    decoder.destroy();
    assert.equal(decode(['2["b"]'], decoder)[0].data[0], "b");
  });

  it("uses a parser of the program's choice", () => {
    const m = new Manager("http://localhost", { autoConnect: false, parser: officialMsgpack });
    assert.ok(m.encoder instanceof officialMsgpack.Encoder);
  });

  mutate(() => [manager().encoder, () => manager().decoder]);
});

// The bundle with MessagePack is a script for a tag.
vm.runInThisContext(readFileSync(new URL("../dist/socket.io.msgpack.min.js", import.meta.url), "utf8"));
const msgpackClient = () => new globalThis.io.Manager("http://localhost", { autoConnect: false });

describe("MessagePack parser", () => {
  for (const [what, packet] of Object.entries(packets)) {
    if (what == "a date") continue; // MessagePack has dates; see the test below
    it(`writes ${what} so that socket.io-msgpack-parser reads it, and back`, () => {
      const [ours] = msgpackClient().encoder.encode(packet);
      const [theirs] = new officialMsgpack.Encoder().encode(packet);
      const plain = (p) => JSON.parse(JSON.stringify(p, (_, v) => (v instanceof ArrayBuffer ? [...new Uint8Array(v)] : v)));
      const read = decode([Buffer.from(ours)], new officialMsgpack.Decoder())[0];
      assert.deepEqual({ type: read.type, nsp: read.nsp, id: read.id }, { type: packet.type, nsp: packet.nsp, id: packet.id });
      const back = decode([theirs], msgpackClient().decoder)[0];
      assert.deepEqual(plain(back), plain(decode([Buffer.from(ours)], msgpackClient().decoder)[0]));
    });
  }

  it("carries every size of numbers, texts and lists", () => {
    const numbers = [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -128, -129, -32769, -(2 ** 31), -(2 ** 31) - 1, 1.5, -0.1];
    const texts = [0, 31, 32, 255, 256, 65535, 65536].map((n) => "é".repeat(n >> 1));
    const data = ["a", numbers, texts, Array(16).fill(1), Array(65536).fill(0), Object.fromEntries(Array.from({ length: 20 }, (_, i) => ["k" + i, i]))];
    const [bytes] = msgpackClient().encoder.encode({ type: 2, nsp: "/", data });
    assert.deepEqual(decode([Buffer.from(bytes)], new officialMsgpack.Decoder())[0].data, data);
    assert.equal(JSON.stringify(decode([bytes], msgpackClient().decoder)[0].data), JSON.stringify(data));
  });

  mutate(() => [msgpackClient().encoder, () => msgpackClient().decoder]);
});

/** Random changes to what an encoder wrote: a packet comes out, or an Error. */
function mutate(make) {
  it("turns no damage into anything but a packet or an Error", () => {
    let seed = 1;
    const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
    const [encoder, decoder] = make();
    let errors = 0;
    const reused = decoder();
    for (let i = 0; i < 4000; i++) {
      const all = Object.values(packets);
      const messages = encoder.encode({ ...all[random(all.length)] }).map((m) => {
        const bytes = typeof m == "string" ? Buffer.from(m) : Buffer.from(m.buffer ?? m);
        const copy = Buffer.from(bytes.subarray(0, random(4) ? bytes.length : random(bytes.length + 1)));
        for (let n = random(3); n > 0 && copy.length; n--) copy[random(copy.length)] = random(2) ? random(256) : '[]{}",-/0159'.charCodeAt(random(12));
        return typeof m == "string" ? copy.toString("latin1") : new Uint8Array(copy).buffer;
      });
      try {
        decode(messages, reused);
      } catch (e) {
        errors++;
        assert.ok(e instanceof Error);
        reused.destroy();
      }
      reused.off();
    }
    assert.ok(errors > 500 && errors < 4000, `${errors} errors`);
  });
}
