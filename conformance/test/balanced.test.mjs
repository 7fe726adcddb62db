// The real socket.io-client against three nodes behind plain round robin: every
// request goes to the next node, whoever has the session.
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { closeClients, connect, transportsOf, upgraded } from "../lib/client.mjs";
import { startTarget, target } from "../lib/process.mjs";

const CONNECTIONS = 200;
const AT_A_TIME = 10;
const options = { timeout: 120_000, skip: target !== "go" && "sticky sessions are a must there" };
let server;
before(async () => (server = options.skip ? undefined : await startTarget("balanced")));
after(() => server?.kill());

// talk connects, exchanges messages over what the client starts with and, if it
// upgrades, over what it ends with.
async function talk(transports) {
  const socket = await connect(server.url, "/", { transports });
  socket.once("disconnect", (reason) => reason.startsWith("io client") || assert.fail(`lost: ${reason}`));
  const echo = async (n) => assert.deepEqual(await socket.timeout(20_000).emitWithAck("message-with-ack", n), n);
  for (const n of [1, 2, 3]) await echo(n);
  if (transports.length > 1) {
    await upgraded(socket);
    for (const n of [4, 5, 6]) await echo(n);
  }
  socket.disconnect();
}

for (const [name, transports] of Object.entries(transportsOf)) {
  it(`${CONNECTIONS} clients over ${name} connect without an error`, options, async () => {
    const errors = [];
    for (let done = 0; done < CONNECTIONS; done += AT_A_TIME) {
      const batch = Array.from({ length: AT_A_TIME }, () => talk(transports).catch((err) => errors.push(err.message)));
      await Promise.all(batch);
      closeClients();
    }
    assert.deepEqual(errors, []);
  });
}

it("the nodes did hand requests to each other", options, async () => {
  const sum = await (await fetch(`${server.url}/forwarded`)).json();
  console.log(sum);
  for (const kind of ["poll", "post", "upgrade"]) assert.ok(sum[kind] > CONNECTIONS / 2, `${kind}: ${sum[kind]}`);
  // Clients leave with a poll on its way; nothing else may fail.
  for (const [name, count] of Object.entries(sum)) {
    if (name.startsWith("failed_") && name !== "failed_client_gone") assert.equal(count, 0, name);
  }
});
