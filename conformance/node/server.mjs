// The Node.js reference server of the conformance tests. It behaves like the Go
// program in ../server, but is made of the published socket.io packages, so that
// the same tests can be proved on it first and then be run against Go.
//
// Usage: node server.mjs protocol|eio-client|node (see the modes/ folder).
// Prints "LISTENING <port>" when ready.
import { startClusterNode } from "./modes/cluster-node.mjs";
import { startEngineClient } from "./modes/eio-client.mjs";
import { startProtocol } from "./modes/protocol.mjs";

const modes = {
  protocol: startProtocol,
  "eio-client": startEngineClient,
  node: startClusterNode,
};

// A Redis command that fails while Redis is away must not end the process.
process.on("unhandledRejection", (err) => console.error("unhandled rejection:", err));

const start = modes[process.argv[2]];
if (!start) {
  console.error(`usage: server.mjs ${Object.keys(modes).join("|")}`);
  process.exit(2);
}
const { httpServer, port, host } = await start();
httpServer.listen(port, host, () => {
  console.log(`LISTENING ${httpServer.address().port}`);
});
