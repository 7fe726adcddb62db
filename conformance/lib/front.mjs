// A load balancer that knows nothing of sessions: every request goes to the next
// node that is ready, whoever it is for. A node is ready while /readyz says so.
import { createServer, request } from "node:http";
import { connect } from "node:net";

const PROBE_EVERY = 100;

// startFront balances over the ports in use, which set replaces.
export async function startFront() {
  const nodes = []; // { port, ready }, by index
  let turn = 0;
  const next = () => {
    const ready = nodes.filter((node) => node.ready);
    return ready[turn++ % ready.length]?.port;
  };

  const server = createServer((req, res) => {
    const port = next();
    const fail = () => (res.headersSent ? res.destroy() : res.writeHead(502).end());
    if (!port) return fail();
    // No connection is kept: one that closes meanwhile would look like a failure.
    const { method, url, headers } = req;
    const out = request({ port, method, path: url, headers, agent: false }, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
      answer.on("error", fail);
    }).on("error", fail);
    res.on("close", () => out.destroy());
    req.pipe(out);
  });
  server.on("upgrade", (req, inbound, head) => {
    const port = next();
    if (!port) return inbound.destroy();
    const outbound = connect(port, "127.0.0.1", () => {
      const lines = [`${req.method} ${req.url} HTTP/1.1`];
      for (let i = 0; i < req.rawHeaders.length; i += 2) lines.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}`);
      outbound.write(`${lines.join("\r\n")}\r\n\r\n`);
      outbound.write(head);
      inbound.pipe(outbound).pipe(inbound);
    });
    for (const [from, to] of [[inbound, outbound], [outbound, inbound]]) {
      from.setNoDelay();
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });

  const probe = async (node) => {
    const answer = await fetch(`http://127.0.0.1:${node.port}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    node.ready = answer?.status === 200;
  };
  const timer = setInterval(() => nodes.forEach(probe), PROBE_EVERY);
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `http://localhost:${server.address().port}`,
    // set makes a port the one of node i; it gets requests once it is ready.
    async set(i, port) {
      nodes[i] = { port, ready: false };
      await probe(nodes[i]);
    },
    ready: (i) => nodes[i].ready,
    close() {
      clearInterval(timer);
      server.close();
      server.closeAllConnections();
    },
  };
}
