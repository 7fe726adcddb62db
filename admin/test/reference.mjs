// The reference: the same program as ../example, on Node.js.
import { createServer } from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

// With the UI's page served by another node.
const cors = { origin: process.env.SOCKETIO_ORIGINS?.split(",") ?? [], credentials: true };
const http = createServer();
const io = new Server(http, { cors });
if (process.env.SOCKETIO_ADAPTER) {
  const clients = [1, 2].map(() => createClient({ url: process.env.SOCKETIO_ADAPTER }));
  for (const client of clients) client.on("error", console.error);
  await Promise.all(clients.map((client) => client.connect()));
  io.adapter(createAdapter(...clients));
}
instrument(io, {
  auth: { type: "basic", username: "admin", password: process.env.ADMIN_PASSWORD_HASH },
  readonly: !process.argv.includes("-writable"),
  serverId: process.env.SOCKETIO_NODE_ID,
  mode: process.argv.includes("-development") ? "development" : "production",
});
io.on("connection", (socket) => {
  socket.on("hello", (name, ack) => {
    socket.data.name = name;
    socket.join("guests");
    socket.emit("welcome", name);
    ack("ok");
  });
});
http.listen(0, "127.0.0.1", () => console.log("LISTENING", http.address().port));
