// Compiled, never run: what the types must accept and refuse.
import io, { connect, Manager, Socket, type ManagerOptions } from "../dist/index.js";

interface FromServer {
  news: (text: string, size: number) => void;
}
interface FromClient {
  vote: (id: number, ack: (ok: boolean) => void) => void;
  hello: () => void;
}

const socket: Socket<FromServer, FromClient> = io("https://localhost", { auth: { token: "x" }, retries: 2 });
socket.on("connect", () => {}).on("news", (text, size) => text.length + size);
socket.on("disconnect", (reason) => reason == "io server disconnect");
socket.on("connect_error", (e) => e.data);
socket.emit("hello");
socket.emit("vote", 1, (ok) => !ok);
const ok: Promise<boolean> = socket.timeout(100).emitWithAck("vote", 1);
socket.volatile.emit("hello");
// @ts-expect-error: no such event
socket.emit("unknown");
// @ts-expect-error: an argument of another type
socket.emit("vote", "one", () => {});
// @ts-expect-error: no such event
socket.on("nothing", () => {});

const opts: Partial<ManagerOptions> = { transports: ["websocket"], reconnectionDelay: 10 };
const manager = new Manager("http://localhost", opts);
manager.on("reconnect_attempt", (n) => n + 1);
const plain = manager.socket("/admin", { auth: (cb) => cb({}) });
plain.emit("anything", 1, "two", { three: new Uint8Array(3) });
connect({ path: "/x" });

export { ok };
