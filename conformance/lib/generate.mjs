// Random packets and broken packets, the same ones for the same seed.

// random returns functions over a deterministic source (mulberry32).
export function random(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  const pick = (list) => list[below(list.length)];
  const some = (max, make) => Array.from({ length: below(max + 1) }, make);
  return { next, below, pick, some, chance: (p) => next() < p };
}

const strings = ["", "a", "é", "😀", "\u2028", "\u0000\n\"\\", "_placeholder", "num", "x".repeat(40), "__proto__", "toJSON", "0"];
const numbers = [0, 1, -1, 31, 32, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53 - 1, -32, -33, -128, -129, -32769, -(2 ** 31) - 1, 0.5, -1.25, 1e-7, 5e-324];

// value returns any value an event can carry. kinds are makers of more leaves.
export function value(r, kinds = [], depth = 0) {
  const leaves = [
    () => r.pick(strings), () => r.pick(numbers), () => r.pick([null, true, false]), ...kinds,
    () => ({ _placeholder: r.chance(0.5), num: r.below(3) }),
  ];
  if (depth > 3 || r.chance(0.6)) return r.pick(leaves)();
  if (r.chance(0.5)) return r.some(4, () => value(r, kinds, depth + 1));
  return Object.fromEntries(r.some(4, () => [r.pick(strings.filter((s) => s !== "__proto__")), value(r, kinds, depth + 1)]));
}

export const buffer = (r) => Buffer.from(r.some(5, () => r.below(256)));

// packet returns a packet both sides of the protocol may send.
export function packet(r, kinds) {
  const type = r.pick([0, 1, 2, 2, 2, 2, 3, 3, 4]);
  const nsp = r.pick(["/", "/", "/admin", "/é", "/a?b=1", "/x[y]"]);
  const it = { type, nsp };
  if (type === 0 && r.chance(0.5)) it.data = { token: value(r) };
  if (type === 2) it.data = [r.pick(["event", "é", "", "x", 7, "connect"]), ...r.some(3, () => value(r, kinds))];
  if (type === 3) it.data = r.some(3, () => value(r, kinds));
  if (type === 4) it.data = r.chance(0.5) ? "refused" : { message: "m", data: value(r) };
  if (type === 3 || (type === 2 && r.chance(0.4))) it.id = r.pick([0, 1, 12, 2 ** 31, 2 ** 53 - 1]);
  return it;
}

// damage changes a text or a buffer in one to three places.
export function damage(r, input, parts) {
  for (let n = 1 + r.below(3); n > 0; n--) {
    const [at, end] = [r.below(input.length + 1), r.below(4)];
    const part = r.pick(parts);
    const tail = r.chance(0.3) ? "" : input.slice(at + end);
    input = typeof input === "string"
      ? Buffer.from(input.slice(0, at) + part + tail).toString() // no half of a surrogate pair
      : Buffer.concat([input.subarray(0, at), Buffer.from(part), Buffer.from(tail)]);
  }
  return input;
}
