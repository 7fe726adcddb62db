// The client of the control endpoint.
import { decode, encode } from "./values.mjs";

// ctl runs one operation on a node and returns its result; an error of the
// operation is thrown with the node's message.
export async function ctl(node, op, fields = {}) {
  const response = await fetch(`${node.url}/ctl`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(encode({ op, ...fields })),
    signal: AbortSignal.timeout(30_000),
  });
  if (response.status !== 200) throw new Error(`${op}: HTTP status ${response.status}`);
  const answer = await response.json();
  if (!answer.ok) throw new Error(answer.error);
  return decode(answer.result);
}
