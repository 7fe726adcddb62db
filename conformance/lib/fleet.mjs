// A fleet of nodes as examples/deploy describes it, and the load balancers in front of
// it: HAProxy and nginx with exactly the files in that folder, only their addresses
// replaced by free ports of this machine.
import { execFileSync } from "node:child_process";
import { connect } from "node:net";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, temporaryFolder } from "./process.mjs";
import { freePort } from "./redis.mjs";
import { until } from "./wait.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const configs = join(root, "examples/deploy");

let binary;

// nodeBinary returns the path of the node program, built on first use.
function nodeBinary() {
  if (binary) return binary;
  const file = join(temporaryFolder(), "node");
  execFileSync("go", ["build", "-o", file, "./examples/deploy/node"], { cwd: root, stdio: "inherit" });
  return (binary = file);
}

// Fleet is three nodes n1, n2 and n3 on one Redis, configured by environment only.
export class Fleet {
  nodes = {};

  constructor(redis, env = {}) {
    this.redis = redis;
    this.env = env;
  }

  async start() {
    for (const name of ["n1", "n2", "n3"]) {
      this.nodes[name] = { name, port: await freePort(), health: await freePort() };
    }
    await Promise.all(Object.keys(this.nodes).map((name) => this.startNode(name)));
    return this;
  }

  async startNode(name) {
    const node = this.nodes[name];
    node.process = await run(nodeBinary(), [], {
      ready: /"event":"server.start"/,
      env: {
        SOCKETIO_ADAPTER: this.redis,
        SOCKETIO_NODE_ID: name,
        SOCKETIO_CLUSTER_SECRET: "a secret of these tests only",
        SOCKETIO_ADVERTISE_URL: `http://127.0.0.1:${node.port}`,
        SOCKETIO_TRUSTED_PROXIES: "127.0.0.1",
        LISTEN: `127.0.0.1:${node.port}`,
        HEALTH_LISTEN: `127.0.0.1:${node.health}`,
        ...this.env,
      },
    });
  }

  // restart sends SIGTERM, waits until the node has drained and ended, and starts it again.
  async restart(name) {
    const { process } = this.nodes[name];
    process.child.kill("SIGTERM");
    const end = await process.exited;
    if (end.code !== 0) throw new Error(`${name} ended with ${JSON.stringify(end)}\n${process.output()}`);
    await this.startNode(name);
  }

  async nodeStats() {
    const get = async ({ health }) => (await fetch(`http://127.0.0.1:${health}/stats`)).json();
    return Promise.all(Object.values(this.nodes).map(get));
  }

  // sessions counts the connections of all nodes.
  async sessions() {
    return (await this.nodeStats()).reduce((sum, { sessions }) => sum + sessions, 0);
  }

  // stats adds up what the nodes forwarded and could not forward.
  async stats() {
    const sum = { poll: 0, post: 0, upgrade: 0, failed: {} };
    for (const node of await this.nodeStats()) {
      for (const [kind, n] of Object.entries(node.forwarded ?? {})) sum[kind] += n;
      for (const [why, n] of Object.entries(node.failed ?? {})) {
        if (n > 0) sum.failed[why] = (sum.failed[why] ?? 0) + n;
      }
    }
    return sum;
  }

  async stop() {
    await Promise.all(Object.values(this.nodes).map((node) => node.process?.kill()));
  }
}

// startBalancer runs HAProxy or nginx with a file of examples/deploy in front of the fleet.
export async function startBalancer(file, fleet) {
  const port = await freePort();
  const start = file.startsWith("haproxy") ? startHAProxy : startNginx;
  const balancer = await start(file, fleet, port, temporaryFolder());
  const listens = () =>
    new Promise((resolve) => {
      if (balancer.child.exitCode !== null) throw new Error(`it ended:\n${balancer.output()}`);
      const probe = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
      probe.once("connect", () => probe.destroy());
    });
  await until(listens, `${file} to listen`);
  return { ...balancer, url: `http://127.0.0.1:${port}` };
}

// edited returns a file of examples/deploy with each [from, to] replaced everywhere.
function edited(file, replacements) {
  let text = readFileSync(join(configs, file), "utf8");
  for (const [from, to] of replacements) {
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

async function startHAProxy(file, fleet, port, folder) {
  const nodes = Object.values(fleet.nodes);
  const path = join(folder, "haproxy.cfg");
  writeFileSync(
    path,
    edited(file, [
      ["bind *:8080", `bind 127.0.0.1:${port}`],
      // Here all nodes share an address, so that each has a port for probes of its own.
      ...nodes.map((n) => [`${n.name}:3000`, `127.0.0.1:${n.port} port ${n.health}`]),
    ]),
  );
  return run("haproxy", ["-db", "-V", "-f", path], { ready: /Using \w+\(\) as the polling mechanism/ });
}

async function startNginx(file, fleet, port, folder) {
  const nodes = Object.values(fleet.nodes);
  const main = join(folder, "nginx.conf");
  writeFileSync(
    join(folder, "fleet.conf"),
    edited(file, [
      ["listen 8080", `listen 127.0.0.1:${port}`],
      ...nodes.map((n) => [`${n.name}:3000`, `127.0.0.1:${n.port}`]),
    ]),
  );
  writeFileSync(join(folder, "nginx-proxy.conf"), edited("nginx-proxy.conf", []));
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder};`);
  writeFileSync(
    main,
    `pid ${folder}/pid;
     error_log stderr notice;
     events { worker_connections 4096; }
     http { access_log off; ${temporary.join(" ")} include fleet.conf; }`,
  );
  // One process, so that killing it leaves nothing behind.
  return run("nginx", ["-p", folder, "-c", main, "-g", "daemon off; master_process off;"], {
    ready: /using the "\w+" event method/,
  });
}
