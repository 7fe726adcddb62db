// The table of adapters a cluster node can run on. Each entry connects its own
// Redis clients and returns {create, ready, close}: the constructor socket.io
// wants, a wait until every subscription issued so far is in force, and the
// release of the connections.
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";

const jsonParser = { encode: JSON.stringify, decode: JSON.parse };

export const adapters = {
  none: async () => ({ create: undefined, ready: async () => {}, close: async () => {} }),
  redis: (config) => classic(config, false),
  "redis-specific": (config) => classic(config, true),
  "sharded-static": (config) => sharded(config, "static"),
  "sharded-dynamic": (config) => sharded(config, "dynamic"),
  "sharded-dynamic-private": (config) => sharded(config, "dynamic-private"),
  streams,
};

async function classic(config, publishOnSpecificResponseChannel) {
  return pubSub(config, (pub, sub) =>
    createAdapter(pub, sub, {
      key: config.key,
      requestsTimeout: config.requestsTimeout,
      publishOnSpecificResponseChannel,
      ...(config.adapterParser === "json" && { parser: jsonParser }),
    }),
  );
}

async function sharded(config, subscriptionMode) {
  return pubSub(config, (pub, sub) =>
    createShardedAdapter(pub, sub, { channelPrefix: config.key, subscriptionMode }),
  );
}

async function streams(config) {
  const client = await connect(config.redis);
  // The adapter duplicates the client for reading and for pub/sub. Naming the
  // copies lets CLIENT LIST tell when its first XREAD is waiting: entries written
  // before that are lost, because it starts at "$".
  const name = `streams-${process.pid}`;
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (overrides) => onError(duplicate({ ...overrides, name }));
  const create = createStreamsAdapter(client, {
    streamName: config.key,
    channelPrefix: config.key,
    sessionKeyPrefix: `${config.key}:session:`,
    streamCount: config.streamCount ?? 1,
  });
  const readers = config.streamCount ?? 1;
  const ready = async () => {
    for (;;) {
      const list = await client.sendCommand(["CLIENT", "LIST"]);
      const mine = String(list).split("\n").filter((line) => line.includes(`name=${name} `));
      if (mine.filter((line) => line.includes("cmd=xread")).length >= readers) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { create, ready, close: () => client.close() };
}

async function pubSub(config, make) {
  const pub = await connect(config.redis);
  const sub = await connect(config.redis);
  const pending = trackSubscriptions(sub);
  return {
    create: make(pub, sub),
    ready: () => Promise.allSettled([...pending]),
    close: () => Promise.allSettled([pub.close(), sub.destroy()]),
  };
}

// The adapters subscribe in their constructor and do not wait for the answer.
function trackSubscriptions(client) {
  const pending = new Set();
  for (const method of ["subscribe", "pSubscribe", "sSubscribe"]) {
    const original = client[method].bind(client);
    client[method] = (...args) => {
      const subscribed = original(...args);
      pending.add(subscribed);
      const done = () => pending.delete(subscribed);
      subscribed.then(done, done);
      return subscribed;
    };
  }
  return pending;
}

async function connect(url) {
  const client = onError(createClient({ url }));
  await client.connect();
  return client;
}

function onError(client) {
  return client.on("error", (err) => console.error("redis:", err.message));
}
