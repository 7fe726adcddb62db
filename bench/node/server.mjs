// The reference server, as bench/compare drives it: the same behavior and the
// same control protocol as bench/child gives the Go servers.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Server } from "socket.io";

const { version } = createRequire(import.meta.url)("socket.io/package.json");

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  socket.on("fan", (payload) => io.emit("fan", payload));
  socket.on("echo", (payload, ack) => ack(payload));
});

function memory() {
  globalThis.gc();
  globalThis.gc();
  const m = process.memoryUsage();
  return { heap: m.heapUsed + m.external, stack: 0, connections: io.engine.clientsCount };
}

createInterface({ input: process.stdin })
  .on("line", (command) => {
    if (command === "mem") console.log(JSON.stringify(memory()));
  })
  .on("close", () => process.exit(0));

http.listen(0, "127.0.0.1", () => {
  console.log(`LISTENING ${http.address().port} socket.io ${version}, Node.js ${process.version}`);
});
