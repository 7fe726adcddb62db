// A TCP relay in front of a server, to lose connections the way networks do.
import { connect, createServer } from "node:net";

export async function startProxy(port) {
  const sockets = new Set();
  const server = createServer((inbound) => {
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
    close() {
      server.close();
      drop();
    },
  };
}
