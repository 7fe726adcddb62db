"""Values every path must carry unchanged."""

JSON = [
    None, True, False, 0, -1, 1.5, 1e21, 1e-7, 2**53 - 1, -123456789.25,
    "", " ", "plain", 'quote " backslash \\ slash /', "\x00\b\f\n\r\t\x1e\x7f", "<script>&amp;</script>",
    [], {}, [[]], [None, [1, ["two", {"three": [3]}]]],
    {"nested": {"deep": {"deeper": [1, 2, {"deepest": None}]}}, "key with space": 1, "": "empty key"},
    {"10": "integer-like keys", "2": "stay apart"},
    {"_placeholder": False, "num": 0},
]

TEXT = [
    "てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "😀👩‍👩‍👧‍👦🏳️‍🌈", "\u2028\u2029\ufeff", "€𝄞", "é vs e\u0301",
]

BINARY = {
    "bytes": bytes([0, 1, 2, 250, 255]),
    "no bytes": b"",
    "nested bytes": {"a": [{"b": b"nested"}], "c": None},
    "several": [b"x", {"y": b"y"}, b"", "text"],
    "ten attachments": [bytes([i]) for i in range(10)],
    "500 KB": b"0123456789abcdef" * 31_250,
}
