// Many official clients at once, for tests of whole deployments that serve the events of
// examples/deploy/node.
import assert from "node:assert/strict";
import { Agent } from "node:http";
import { closeClients, open } from "./client.mjs";
import { until, within } from "./wait.mjs";

const AT_A_TIME = 10;

// PATIENCE is for busy machines: nothing takes as long.
export const PATIENCE = 60_000;

// Crowd is many clients, and everything that went wrong for them.
export class Crowd {
  clients = [];
  errors = [];
  losses = [];

  // home is the local address to connect from, which nodes then must see; opts are those of
  // socket.io-client.
  constructor(url, { home, ...opts } = {}) {
    this.url = url;
    this.home = home;
    this.opts = opts;
    this.agent = new Agent({ localAddress: home, keepAlive: true });
  }

  // grow adds clients that use the last of the transports once they are counted.
  async grow(count, transports) {
    const socket = () => {
      const s = open(this.url, "/", { transports, agent: this.agent, ...this.opts });
      s.on("connect_error", (err) => this.errors.push(err.message));
      s.on("disconnect", (reason) => this.losses.push(reason));
      return s;
    };
    for (let n = 0; n < count; n += AT_A_TIME) {
      const batch = Array.from({ length: Math.min(AT_A_TIME, count - n) }, socket);
      this.clients.push(...batch);
      await until(() => batch.every((s) => s.connected) || this.failed(), "clients to connect", PATIENCE);
      assert.deepEqual(this.errors, []);
      const last = transports.at(-1);
      await until(() => batch.every((s) => s.io.engine?.transport.name === last), `clients to use ${last}`, PATIENCE);
    }
  }

  // failed: clients without reconnection will not get there any more.
  failed() {
    return this.opts.reconnection !== true && this.errors.length > 0;
  }

  // places asks every client where it is, and counts them by node.
  async places() {
    const answers = this.clients.map((s) => s.timeout(PATIENCE).emitWithAck("whoami"));
    this.at = await Promise.all(answers);
    if (this.home) for (const place of this.at) assert.equal(place.address, this.home);
    const counts = { n1: 0, n2: 0, n3: 0 };
    for (const { node } of this.at) counts[node]++;
    return counts;
  }

  // everybodyHears has one client speak to all.
  async everybodyHears(text) {
    const heard = this.clients.map((s) => new Promise((resolve) => s.once("said", (_, said) => resolve(said))));
    this.clients[0].emit("say", "", text);
    const texts = await within(Promise.all(heard), "everybody to hear", PATIENCE);
    assert.ok(texts.every((said) => said === text));
  }

  close() {
    for (const s of this.clients) s.off("disconnect");
    closeClients();
    this.agent.destroy();
  }
}
