// The NATS server of a test file, with JetStream, started when the first cluster
// needs it, on a free port.
import { createHash } from "node:crypto";
import { createConnection } from "node:net";
import { join } from "node:path";
import { run, temporaryFolder } from "./process.mjs";
import { freePort } from "./redis.mjs";
import { within } from "./wait.mjs";

let server;

export async function natsURL() {
  server ??= start();
  return (await server).url;
}

async function start() {
  const port = await freePort();
  const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", join(temporaryFolder(), "js")];
  // Debian's is not in every user's PATH.
  const env = { PATH: `${process.env.PATH}:/usr/sbin` };
  const started = await run("nats-server", args, { env, ready: /Server is ready/ });
  return { ...started, url: `nats://127.0.0.1:${port}` };
}

// stopNATS ends it, if it was started.
export async function stopNATS() {
  await (await server)?.kill();
}

// storedSession returns what the deployment with a prefix stores of a session, as
// text, or undefined.
export async function storedSession(prefix, pid) {
  const subject = `${prefix}.session.${createHash("sha256").update(pid).digest().subarray(0, 24).toString("base64url")}`;
  const answer = await ask(`$JS.API.STREAM.MSG.GET.${prefix}_sessions`, JSON.stringify({ last_by_subj: subject }));
  const data = JSON.parse(answer).message?.data;
  return data && Buffer.from(data, "base64").toString();
}

// ask sends a request over a connection of its own and resolves with the answer.
async function ask(subject, body) {
  const { port, hostname: host } = new URL(await natsURL());
  const socket = createConnection({ host, port: Number(port) }).setEncoding("utf8");
  try {
    const answered = new Promise((resolve, reject) => {
      let text = "";
      socket.on("error", reject).on("close", () => reject(new Error("nats-server hung up")));
      socket.on("data", (chunk) => {
        text += chunk;
        const header = /^MSG answer 1 (\d+)\r\n/m.exec(text);
        const begin = header && header.index + header[0].length;
        if (header && text.length >= begin + Number(header[1])) resolve(text.slice(begin, begin + Number(header[1])));
      });
    });
    socket.write(`CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB ${subject} answer ${Buffer.byteLength(body)}\r\n${body}\r\n`);
    return await within(answered, `an answer to ${subject}`, 10_000);
  } finally {
    socket.removeAllListeners("close").destroy();
  }
}
