// Every place where the Go server answers otherwise than the reference on
// purpose, or where the reference's own answer is an accident. Both columns pass,
// anything else fails. A row that is not here must match the reference exactly.
import assert from "node:assert/strict";

const table = {
  //                                      the reference                        what Go may do instead
  "packet 1 over websocket":             ["ignored",                           "closed"],
  "upgrade refused by allow-request":    ["400",                               "403"],
  "upgrade with an unsupported EIO":     ["closed after 101",                  "400"],
  "upgrade that asks for polling":       ["closed after 101"],
  "upgrade of a session that upgrades":  ["closed after 101"],
  "octet-stream POST":                   ["400, session closed"],
  "undecodable POST":                    ["200 or reset",                      "400"],
  "POST cut off by another":             ["reset",                             "400"],
  "origin with a control character":     ["400 code 3",                        "400"],
  "event without payload":               ["accepted"],
  "placeholder with a fractional number":["accepted",                          "closed"],
  "attachment used twice":               ["accepted",                          "closed"],
  "attachment used by nothing":          ["accepted",                          "closed"],
  "binary event without attachments":    ["closed",                            "accepted"],
  "JSON between the nodes":              ["accepted",                          "refused"],
  // The first text is the classic adapter's, the second that of the adapters with a heartbeat.
  "server-side ack missing":             ["timeout reached: only 1 responses received out of 2 or timeout reached: missing 1 responses",
                                                                               "operation has timed out"],
  "the only server-side ack missing":    ["timeout reached: only 0 responses received out of 1",
                                                                               "operation has timed out"],
};

// accepts fails unless got is one of the outcomes of the row.
export function accepts(row, got) {
  assert.ok(table[row], `no row ${row}`);
  assert.ok(table[row].some((outcome) => outcome.split(" or ").includes(got)), `${row}: got ${got}, want ${table[row].join(" / ")}`);
}
