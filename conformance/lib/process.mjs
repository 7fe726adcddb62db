// Starting and stopping the processes under test. Whatever was started is killed
// when this process ends, however it ends.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { within } from "./wait.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const children = new Set();
const folders = new Set();

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

// target says which implementation the run is about: "go" or "node".
export const target = process.env.CONFORMANCE_TARGET ?? "go";

// temporaryFolder is removed when this process ends.
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  folders.add(folder);
  return folder;
}

// run starts a program and resolves when a line of its output matches ready. Its input
// is empty, or with "pipe" stays open for as long as this process runs; onOutput gets
// what it prints.
export async function run(command, args, { env, ready, cwd, input = "ignore", onOutput } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: [input, "pipe", "pipe"] });
  children.add(child);
  let output = "";
  const exited = new Promise((resolve) => {
    child.once("error", (err) => resolve({ code: null, error: err }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  }).finally(() => children.delete(child));

  const started = new Promise((resolve, reject) => {
    const collect = (chunk) => {
      output = (output + chunk).slice(-16_384);
      const match = ready.exec(output);
      if (match) resolve(match);
    };
    child.stdout.on("data", collect);
    if (onOutput) child.stdout.on("data", onOutput);
    child.stderr.on("data", collect);
    exited.then((end) => reject(new Error(`${command} ended early: ${JSON.stringify(end)}\n${output}`)));
  });
  const match = await within(started, `${command} ${args.join(" ")} to be ready`, 60_000).catch((err) => {
    child.kill("SIGKILL");
    throw err;
  });
  return {
    child,
    match,
    exited,
    output: () => output,
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

const binaries = { server: process.env.CONFORMANCE_SERVER, natsserver: process.env.CONFORMANCE_NATSSERVER };

// goBinary returns the path of a Go server, built on first use: natsserver, a module
// of its own, knows the adapters of NATS too.
export function goBinary(name = "server") {
  if (binaries[name]) return binaries[name];
  const file = join(temporaryFolder(), name);
  execFileSync("go", ["build", "-o", file, "."], { cwd: join(here, name), stdio: "inherit" });
  return (binaries[name] = file);
}

// isNATS reports whether an adapter is one that only natsserver knows.
export const isNATS = (adapter = "") => adapter.startsWith("nats");

// startServer runs one server process of either implementation in a mode of
// node/server.mjs. config goes to mode "node" only.
export async function startServer(impl, mode, config = {}) {
  const [command, args] =
    impl === "go" ? [goBinary(isNATS(config.adapter) ? "natsserver" : "server"), [mode]] : [process.execPath, [join(here, "node/server.mjs"), mode]];
  const env = { PORT: "0", NODE_CONFIG: JSON.stringify({ name: impl, port: 0, adapter: "none", ...config }) };
  const server = await run(command, args, { env, ready: /^LISTENING (\d+)$/m });
  const port = Number(server.match[1]);
  return { ...server, impl, port, url: `http://localhost:${port}` };
}

export const startTarget = (mode, config) => startServer(target, mode, config);
