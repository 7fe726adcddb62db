import { Emitter, without, type Fn } from "./emitter";
import { on, type Manager } from "./manager";
import { isReserved, PacketType, type Packet } from "./parser";

interface Ack {
  (...args: any[]): void;
  withError?: boolean; // it wants an error or null first
  since?: number;
}

/** An emit that is repeated until it is answered. */
interface Queued {
  id: number;
  tries: number;
  pending: boolean;
  args: any[];
  flags: any;
}

/** One namespace of one connection. */
export class Socket extends Emitter {
  id?: string;
  connected = false;
  recovered = false;
  auth: any;
  receiveBuffer: any[][] = [];
  sendBuffer: Packet[] = [];
  flags: any = {};
  acks: Record<number, Ack> = {};
  ids = 0;
  /** Smoothed time until the server answers, in milliseconds; undefined before the first acknowledgement. */
  lag?: number;
  subs?: (() => void)[];
  _pid?: string;
  _lastOffset?: string;
  _opts: any;
  private any_: Fn[] = [];
  private anyOutgoing_: Fn[] = [];
  _queue: Queued[] = [];
  private queueIDs_ = 0;

  constructor(
    readonly io: Manager,
    readonly nsp: string,
    opts?: any,
  ) {
    super();
    this._opts = { ...opts };
    if (opts?.auth) this.auth = opts.auth;
    if (io._autoConnect) this.open();
  }

  get disconnected(): boolean {
    return !this.connected;
  }

  /** Whether the socket is connected or will try to be. */
  get active(): boolean {
    return !!this.subs;
  }

  /** How long the oldest packet of the connection has been waiting to be sent, in milliseconds. */
  get slow(): number {
    return this.io.engine?.waited || 0;
  }

  connect(): this {
    if (this.connected) return this;
    const { io } = this;
    this.subs ||= [
      on(io, "open", () => this.opened_()),
      on(io, "packet", (p) => this.receive_(p)),
      on(io, "error", (e) => {
        if (!this.connected) this.fire_("connect_error", e);
      }),
      on(io, "close", (reason, details) => this.closed_(reason, details)),
    ];
    if (!io._reconnecting) io.open();
    if (io._readyState == "open") this.opened_();
    return this;
  }

  open(): this {
    return this.connect();
  }

  send(...args: any[]): this {
    return this.emit("message", ...args);
  }

  override emit(event: any, ...args: any[]): this {
    if (isReserved(event)) throw new Error(`"${event}" is a reserved event name`);
    const { flags, _opts, io } = this;
    const all = [event, ...args];
    this.flags = {};
    if (_opts.retries && !flags.fromQueue && !flags.volatile) {
      this.enqueue_(all, flags);
      return this;
    }
    const packet: Packet = { type: PacketType.EVENT, nsp: this.nsp, data: all, options: { compress: flags.compress !== false } };
    if (typeof all[all.length - 1] == "function") {
      packet.id = this.ids++;
      this.expect_(packet.id, all.pop(), flags.timeout ?? _opts.ackTimeout);
    }
    const { engine } = io;
    const alive = this.connected && !engine?._hasPingExpired();
    if (flags.volatile && !(alive && engine?.transport?.writable)) return this;
    if (alive) this.transmit_(packet);
    else this.sendBuffer.push(packet);
    return this;
  }

  private transmit_(packet: Packet): void {
    for (const fn of this.anyOutgoing_.slice()) fn.apply(this, packet.data);
    this.io._packet(packet);
  }

  /** Remembers who wants the answer. */
  private expect_(id: number, ack: Ack, timeout?: number): void {
    const timer =
      timeout !== undefined &&
      setTimeout(() => {
        delete this.acks[id];
        this.sendBuffer = this.sendBuffer.filter((p) => p.id !== id);
        ack.call(this, new Error("operation has timed out"));
      }, timeout);
    const answered: Ack = (...args) => {
      clearTimeout(timer as any);
      ack.apply(this, args);
    };
    answered.withError = !!timer || ack.withError;
    answered.since = Date.now();
    this.acks[id] = answered;
  }

  emitWithAck(event: string, ...args: any[]): Promise<any> {
    return new Promise((resolve, reject) => {
      const ack: Ack = (error, value) => (error ? reject(error) : resolve(value));
      ack.withError = true;
      this.emit(event, ...args, ack);
    });
  }

  private enqueue_(args: any[], flags: any): void {
    let ack: Ack | undefined;
    if (typeof args[args.length - 1] == "function") ack = args.pop();
    const item: Queued = { id: this.queueIDs_++, tries: 0, pending: false, args, flags: { ...flags, fromQueue: true } };
    const answered: Ack = (error, ...answer) => {
      if (item !== this._queue[0]) return;
      item.pending = false;
      if (!error || item.tries > this._opts.retries) {
        this._queue.shift();
        ack?.(error, ...answer);
      }
      this.next_();
    };
    answered.withError = true;
    args.push(answered);
    this._queue.push(item);
    this.next_();
  }

  /** Sends the head of the queue of emits that are repeated. */
  private next_(force?: boolean): void {
    const item = this._queue[0];
    if (!this.connected || !item || (item.pending && !force)) return;
    item.pending = true;
    item.tries++;
    this.flags = { ...item.flags };
    (this.emit as any)(...item.args);
  }

  /** Sends a packet of this namespace. */
  private packet_(packet: any): void {
    packet.nsp = this.nsp;
    this.io._packet(packet);
  }

  private opened_(): void {
    const greet = (auth: any) =>
      this.packet_({ type: PacketType.CONNECT, data: this._pid ? { pid: this._pid, offset: this._lastOffset, ...auth } : auth });
    typeof this.auth == "function" ? this.auth(greet) : greet(this.auth);
  }

  private closed_(reason: string, details?: any): void {
    this.connected = false;
    delete this.id;
    this.fire_("disconnect", reason, details);
    // Whoever waits for an answer that will not come, and can be told, is told.
    for (const key of Object.keys(this.acks)) {
      const id = +key;
      const ack = this.acks[id];
      if (this.sendBuffer.some((p) => p.id === id)) continue;
      delete this.acks[id];
      if (ack.withError) ack.call(this, new Error("socket has been disconnected"));
    }
  }

  private receive_({ nsp, type, data, id }: Packet): void {
    if (nsp != this.nsp) return;
    switch (type) {
      case PacketType.CONNECT:
        if (data?.sid) this.welcome_(data);
        else this.fire_("connect_error", new Error("the server speaks Socket.IO 2"));
        break;
      case PacketType.EVENT:
      case PacketType.BINARY_EVENT: {
        const args = [...data];
        if (id != null) args.push(this.answer_(id));
        if (this.connected) this.event_(args);
        else this.receiveBuffer.push(args);
        break;
      }
      case PacketType.ACK:
      case PacketType.BINARY_ACK: {
        const ack = this.acks[id!];
        if (ack) {
          delete this.acks[id!];
          const took = Date.now() - ack.since!;
          this.lag = Math.round((this.lag ?? took) * 0.8 + took * 0.2);
          ack.apply(this, ack.withError ? [null, ...data] : data);
        }
        break;
      }
      case PacketType.DISCONNECT:
        this.leave_();
        this.closed_("io server disconnect");
        break;
      case PacketType.CONNECT_ERROR: {
        this.leave_();
        const error: any = new Error(data.message || data);
        error.data = data.data;
        this.fire_("connect_error", error);
      }
    }
  }

  private event_(args: any[]): void {
    for (const fn of this.any_.slice()) fn.apply(this, args);
    this.fire_.apply(this, args as any);
    const last = args[args.length - 1];
    if (this._pid && typeof last == "string") this._lastOffset = last;
  }

  /** The function a handler answers with; only its first call counts. */
  private answer_(id: number): Fn {
    let sent = false;
    return (...args) => {
      if (sent) return;
      sent = true;
      this.packet_({ type: PacketType.ACK, id, data: args });
    };
  }

  private welcome_({ sid, pid }: any): void {
    this.id = sid;
    this.recovered = !!pid && this._pid === pid;
    this._pid = pid;
    this.connected = true;
    for (const args of this.receiveBuffer.splice(0)) this.event_(args);
    for (const packet of this.sendBuffer.splice(0)) this.transmit_(packet);
    this.next_(true);
    this.fire_("connect");
  }

  /** Stops to listen to the connection, and ends it if nobody else does. */
  private leave_(): void {
    this.subs?.forEach((fn) => fn());
    this.subs = undefined;
    this.io._destroy();
  }

  disconnect(): this {
    const was = this.connected;
    if (was) this.packet_({ type: PacketType.DISCONNECT });
    this.leave_();
    if (was) this.closed_("io client disconnect");
    return this;
  }

  close(): this {
    return this.disconnect();
  }

  compress(compress: boolean): this {
    this.flags.compress = compress;
    return this;
  }

  get volatile(): this {
    this.flags.volatile = true;
    return this;
  }

  timeout(ms: number): this {
    this.flags.timeout = ms;
    return this;
  }

  onAny(fn: Fn): this {
    this.any_.push(fn);
    return this;
  }

  prependAny(fn: Fn): this {
    this.any_.unshift(fn);
    return this;
  }

  offAny(fn?: Fn): this {
    this.any_ = without(this.any_, fn);
    return this;
  }

  listenersAny(): Fn[] {
    return this.any_;
  }

  onAnyOutgoing(fn: Fn): this {
    this.anyOutgoing_.push(fn);
    return this;
  }

  prependAnyOutgoing(fn: Fn): this {
    this.anyOutgoing_.unshift(fn);
    return this;
  }

  offAnyOutgoing(fn?: Fn): this {
    this.anyOutgoing_ = without(this.anyOutgoing_, fn);
    return this;
  }

  listenersAnyOutgoing(): Fn[] {
    return this.anyOutgoing_;
  }
}
