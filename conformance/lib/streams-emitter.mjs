// What @socket.io/redis-streams-emitter 0.1.1 adds to a stream
// (packages/socket.io-redis-streams-emitter/lib/index.ts of socketio/socket.io).
// The package is not on every registry; lib/emitters.mjs prefers it where it is
// installed.
import { encode } from "@msgpack/msgpack";

const [BROADCAST, JOIN, LEAVE, DISCONNECT, SERVER_SIDE_EMIT] = [3, 4, 5, 6, 9];

const holdsBinary = (value) => value !== null && typeof value === "object"
  && (ArrayBuffer.isView(value) || Object.values(value).some(holdsBinary));

export class StreamsEmitter {
  #client;
  #stream;
  #nsp;
  #target = { rooms: [], flags: {}, except: [] };

  constructor(client, { streamName }, nsp) {
    [this.#client, this.#stream, this.#nsp] = [client, streamName, nsp];
  }

  #with(change) {
    const copy = new StreamsEmitter(this.#client, { streamName: this.#stream }, this.#nsp);
    copy.#target = { ...this.#target, ...change };
    return copy;
  }

  to(rooms) { return this.#with({ rooms: [...this.#target.rooms, ...rooms] }); }
  except(rooms) { return this.#with({ except: [...this.#target.except, ...rooms] }); }
  compress(compress) { return this.#with({ flags: { ...this.#target.flags, compress } }); }
  get volatile() { return this.#with({ flags: { ...this.#target.flags, volatile: true } }); }

  emit(...data) { return this.#add(BROADCAST, { packet: { type: 2, data, nsp: this.#nsp }, opts: this.#target }); }
  socketsJoin(rooms) { return this.#add(JOIN, { ...this.#bare(), rooms }); }
  socketsLeave(rooms) { return this.#add(LEAVE, { ...this.#bare(), rooms }); }
  disconnectSockets(close) { return this.#add(DISCONNECT, { ...this.#bare(), close }); }
  serverSideEmit(...packet) { return this.#add(SERVER_SIDE_EMIT, { packet }); }

  #bare() {
    return { opts: { rooms: this.#target.rooms, except: this.#target.except, flags: {} } };
  }

  #add(type, value) {
    const data = holdsBinary(value) ? Buffer.from(encode(value)).toString("base64") : JSON.stringify(value);
    return this.#client.xAdd(this.#stream, "*", { uid: "emitter", nsp: this.#nsp, type: String(type), data },
      { TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 10_000 } });
  }
}
