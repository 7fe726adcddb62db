import { Emitter } from "./emitter";
import { Engine } from "./engine";
import { Decoder, Encoder } from "./parser";
import { Socket } from "./socket";

/** Listens until the function it returns is called. */
export const on = (to: any, event: string, fn: (...args: any[]) => void): (() => void) => {
  to.on(event, fn);
  return () => to.off(event, fn);
};

export const defaults: any = {
  path: "/socket.io",
  reconnection: true,
  reconnectionAttempts: Infinity,
  reconnectionDelay: 1000,
  reconnectionDelayMax: 5000,
  randomizationFactor: 0.5,
  timeout: 20000,
  autoConnect: true,
  parser: { Encoder, Decoder },
};

/** One connection and the sockets of all namespaces that share it. */
export class Manager extends Emitter {
  readonly uri: string;
  opts: any;
  engine!: any;
  nsps: Record<string, Socket> = {};
  encoder: any;
  decoder: any;
  _readyState = "closed";
  _reconnecting = false;
  private subs_: (() => void)[] = [];
  private attempts_ = 0;
  skip_ = false; // the program does not want to be connected

  constructor(uri?: any, opts?: any) {
    super();
    if (uri && typeof uri == "object") [uri, opts] = [undefined, uri];
    this.uri = uri;
    this.opts = opts = { ...opts };
    // For some options zero is as good as nothing.
    for (const key of Object.keys(defaults)) if (/Att|Del/.test(key) ? !opts[key] : opts[key] == null) opts[key] = defaults[key];
    this.encoder = new opts.parser.Encoder();
    this.decoder = new opts.parser.Decoder();
    if (opts.autoConnect) this.open();
  }

  get _autoConnect(): boolean {
    return this.opts.autoConnect;
  }

  open(fn?: (error?: Error) => void, again?: boolean): this {
    if (this._readyState.startsWith("open")) return this;
    let engine: any;
    // By hand during a pause: this takes the place of the attempt that was to come.
    if (!again) this._reconnecting = false;
    this.skip_ = false;
    this._readyState = "opening";
    const failed = (error: any) => {
      this.release_();
      this._readyState = "closed";
      this.fire_("error", error);
      if (fn) fn(error);
      else if (this.opts.reconnection) this.reconnect_();
    };
    try {
      engine = this.engine = new Engine(this.uri, this.opts);
    } catch (e) {
      setTimeout(() => failed(e));
      return this;
    }
    const { timeout } = this.opts;
    this.subs_.push(
      on(engine, "open", () => {
        this.opened_();
        fn?.();
      }),
      on(engine, "error", failed),
      on(engine, "close", (reason) => failed(new Error(reason))),
    );
    if (timeout !== false) {
      const timer = this.later_(() => {
        failed(new Error("timeout"));
        engine.close();
      }, timeout);
      this.subs_.push(() => clearTimeout(timer));
    }
    return this;
  }

  connect(fn?: (error?: Error) => void): this {
    return this.open(fn);
  }

  private later_(fn: () => void, ms: number): any {
    const timer: any = setTimeout(fn, ms);
    if (this.opts.autoUnref) timer.unref?.();
    return timer;
  }

  private opened_(): void {
    this.release_();
    this._readyState = "open";
    this.fire_("open");
    const { engine } = this;
    this.subs_.push(
      on(engine, "ping", () => this.fire_("ping")),
      on(engine, "data", (data) => {
        try {
          this.decoder.add(data);
        } catch (e) {
          this.closed_("parse error", e);
        }
      }),
      on(engine, "error", (e) => this.fire_("error", e)),
      on(engine, "close", (reason, details) => this.closed_(reason, details)),
      on(this.decoder, "decoded", (packet) => {
        // Listeners run on their own, so that what they throw is theirs.
        queueMicrotask(() => this.fire_("packet", packet));
      }),
    );
  }

  /** The socket of a namespace. */
  socket(nsp: string, opts?: any): Socket {
    let s = this.nsps[nsp];
    if (!s) s = this.nsps[nsp] = new Socket(this, nsp, opts);
    else if (this._autoConnect && !s.active) s.connect();
    return s;
  }

  /** Closes the connection when the last socket has left. */
  _destroy(): void {
    for (const nsp of Object.keys(this.nsps)) if (this.nsps[nsp].active) return;
    this._close();
  }

  _packet(packet: any): void {
    for (const part of this.encoder.encode(packet)) this.engine.write(part, packet.options);
  }

  private release_(): void {
    for (const fn of this.subs_.splice(0)) fn();
    this.decoder.destroy();
  }

  _close(): void {
    this.skip_ = true;
    this._reconnecting = false;
    this.closed_("forced close");
  }

  disconnect(): void {
    this._close();
  }

  private closed_(reason: string, details?: any): void {
    this.release_();
    this.engine?.close();
    this.attempts_ = 0;
    this._readyState = "closed";
    this.fire_("close", reason, details);
    if (this.opts.reconnection && !this.skip_) this.reconnect_();
  }

  /**
   * The pause before the next attempt: it doubles up to a cap, and is random
   * between bounds that the cap moves down, so that clients that lost the same
   * server do not come back in step.
   */
  private delay_(): number {
    const { reconnectionDelay: first, reconnectionDelayMax: cap, randomizationFactor: spread } = this.opts;
    const d = first * 2 ** this.attempts_;
    const low = Math.min(d, cap) * (1 - spread);
    const high = Math.min(d * (1 + spread), cap);
    return low + Math.random() * (high - low);
  }

  private reconnect_(): void {
    if (this._reconnecting || this.skip_) return;
    if (this.attempts_ >= this.opts.reconnectionAttempts) {
      this.attempts_ = 0;
      this.fire_("reconnect_failed");
      return;
    }
    const delay = this.delay_();
    this._reconnecting = true;
    const timer = this.later_(() => {
      if (this.skip_ || !this._reconnecting) return;
      this.attempts_++;
      this.fire_("reconnect_attempt", this.attempts_);
      if (this.skip_) return;
      this.open((error) => {
        this._reconnecting = false;
        if (error) {
          this.reconnect_();
          this.fire_("reconnect_error", error);
        } else {
          const attempt = this.attempts_;
          this.attempts_ = 0;
          this.fire_("reconnect", attempt);
        }
      }, true);
    }, delay);
    this.subs_.push(() => clearTimeout(timer));
  }
}

// Every option is a method too: without an argument it reads, else it writes.
for (const name of ["reconnection", "reconnectionAttempts", "reconnectionDelay", "reconnectionDelayMax", "randomizationFactor", "timeout"]) {
  (Manager.prototype as any)[name] = function (this: Manager, v?: any) {
    if (v === undefined) return this.opts[name];
    this.opts[name] = v;
    // Nor does the pause end that has begun.
    if (v === false && name == "reconnection") this.skip_ = true;
    return this;
  };
}
