import { Emitter } from "./emitter";
import { Message, Polling, Transport, TransportError, WS } from "./transport";

type TransportClass = new (opts: any) => Transport;

/** The transports that can be named in options. */
export const transports: Record<string, TransportClass> = { polling: Polling, websocket: WS };

let websocketWorked = false;

const wt = "webtransport";

// What the types of messages are called to listeners; binary ones have none of their own.
const names = "open,close,ping,pong,message,upgrade,noop".split(",");
const named = ({ type, data, options }: Message) => ({ type: names[(type || 4) as any], data, options });

/** A query as the official client takes it: a plus is a plus. */
export const decode = (query: string): Record<string, string> => Object.fromEntries(new URLSearchParams(query.replace(/\+/g, "%2B")));

const hasWindow = typeof addEventListener == "function";

const utf8Length = (v: any): number =>
  typeof v == "string" ? new TextEncoder().encode(v).length : Math.ceil((v.byteLength || v.size || 0) / 3) * 4;

/**
 * One Engine.IO session: a transport, perhaps a better one later, and the
 * heartbeat. Its events are those of engine.io-client's Socket.
 */
export class Engine extends Emitter {
  readonly opts: any;
  readonly secure: boolean;
  readonly hostname: string;
  readonly port: string;
  id?: string;
  transport!: Transport;
  readyState = "";
  upgrading = false;
  writeBuffer: Message[] = [];
  transports: string[];
  binaryType = "arraybuffer";

  private query_: Record<string, any>;
  private classes_: Record<string, TransportClass> = { ...transports };
  private upgrades_: string[] = [];
  private sent_ = 0; // messages at the head of writeBuffer that the transport has
  private since_ = 0; // when the oldest message that waits was written
  private patience_ = -1; // how long the server may be silent, ms
  _pingTimeoutTime = Infinity; // when it is taken for dead
  private timer_: any;
  private maxPayload_ = 0;
  private unload_?: () => void;

  constructor(uri: string | undefined, opts: any = {}) {
    super();
    const u = new URL(uri || location.origin);
    const secure = /^(https|wss):$/.test(u.protocol);
    this.opts = opts = {
      upgrade: true,
      timestampParam: "t",
      addTrailingSlash: true,
      transportOptions: {},
      path: "/engine.io",
      secure,
      hostname: u.hostname,
      port: u.port || (secure ? "443" : "80"),
      ...opts,
    };
    this.secure = opts.secure;
    this.hostname = opts.hostname;
    this.port = opts.port;
    opts.path = opts.path.replace(/\/$/, "") + (opts.addTrailingSlash ? "/" : "");
    this.query_ = typeof opts.query == "string" ? decode(opts.query) : opts.query || decode(u.search);
    this.transports = (opts.transports || ["polling", "websocket", wt])
      .map((t: any): string => {
        if (typeof t == "string") return t;
        this.classes_[t.prototype.name] = t;
        return t.prototype.name;
      })
      .filter((name: string) => this.usable_(name));
    if (hasWindow) {
      const events: Record<string, () => void> = {
        // Timers of hidden pages are late, and sleep stops them.
        visibilitychange: () => this._hasPingExpired(),
      };
      if (this.hostname != "localhost") events.offline = () => this.closed_("transport close", { description: "network connection lost" });
      // Without a word to the program: the page is on its way out.
      if (opts.closeOnBeforeunload) events.beforeunload = () => this.transport.off().close();
      for (const name of Object.keys(events)) addEventListener(name, events[name], true);
      this.unload_ = () => {
        for (const name of Object.keys(events)) removeEventListener(name, events[name], true);
      };
    }
    this.open_();
  }

  private usable_(name: string): boolean {
    return name in this.classes_ && (name != "websocket" || typeof WebSocket == "function");
  }

  private create_(name: string): Transport {
    const query: Record<string, any> = { ...this.query_, EIO: 4, transport: name };
    if (this.id) query.sid = this.id;
    return new this.classes_[name]({ ...this.opts, query, ...this.opts.transportOptions[name] });
  }

  private open_(): void {
    if (!this.transports.length) {
      setTimeout(() => this.fire_("error", "No transports available"));
      return;
    }
    const first = this.opts.rememberUpgrade && websocketWorked && this.transports.includes("websocket") ? "websocket" : this.transports[0];
    this.readyState = "opening";
    const t = this.create_(first);
    t.open();
    this.use_(t);
  }

  /** Makes t the transport. The old one has been closed or paused. */
  private use_(t: Transport): void {
    this.transport?.off();
    this.transport = t;
    t.on("drain", () => this.drained_())
      .on("packet", (m) => this.receive_(m))
      .on("error", (e) => this.failed_(e))
      .on("close", (details) => this.closed_("transport close", details));
  }

  private alive_(): boolean {
    return /^(open|closing)/.test(this.readyState);
  }

  private receive_({ type, data }: Message): void {
    if (!this.alive_()) return;
    this.fire_("packet", named({ type, data }));
    this.fire_("heartbeat");
    switch (type) {
      case "0":
        this.welcome_(data);
        break;
      case "2":
        this.push_({ type: "3", data: "" });
        this.fire_("ping");
        this.fire_("pong");
        this.await_();
        break;
      case "4":
        this.fire_("data", data);
        this.fire_("message", data);
        break;
      default:
        if (!"1356".includes(type)) this.failed_(new Error("server error"));
    }
  }

  private welcome_(text: string): void {
    let open;
    try {
      open = JSON.parse(text);
      this.upgrades_ = open.upgrades.filter((name: string) => this.transports.includes(name));
    } catch (e) {
      return this.failed_(new TransportError("invalid handshake", e));
    }
    this.fire_("handshake", open);
    this.id = open.sid;
    this.transport.query.sid = open.sid;
    this.patience_ = open.pingInterval + open.pingTimeout;
    this.maxPayload_ = open.maxPayload;
    this.readyState = "open";
    websocketWorked = this.transport.name == "websocket";
    this.fire_("open");
    this.flush_();
    if ((this.readyState as string) == "closed") return;
    this.await_();
    if (this.opts.upgrade && this.readyState == "open") this.upgrades_.forEach((name) => this.probe_(name));
  }

  /** Expects the next ping. */
  private await_(): void {
    clearTimeout(this.timer_);
    if (!(this.patience_ > 0)) return;
    this._pingTimeoutTime = Date.now() + this.patience_;
    this.timer_ = setTimeout(() => this.closed_("ping timeout"), this.patience_);
    if (this.opts.autoUnref) this.timer_.unref?.();
  }

  /**
   * Whether the server has been silent for too long. The timer that should have
   * noticed may have been late, because the machine slept.
   */
  _hasPingExpired(): boolean {
    const expired = Date.now() > this._pingTimeoutTime;
    if (expired && this._pingTimeoutTime) {
      this._pingTimeoutTime = 0;
      setTimeout(() => this.closed_("ping timeout"));
    }
    return expired;
  }

  /** Tries a transport while the current one stays in use. */
  private probe_(name: string): void {
    const t = this.create_(name);
    let over = false;
    const end = () => {
      over = true;
      t.off();
      this.off("close", stop).off("error", stop).off("upgrading", other);
    };
    const failed = (reason: any) => {
      if (over) return;
      end();
      t.close();
      const error: any = new Error("probe error: " + (reason?.message || reason));
      error.transport = name;
      this.fire_("upgradeError", error);
    };
    const stop = () => failed("socket closed");
    const other = (chosen: Transport) => {
      if (chosen.name != name) {
        end();
        t.close();
      }
    };
    websocketWorked = false;
    t.once("open", () => {
      t.send([{ type: "2", data: "probe" }]);
      t.once("packet", (m: Message) => {
        if (over) return;
        if (m.type != "3" || m.data != "probe") return failed("unexpected answer");
        this.upgrading = true;
        this.fire_("upgrading", t);
        websocketWorked = t.name == "websocket";
        this.transport.pause(() => {
          if (over || this.readyState == "closed") return;
          end();
          this.use_(t);
          t.send([{ type: "5", data: "" }]);
          this.fire_("upgrade", t);
          this.upgrading = false;
          this.flush_();
        });
      });
    });
    t.on("error", failed);
    t.on("close", () => failed("transport closed"));
    this.once("close", stop);
    this.once("error", stop);
    this.once("upgrading", other);
    // WebTransport gets a head start.
    if (name != wt && this.upgrades_.includes(wt)) setTimeout(() => over || t.open(), 200);
    else t.open();
  }

  /** How long the oldest message that waits has been waiting, in milliseconds. */
  get waited(): number {
    return this.writeBuffer.length ? Date.now() - this.since_ : 0;
  }

  private push_(m: Message): void {
    if (this.readyState == "closing" || this.readyState == "closed") return;
    this.fire_("packetCreate", named(m));
    if (!this.writeBuffer.push(m) || this.writeBuffer.length == 1) this.since_ = Date.now();
    this.flush_();
  }

  private flush_(): void {
    if (this.readyState == "closed" || !this.transport.writable || this.upgrading || !this.writeBuffer.length) return;
    const list = this.fitting_();
    this.sent_ = list.length;
    this.transport.send(list);
    this.fire_("flush");
  }

  /** The messages that go into one payload. */
  private fitting_(): Message[] {
    const all = this.writeBuffer;
    if (this.maxPayload_ && this.transport.name == "polling") {
      let size = -1; // separators are between messages
      for (let i = 0; i < all.length; i++) {
        size += 2 + (all[i].data ? utf8Length(all[i].data) : 0); // the type and a separator
        if (i && size > this.maxPayload_) return all.slice(0, i);
      }
    }
    return all.slice();
  }

  private drained_(): void {
    this.writeBuffer.splice(0, this.sent_);
    this.sent_ = 0;
    this.since_ = Date.now();
    if (this.writeBuffer.length) this.flush_();
    else this.fire_("drain");
  }

  write(data: any, options?: any, done?: () => void): this {
    if (typeof options == "function") done = options;
    this.push_({ type: typeof data == "string" ? "4" : "", data, options });
    if (done) this.once("flush", done);
    return this;
  }

  send(data: any, options?: any, done?: () => void): this {
    return this.write(data, options, done);
  }

  close(): this {
    const close = () => {
      this.closed_("forced close");
      this.transport?.close();
    };
    const upgraded = () => {
      this.off("upgrade", upgraded).off("upgradeError", upgraded);
      close();
    };
    const whenUpgraded = () => {
      if (!this.upgrading) close();
      else this.once("upgrade", upgraded).once("upgradeError", upgraded);
    };
    if (this.readyState == "opening" || this.readyState == "open") {
      this.readyState = "closing";
      if (this.writeBuffer.length) this.once("drain", whenUpgraded);
      else whenUpgraded();
    }
    return this;
  }

  private failed_(e: any): void {
    websocketWorked = false;
    if (this.opts.tryAllTransports && this.transports.length > 1 && this.readyState == "opening") {
      this.transports = this.transports.filter((name) => name != this.transport.name);
      this.open_();
      return;
    }
    this.fire_("error", e);
    this.closed_("transport error", e);
  }

  private closed_(reason: string, details?: any): void {
    if (!this.alive_()) return;
    clearTimeout(this.timer_);
    this._pingTimeoutTime = Infinity;
    this.transport.off();
    this.transport.on("error", () => {}); // of what is still under way
    this.transport.close();
    this.unload_?.();
    this.readyState = "closed";
    this.id = undefined;
    this.fire_("close", reason, details);
    this.writeBuffer = [];
    this.sent_ = 0;
  }
}
