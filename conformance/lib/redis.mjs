// One Redis for a test file: SOCKETIO_TEST_REDIS, or a redis-server started here
// on a free port without persistence.
import { createServer } from "node:net";
import { run, temporaryFolder } from "./process.mjs";

export async function startRedis() {
  const given = process.env.SOCKETIO_TEST_REDIS;
  if (given) return { url: given, kill: async () => {} };
  return startOwnRedis();
}

// startOwnRedis always starts one, for tests that take it away.
export async function startOwnRedis(port) {
  port ??= await freePort();
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", temporaryFolder()];
  const server = await run("redis-server", args, { ready: /Ready to accept connections/ });
  return { ...server, port, url: `redis://127.0.0.1:${port}` };
}

// freePort returns a port nobody listens on at the moment.
export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
