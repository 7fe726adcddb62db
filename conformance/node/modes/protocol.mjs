// Mode protocol: what the official Engine.IO and Socket.IO protocol suites expect
// of a server, on two paths of one port.
import { createServer } from "node:http";
import { Server as Engine } from "engine.io";
import { Server } from "socket.io";

const timing = {
  pingInterval: 300,
  pingTimeout: 200,
  maxHttpBufferSize: 1_000_000,
  cors: { origin: "*" },
};

export async function startProtocol() {
  const httpServer = createServer((req, res) => res.writeHead(404).end());

  const engine = new Engine(timing);
  engine.on("connection", (session) => {
    session.on("message", (data) => session.send(data));
  });
  engine.attach(httpServer, { path: "/engine.io/", destroyUpgrade: false });

  const io = new Server(httpServer, { ...timing, connectTimeout: 1000, destroyUpgrade: false });
  const greet = (socket) => socket.emit("auth", socket.handshake.auth);
  io.of("/custom").on("connection", greet);
  io.on("connection", (socket) => {
    greet(socket);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => {
      const ack = args.pop();
      if (typeof ack === "function") ack(...args);
    });
  });
  return { httpServer, port: Number(process.env.PORT ?? 3000) };
}
