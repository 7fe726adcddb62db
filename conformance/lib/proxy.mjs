// A TCP relay in front of a server, to lose connections the way networks do, and
// to bring a client to another server the way load balancers do.
import { connect, createServer } from "node:net";

export async function startProxy(port) {
  const sockets = new Set();
  const server = createServer((inbound) => {
    if (!port) return inbound.destroy();
    const outbound = connect(port, "localhost");
    for (const [from, to] of [[inbound, outbound], [outbound, inbound]]) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const drop = () => sockets.forEach((socket) => socket.destroy());
  return {
    url: `http://localhost:${server.address().port}`,
    drop,
    // lead sends new connections to another port; without one they are closed.
    lead: (to) => void (port = to),
    close() {
      server.close();
      drop();
    },
  };
}
