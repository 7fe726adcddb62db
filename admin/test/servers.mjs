// Starting and stopping the two programs.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = new URL(".", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "admin-"));
const children = new Set();

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
});

export const credentials = { username: "admin", password: "a password" };
const env = { ADMIN_PASSWORD_HASH: "$2a$10$QnbQvcIO7Jaoqimskz2.oOa9KeN.N4qWCvochtML9YADKT6Q40lja" };
export const dist = join(here, "node_modules/@socket.io/admin-ui/ui/dist");

let binary;

// start runs the program in the language, "go" or "node", and resolves with its URL.
export const start = (language, ...flags) => startNode(language, {}, ...flags);

// startNode does, with these variables in its environment: SOCKETIO_ADAPTER and
// SOCKETIO_NODE_ID make it a node of a cluster.
export async function startNode(language, cluster, ...flags) {
  if (language === "go" && !binary) {
    binary = join(work, "example");
    execFileSync("go", ["build", "-o", binary, "./example"], { cwd: join(here, ".."), stdio: "inherit" });
  }
  const [command, args] =
    language === "go"
      ? [binary, ["-addr", "127.0.0.1:0", "-ui", dist, ...flags]]
      : [process.execPath, [join(here, "reference.mjs"), ...flags]];
  const child = spawn(command, args, { env: { ...process.env, ...env, ...cluster }, stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  let log = "";
  child.stderr.on("data", (text) => (log += text));
  const port = await new Promise((resolve, reject) => {
    let out = "";
    child.stdout.on("data", (text) => {
      const match = /^LISTENING (\d+)$/m.exec((out += text));
      if (match) resolve(match[1]);
    });
    exited.then((code) => reject(new Error(`${command} ended with ${code}: ${log}`)));
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
    children.delete(child);
  };
  return { url: `http://127.0.0.1:${port}`, stop, log: () => log };
}

// until polls check until it returns something truthy, and returns that.
export async function until(what, check, ms = 60_000) {
  for (const end = Date.now() + ms; ; ) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((r) => setTimeout(r, 20));
  }
}
