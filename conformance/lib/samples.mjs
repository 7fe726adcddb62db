// Values every path must carry unchanged.

export const json = [
  null, true, false, 0, -1, 1.5, 1e21, 1e-7, Number.MAX_SAFE_INTEGER, -123456789.25,
  "", " ", "plain", 'quote " backslash \\ slash /', "\u0000\b\f\n\r\t\u001e\u007f", "<script>&amp;</script>",
  [], {}, [[]], [null, [1, ["two", { three: [3] }]]],
  { nested: { deep: { deeper: [1, 2, { deepest: null }] } }, "key with space": 1, "": "empty key" },
  { 10: "integer-like keys", 2: "come first" },
  { _placeholder: false, num: 0 },
];

export const text = [
  "てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "😀👩‍👩‍👧‍👦🏳️‍🌈", "\u2028\u2029\ufeff", "€𝄞", "é vs e\u0301",
];

export const binary = [
  ["one buffer", Buffer.from([0, 1, 2, 250, 255])],
  ["an empty buffer", Buffer.alloc(0)],
  ["a nested buffer", { a: [{ b: Buffer.from("nested") }], c: null }],
  ["several buffers", [Buffer.from("x"), { y: Buffer.from("y") }, Buffer.alloc(0), "text"]],
  ["ten buffers", Array.from({ length: 10 }, (_, i) => Buffer.from([i]))],
  ["500 KB", Buffer.alloc(500_000, "0123456789abcdef")],
];
