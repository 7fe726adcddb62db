// Every wire with every parser on clusters of every make-up, three processes
// each, then the interoperation table: runs test/cluster.test.mjs once per cluster,
// several at a time, and sums them up. See README.md for the variables.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { goBinary, isNATS, temporaryFolder } from "./lib/process.mjs";
import { Table } from "./lib/table.mjs";

const list = (name, otherwise, separator = ",") => (process.env[name] ?? otherwise).split(separator);
const mixes = list("CONFORMANCE_MIXES", "go,go,go;node,node,node;go,go,node;go,node,node", ";");
const adapters = list("CONFORMANCE_ADAPTERS", "redis,redis-specific,sharded-static,sharded-dynamic,sharded-dynamic-private,streams,nats,nats-jetstream");
const parsers = list("CONFORMANCE_PARSERS", "default,msgpack");
const atOnce = Number(process.env.CONFORMANCE_JOBS ?? 3);
const DEADLINE = 300_000; // of one cluster, in milliseconds

const here = fileURLToPath(new URL(".", import.meta.url));
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGTERM")));

// test runs one file and resolves with its end and output.
function test(file, env) {
  const child = spawn(process.execPath, [file], {
    cwd: here, env: { ...process.env, CONFORMANCE_SERVER: goBinary(), CONFORMANCE_NATSSERVER: goBinary("natsserver"), ...env }, stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const timer = setTimeout(() => {
    output += `\nstill running after ${DEADLINE} ms\n`;
    child.kill("SIGTERM"); // ends its servers too
  }, DEADLINE);
  return new Promise((resolve) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ ok: code === 0, output, passed: count(output, "pass"), failed: count(output, "fail") });
    });
  });
}

// count reads a sum from the end of a test's report, in the forms of every reporter.
const count = (output, what) => Number(new RegExp(`^(?:#|ℹ) ${what} (\\d+)$`, "m").exec(output)?.[1] ?? 0);

const table = new Table();
let failed = false;

function fail(name, output) {
  failed = true;
  console.log(`\n--- ${name} ---\n${output}\n--- end of ${name} ---\n`);
}

async function cluster({ row, mix, env }) {
  const start = Date.now();
  const result = await test("test/cluster.test.mjs", env);
  const ok = result.ok && result.passed > 0;
  table.record(row, mix, ok ? `ok ${result.passed}` : `FAIL ${result.failed}`);
  console.log(`${ok ? "ok  " : "FAIL"} ${mix} over ${row}: ${result.passed} passed, ${((Date.now() - start) / 1000).toFixed(1)} s`);
  if (!ok) fail(`${mix} over ${row}`, result.output);
}

// The reference has no adapter for NATS.
const possible = (adapter) => mixes.filter((mix) => !isNATS(adapter) || !mix.includes("node"));
const jobs = adapters.flatMap((adapter) => parsers.flatMap((parser) => possible(adapter).map((mix) => ({
  row: parser === "default" ? adapter : `${adapter} and ${parser}`,
  mix,
  env: { CONFORMANCE_MIXES: mix, CONFORMANCE_ADAPTERS: adapter, CONFORMANCE_PARSERS: parser },
}))));
for (const { row, mix } of jobs) table.record(row, mix, "");

goBinary();
goBinary("natsserver");
const queue = [...jobs];
await Promise.all(Array.from({ length: atOnce }, async () => {
  while (queue.length) await cluster(queue.shift());
}));

const file = join(temporaryFolder(), "table");
const interop = await test("test/interop.test.mjs", {
  CONFORMANCE_TABLE: file, CONFORMANCE_TARGET: "go", CONFORMANCE_ADAPTERS: "redis,sharded-dynamic,streams,streams/csr",
  CONFORMANCE_PAIRS: "go,node;node,node",
});
if (!interop.ok || !interop.passed) fail("interoperation", interop.output);

console.log(`\nTests passed, by wire and cluster\n${table}\n`);
if (interop.passed) console.log(readFileSync(file, "utf8"));
process.exitCode = failed ? 1 : 0;
