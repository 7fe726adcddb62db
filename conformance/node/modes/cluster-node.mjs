// Mode node: one node of a cluster, driven over POST /ctl. The configuration is
// one JSON object in NODE_CONFIG; PORT is used when it names no port.
import { createServer } from "node:http";
import { Server } from "socket.io";
import * as msgpackParser from "socket.io-msgpack-parser";
import { decode, encode } from "../../lib/values.mjs";
import { adapters } from "./adapters.mjs";
import { operations } from "./operations.mjs";

const DYNAMIC = /^\/dyn-[\w-]+$/;

const parsers = { default: undefined, msgpack: msgpackParser.default ?? msgpackParser };

// known returns the member of a table that the configuration names.
function known(table, name, what) {
  if (!Object.hasOwn(table, name)) throw new Error(`unknown ${what} "${name}"`);
  return table[name];
}

export async function startClusterNode() {
  const config = JSON.parse(process.env.NODE_CONFIG ?? "{}");
  const parser = known(parsers, config.parser ?? "default", "parser");
  const adapter = await known(adapters, config.adapter ?? "none", "adapter")(config);
  const httpServer = createServer((req, res) => res.writeHead(404).end());
  httpServer.keepAliveTimeout = 0; // or it closes connections of the driver that are about to be used again
  const io = new Server(httpServer, {
    cors: config.origins ? { origin: config.origins, credentials: true } : { origin: "*" },
    ...(config.cookies && { cookie: { name: "io", sameSite: "lax", httpOnly: true } }),
    maxHttpBufferSize: 5e6,
    adapter: adapter.create,
    pingInterval: config.pingInterval ?? 25_000,
    pingTimeout: config.pingTimeout ?? 20_000,
    cleanupEmptyChildNamespaces: config.cleanupEmptyChildNamespaces ?? false,
    allowEIO3: config.allowEIO3 ?? false,
    perMessageDeflate: config.perMessageDeflate ?? false,
    ...(parser && { parser }),
    ...(config.csr && {
      connectionStateRecovery: { maxDisconnectionDuration: config.csr, skipMiddlewares: true },
    }),
  });

  if (config.cookies) {
    io.engine.use((_, res, next) => {
      res.setHeader?.("Set-Cookie", "route=a; Path=/"); // an upgrade has no response
      next();
    });
  }

  const log = [];
  for (const nsp of [io.of("/"), io.of("/custom"), io.of(DYNAMIC)]) {
    nsp.on("connection", (socket) => serve(socket, log));
  }

  const node = { io, config, adapter, log, serverSide: { log: [], modes: new Map() } };
  node.stop = async () => {
    await io.close();
    await adapter.close();
    process.exit(0);
  };
  handleControl(httpServer, operations(node));
  await adapter.ready();
  return { httpServer, port: config.port ?? Number(process.env.PORT ?? 0), host: "127.0.0.1" };
}

function serve(socket, log) {
  const nsp = socket.nsp.name;
  log.push({ event: "connection", nsp, id: socket.id, recovered: socket.recovered });
  socket.on("disconnect", (reason) => log.push({ event: "disconnect", nsp, id: socket.id, reason }));
  socket.on("echo", (...args) => {
    const ack = args.pop();
    if (typeof ack === "function") ack(...args);
  });
  socket.on("relay", (event, ...args) => socket.broadcast.emit(event, socket.id, ...args));
  socket.on("relayAll", (event, ...args) => socket.nsp.emit(event, socket.id, ...args));
  socket.on("relayRoom", (room, event, ...args) => socket.to(room).emit(event, socket.id, ...args));
}

function handleControl(httpServer, ops) {
  const others = httpServer.listeners("request");
  httpServer.removeAllListeners("request");
  httpServer.on("request", async (req, res) => {
    if (req.method !== "POST" || req.url !== "/ctl") {
      for (const listener of others) listener.call(httpServer, req, res);
      return;
    }
    let answer;
    try {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      const result = await ops(decode(JSON.parse(Buffer.concat(chunks))));
      answer = { ok: true, result: encode(result) };
    } catch (err) {
      answer = { ok: false, error: err.message };
    }
    res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
}
