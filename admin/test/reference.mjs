// The reference: the same program as ../example, on Node.js.
import { createServer } from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);
instrument(io, {
  auth: { type: "basic", username: "admin", password: process.env.ADMIN_PASSWORD_HASH },
  readonly: !process.argv.includes("-writable"),
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
