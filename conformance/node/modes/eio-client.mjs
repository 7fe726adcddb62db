// Mode eio-client: the server of the official engine.io-client suite. It is the
// only mode with an allow-request hook, cookies and a tiny payload limit.
import { createServer } from "node:http";
import { Server as Engine } from "engine.io";

export async function startEngineClient() {
  const httpServer = createServer((req, res) => res.writeHead(404).end());
  const engine = new Engine({
    pingInterval: 500,
    maxHttpBufferSize: 100,
    allowRequest: (req, fn) => fn(null, !new URL(req.url, "http://localhost").searchParams.has("deny")),
  });
  engine.on("initial_headers", (headers) => {
    headers["set-cookie"] = [
      "1=1; Max-Age=86400",
      "2=2; Path=/; HttpOnly; Secure; SameSite=Strict",
      "3=3; Max-Age=0",
      `4=4; Expires=${new Date().toUTCString()}`,
    ];
  });
  engine.on("connection", (session) => {
    session.send("hi");
    session.on("message", (data) => {
      if (data === "give binary") session.send(Buffer.from([0, 1, 2, 3, 4]));
      else if (data === "give utf8") session.send("пойду спать всем спокойной ночи");
      else if (data === "sendHeaders") session.send(JSON.stringify(session.transport?.dataReq?.headers ?? {}));
      else session.send(data);
    });
  });
  engine.attach(httpServer, { path: "/engine.io/" });
  return { httpServer, port: Number(process.env.PORT ?? 3000) };
}
