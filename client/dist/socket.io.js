/*! Socketfleet client, MIT license */
"use strict";
(() => {
  // src/emitter.ts
  var without = (list, fn) => {
    const i = list.findIndex((l) => l == fn || l.fn == fn);
    return fn ? list.filter((_, at) => at != i) : [];
  };
  var Emitter = class {
    constructor() {
      this.h = /* @__PURE__ */ Object.create(null);
    }
    on(event, fn) {
      (this.h[event] ||= []).push(fn);
      return this;
    }
    once(event, fn) {
      const first = (...args) => {
        this.off(event, first);
        fn.apply(this, args);
      };
      first.fn = fn;
      return this.on(event, first);
    }
    /** Removes one listener, all of an event, or all. */
    off(event, fn) {
      if (!event) this.h = /* @__PURE__ */ Object.create(null);
      else this.h[event] = without(this.listeners(event), fn);
      return this;
    }
    listeners(event) {
      return this.h[event] || [];
    }
    hasListeners(event) {
      return this.listeners(event).length > 0;
    }
    emit(event, ...args) {
      return this.a(event, ...args);
    }
    /** Calls the listeners; what emit is where a class gives emit another meaning. */
    a(event, ...args) {
      for (const fn of [...this.listeners(event)]) fn.apply(this, args);
      return this;
    }
  };
  var proto = Emitter.prototype;
  proto.addEventListener = proto.addListener = proto.on;
  proto.removeListener = proto.removeAllListeners = proto.removeEventListener = proto.off;

  // src/transport.ts
  var TransportError = class extends Error {
    constructor(message, description, context) {
      super(message);
      this.description = description;
      this.context = context;
      this.type = "TransportError";
    }
  };
  var Transport = class extends Emitter {
    constructor(opts) {
      super();
      this.opts = opts;
      this.readyState = "";
      this.writable = false;
      this.query = opts.query;
    }
    open() {
      this.readyState = "opening";
      this.doOpen();
      return this;
    }
    close() {
      if (this.readyState == "opening" || this.readyState == "open") {
        this.doClose();
        this.onClose();
      }
      return this;
    }
    /** Sends messages; the caller waits for writable. */
    send(list) {
      if (this.readyState == "open") {
        this.writable = false;
        this.write(list);
      }
    }
    /** Waits until nothing is under way. */
    pause(done) {
      done();
    }
    onOpen() {
      this.readyState = "open";
      this.writable = true;
      this.a("open");
    }
    onClose(details) {
      this.readyState = "closed";
      this.writable = false;
      this.a("close", details);
    }
    onError(reason, description, context) {
      this.a("error", new TransportError(reason, description, context));
    }
    /** Takes a message in text form, or bytes. */
    onMessage(data) {
      this.a("packet", typeof data == "string" ? { type: data[0], data: data.slice(1) } : { type: "4", data });
    }
    uri(scheme) {
      const { opts } = this;
      const query = { ...this.query };
      if (opts.timestampRequests ?? scheme == "http") query[opts.timestampParam] = stamp();
      const port = opts.port && +opts.port != (opts.secure ? 443 : 80) ? ":" + opts.port : "";
      const host = opts.hostname.includes(":") && opts.hostname[0] != "[" ? `[${opts.hostname}]` : opts.hostname;
      const search = Object.keys(query).map((key) => encodeURIComponent(key) + "=" + encodeURIComponent(query[key])).join("&");
      return `${scheme}${opts.secure ? "s" : ""}://${host}${port}${opts.path}${search && "?" + search}`;
    }
  };
  var stamp = () => Date.now().toString(36).slice(3) + Math.random().toString(36).slice(2, 7);
  var toBase64 = async (data) => {
    const bytes = new Uint8Array(await new Blob([data]).arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192));
    return "b" + btoa(text);
  };
  var fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  var separator = "";
  var Polling = class extends Transport {
    constructor() {
      super(...arguments);
      this.n = false;
      this.o = new AbortController();
    }
    get name() {
      return "polling";
    }
    doOpen() {
      this.D();
    }
    pause(done) {
      this.readyState = "pausing";
      let waiting = 1;
      const step = () => {
        if (!--waiting) {
          this.readyState = "paused";
          done();
        }
      };
      if (this.n) {
        waiting++;
        this.once("pollComplete", step);
      }
      if (!this.writable) {
        waiting++;
        this.once("drain", step);
      }
      step();
    }
    async D() {
      this.n = true;
      const text = await this.E("GET");
      if (text === void 0) return;
      for (const part of text.split(separator)) {
        if (this.readyState == "closed") return;
        if (this.readyState == "opening" && part[0] == "0") this.onOpen();
        if (part[0] == "1") return this.onClose({ description: "transport closed by the server" });
        let data = part;
        if (part[0] == "b") {
          try {
            data = fromBase64(part.slice(1));
          } catch {
            data = "";
          }
        }
        this.onMessage(data);
      }
      this.n = false;
      this.a("pollComplete");
      if (this.readyState == "open") this.D();
    }
    doClose() {
      const abort = () => this.o.abort();
      this.readyState == "open" ? this.write([{ type: "1", data: "" }]).then(abort) : abort();
    }
    async write(list) {
      this.writable = false;
      if (await this.E("POST", list) !== void 0) {
        this.writable = true;
        this.a("drain");
      }
    }
    /** Makes one request. After a failure, which is an event, it returns nothing. */
    async E(method, list) {
      const { opts } = this;
      const last = list?.[0].type == "1";
      const timer = opts.requestTimeout && setTimeout(() => this.o.abort(), opts.requestTimeout);
      let status = 0;
      let context;
      try {
        const body = list && await Promise.all(list.map((m) => typeof m.data == "string" ? m.type + m.data : toBase64(m.data)));
        const response = await fetch(this.uri("http"), {
          method,
          body: body?.join(separator),
          headers: opts.extraHeaders,
          signal: last ? null : this.o.signal,
          keepalive: last,
          // the page may be on its way out
          cache: "no-store",
          credentials: opts.withCredentials ? "include" : "same-origin"
        });
        const responseText = await response.text();
        if (response.ok) return responseText;
        status = response.status;
        context = { status, responseText };
      } catch (e) {
        context = e;
      } finally {
        clearTimeout(timer);
      }
      if (this.readyState != "closed") this.onError(`xhr ${list ? "post" : "poll"} error`, status, context);
    }
  };
  var WS = class extends Transport {
    get name() {
      return "websocket";
    }
    doOpen() {
      const { opts } = this;
      let ws;
      try {
        ws = new WebSocket(this.uri("ws"), opts.protocols || [], { headers: opts.extraHeaders });
      } catch (e) {
        this.a("error", e);
        return;
      }
      this.ws = ws;
      ws.binaryType = "arraybuffer";
      ws.onopen = () => this.onOpen();
      ws.onclose = (e) => this.onClose({ description: "websocket connection closed", context: e });
      ws.onmessage = (e) => this.onMessage(e.data);
      ws.onerror = (e) => this.onError("websocket error", e);
    }
    write(list) {
      for (const m of list) {
        try {
          this.ws.send(typeof m.data == "string" ? m.type + m.data : m.data);
        } catch {
        }
      }
      queueMicrotask(() => {
        this.writable = this.readyState == "open";
        if (this.writable) this.a("drain");
      });
    }
    doClose() {
      const ws = this.ws;
      if (ws) {
        ws.onopen = ws.onclose = ws.onmessage = null;
        ws.onerror = () => {
        };
        ws.close();
        this.ws = void 0;
      }
    }
  };

  // src/engine.ts
  var transports = { polling: Polling, websocket: WS };
  var websocketWorked = false;
  var wt = "webtransport";
  var names = "open,close,ping,pong,message,upgrade,noop".split(",");
  var named = ({ type, data, options }) => ({ type: names[type || 4], data, options });
  var decode = (query) => Object.fromEntries(new URLSearchParams(query.replace(/\+/g, "%2B")));
  var hasWindow = typeof addEventListener == "function";
  var utf8Length = (v) => typeof v == "string" ? new TextEncoder().encode(v).length : Math.ceil((v.byteLength || v.size || 0) / 3) * 4;
  var Engine = class extends Emitter {
    constructor(uri, opts = {}) {
      super();
      this.readyState = "";
      this.upgrading = false;
      this.writeBuffer = [];
      this.binaryType = "arraybuffer";
      this.p = { ...transports };
      this.q = [];
      this.i = 0;
      // messages at the head of writeBuffer that the transport has
      this.r = 0;
      // when the oldest message that waits was written
      this.j = -1;
      // how long the server may be silent, ms
      this._pingTimeoutTime = Infinity;
      this.s = 0;
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
        ...opts
      };
      this.secure = opts.secure;
      this.hostname = opts.hostname;
      this.port = opts.port;
      opts.path = opts.path.replace(/\/$/, "") + (opts.addTrailingSlash ? "/" : "");
      this.F = typeof opts.query == "string" ? decode(opts.query) : opts.query || decode(u.search);
      this.transports = (opts.transports || ["polling", "websocket", wt]).map((t) => {
        if (typeof t == "string") return t;
        this.p[t.prototype.name] = t;
        return t.prototype.name;
      }).filter((name) => this.Q(name));
      if (hasWindow) {
        const events = {
          // Timers of hidden pages are late, and sleep stops them.
          visibilitychange: () => this._hasPingExpired()
        };
        if (this.hostname != "localhost") events.offline = () => this.b("transport close", { description: "network connection lost" });
        if (opts.closeOnBeforeunload) events.beforeunload = () => this.transport.off().close();
        for (const name of Object.keys(events)) addEventListener(name, events[name], true);
        this.G = () => {
          for (const name of Object.keys(events)) removeEventListener(name, events[name], true);
        };
      }
      this.H();
    }
    Q(name) {
      return name in this.p && (name != "websocket" || typeof WebSocket == "function");
    }
    I(name) {
      const query = { ...this.F, EIO: 4, transport: name };
      if (this.id) query.sid = this.id;
      return new this.p[name]({ ...this.opts, query, ...this.opts.transportOptions[name] });
    }
    H() {
      if (!this.transports.length) {
        setTimeout(() => this.a("error", "No transports available"));
        return;
      }
      const first = this.opts.rememberUpgrade && websocketWorked && this.transports.includes("websocket") ? "websocket" : this.transports[0];
      this.readyState = "opening";
      const t = this.I(first);
      t.open();
      this.J(t);
    }
    /** Makes t the transport. The old one has been closed or paused. */
    J(t) {
      this.transport?.off();
      this.transport = t;
      t.on("drain", () => this.R()).on("packet", (m) => this.t(m)).on("error", (e) => this.u(e)).on("close", (details) => this.b("transport close", details));
    }
    K() {
      return /^(open|closing)/.test(this.readyState);
    }
    t({ type, data }) {
      if (!this.K()) return;
      this.a("packet", named({ type, data }));
      this.a("heartbeat");
      switch (type) {
        case "0":
          this.v(data);
          break;
        case "2":
          this.L({ type: "3", data: "" });
          this.a("ping");
          this.a("pong");
          this.M();
          break;
        case "4":
          this.a("data", data);
          this.a("message", data);
          break;
        default:
          if (!"1356".includes(type)) this.u(new Error("server error"));
      }
    }
    v(text) {
      let open;
      try {
        open = JSON.parse(text);
        this.q = open.upgrades.filter((name) => this.transports.includes(name));
      } catch (e) {
        return this.u(new TransportError("invalid handshake", e));
      }
      this.a("handshake", open);
      this.id = open.sid;
      this.transport.query.sid = open.sid;
      this.j = open.pingInterval + open.pingTimeout;
      this.s = open.maxPayload;
      this.readyState = "open";
      websocketWorked = this.transport.name == "websocket";
      this.a("open");
      this.l();
      if (this.readyState == "closed") return;
      this.M();
      if (this.opts.upgrade && this.readyState == "open") this.q.forEach((name) => this.S(name));
    }
    /** Expects the next ping. */
    M() {
      clearTimeout(this.k);
      if (!(this.j > 0)) return;
      this._pingTimeoutTime = Date.now() + this.j;
      this.k = setTimeout(() => this.b("ping timeout"), this.j);
      if (this.opts.autoUnref) this.k.unref?.();
    }
    /**
     * Whether the server has been silent for too long. The timer that should have
     * noticed may have been late, because the machine slept.
     */
    _hasPingExpired() {
      const expired = Date.now() > this._pingTimeoutTime;
      if (expired && this._pingTimeoutTime) {
        this._pingTimeoutTime = 0;
        setTimeout(() => this.b("ping timeout"));
      }
      return expired;
    }
    /** Tries a transport while the current one stays in use. */
    S(name) {
      const t = this.I(name);
      let over = false;
      const end = () => {
        over = true;
        t.off();
        this.off("close", stop).off("error", stop).off("upgrading", other);
      };
      const failed = (reason) => {
        if (over) return;
        end();
        t.close();
        const error = new Error("probe error: " + (reason?.message || reason));
        error.transport = name;
        this.a("upgradeError", error);
      };
      const stop = () => failed("socket closed");
      const other = (chosen) => {
        if (chosen.name != name) {
          end();
          t.close();
        }
      };
      websocketWorked = false;
      t.once("open", () => {
        t.send([{ type: "2", data: "probe" }]);
        t.once("packet", (m) => {
          if (over) return;
          if (m.type != "3" || m.data != "probe") return failed("unexpected answer");
          this.upgrading = true;
          this.a("upgrading", t);
          websocketWorked = t.name == "websocket";
          this.transport.pause(() => {
            if (over || this.readyState == "closed") return;
            end();
            this.J(t);
            t.send([{ type: "5", data: "" }]);
            this.a("upgrade", t);
            this.upgrading = false;
            this.l();
          });
        });
      });
      t.on("error", failed);
      t.on("close", () => failed("transport closed"));
      this.once("close", stop);
      this.once("error", stop);
      this.once("upgrading", other);
      if (name != wt && this.q.includes(wt)) setTimeout(() => over || t.open(), 200);
      else t.open();
    }
    /** How long the oldest message that waits has been waiting, in milliseconds. */
    get waited() {
      return this.writeBuffer.length ? Date.now() - this.r : 0;
    }
    L(m) {
      if (this.readyState == "closing" || this.readyState == "closed") return;
      this.a("packetCreate", named(m));
      if (!this.writeBuffer.push(m) || this.writeBuffer.length == 1) this.r = Date.now();
      this.l();
    }
    l() {
      if (this.readyState == "closed" || !this.transport.writable || this.upgrading || !this.writeBuffer.length) return;
      const list = this.T();
      this.i = list.length;
      this.transport.send(list);
      this.a("flush");
    }
    /** The messages that go into one payload. */
    T() {
      const all = this.writeBuffer;
      if (this.s && this.transport.name == "polling") {
        let size = -1;
        for (let i = 0; i < all.length; i++) {
          size += 2 + (all[i].data ? utf8Length(all[i].data) : 0);
          if (i && size > this.s) return all.slice(0, i);
        }
      }
      return all.slice();
    }
    R() {
      this.writeBuffer.splice(0, this.i);
      this.i = 0;
      this.r = Date.now();
      if (this.writeBuffer.length) this.l();
      else this.a("drain");
    }
    write(data, options, done) {
      if (typeof options == "function") done = options;
      this.L({ type: typeof data == "string" ? "4" : "", data, options });
      if (done) this.once("flush", done);
      return this;
    }
    send(data, options, done) {
      return this.write(data, options, done);
    }
    close() {
      const close = () => {
        this.b("forced close");
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
    u(e) {
      websocketWorked = false;
      if (this.opts.tryAllTransports && this.transports.length > 1 && this.readyState == "opening") {
        this.transports = this.transports.filter((name) => name != this.transport.name);
        this.H();
        return;
      }
      this.a("error", e);
      this.b("transport error", e);
    }
    b(reason, details) {
      if (!this.K()) return;
      clearTimeout(this.k);
      this._pingTimeoutTime = Infinity;
      this.transport.off();
      this.transport.on("error", () => {
      });
      this.transport.close();
      this.G?.();
      this.readyState = "closed";
      this.id = void 0;
      this.a("close", reason, details);
      this.writeBuffer = [];
      this.i = 0;
    }
  };

  // src/parser.ts
  var protocol = 5;
  var reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
  var isReserved = (event) => reserved.includes(event);
  var isBinary = (v) => v instanceof ArrayBuffer || ArrayBuffer.isView(v) || typeof Blob == "function" && v instanceof Blob;
  var maxAttachments = 1e3;
  var Encoder = class {
    constructor(replacer_) {
      this.U = replacer_;
    }
    encode(p) {
      const out = [""];
      let { type, data } = p;
      if (type == 2 /* EVENT */ || type == 3 /* ACK */) {
        data = extract(data, out);
        if (out.length > 1) type += 3;
      }
      out[0] = type + (out.length > 1 ? out.length - 1 + "-" : "") + (p.nsp && p.nsp != "/" ? p.nsp + "," : "") + (p.id ?? "") + (data == null ? "" : JSON.stringify(data, this.U));
      return out;
    }
  };
  function extract(v, out) {
    if (!v || typeof v != "object") return v;
    if (isBinary(v)) return { _placeholder: true, num: out.push(v) - 2 };
    if (typeof v.toJSON == "function") {
      const plain = v.toJSON();
      const before = out.length;
      const seen = extract(plain, out);
      return out.length > before ? seen : v;
    }
    const copy = Array.isArray(v) ? [] : {};
    let changed = false;
    for (const key of Object.keys(v)) {
      copy[key] = extract(v[key], out);
      changed ||= copy[key] !== v[key];
    }
    return changed ? copy : v;
  }
  function restore(v, bins) {
    if (v && v._placeholder === true) {
      if (typeof v.num == "number" && v.num in bins) return bins[v.num];
      throw new Error("illegal attachments");
    }
    if (v && typeof v == "object") for (const key of Object.keys(v)) v[key] = restore(v[key], bins);
    return v;
  }
  var Decoder = class extends Emitter {
    constructor(reviver_) {
      super();
      this.W = reviver_;
      this.x = [];
    }
    /** Takes a text or a binary message, and throws when it cannot come here. */
    add(message) {
      const p = this.w;
      if (typeof message == "string") {
        if (p) throw new Error("got plaintext data when reconstructing a packet");
        const packet = this.V(message);
        if (packet.attachments) this.w = packet;
        else this.a("decoded", packet);
      } else {
        if (!p) throw new Error("got binary data when not reconstructing a packet");
        if (this.x.push(message) == p.attachments) {
          const bins = this.x;
          this.destroy();
          p.data = restore(p.data, bins);
          delete p.attachments;
          this.a("decoded", p);
        }
      }
    }
    destroy() {
      this.w = void 0;
      this.x = [];
    }
    V(text) {
      const m = /^(?:[0-4]|[56](\d+)-)(?:(\/[^,]*),?)?(\d+)?/.exec(text);
      if (!m) throw new Error("unknown packet type " + text[0]);
      let type = +text[0];
      const packet = { type, nsp: m[2] || "/" };
      if (m[1]) {
        packet.attachments = +m[1];
        if (!(+m[1] > 0 && +m[1] <= maxAttachments)) throw new Error("illegal attachments");
        packet.type = type -= 3;
      }
      if (m[3]) packet.id = +m[3];
      const rest = text.slice(m[0].length);
      if (rest) {
        try {
          packet.data = JSON.parse(rest, this.W);
        } catch {
          throw new Error("invalid payload");
        }
      }
      if (!valid(type, packet.data)) throw new Error("invalid payload");
      return packet;
    }
  };
  function valid(type, data) {
    const isObject = !!data && typeof data == "object" && !Array.isArray(data);
    switch (type) {
      case 0 /* CONNECT */:
        return isObject || data === void 0;
      // a server of version 2 sends none
      case 1 /* DISCONNECT */:
        return data === void 0;
      case 4 /* CONNECT_ERROR */:
        return isObject || typeof data == "string";
      case 2 /* EVENT */:
        return Array.isArray(data) && (typeof data[0] == "number" || typeof data[0] == "string" && !isReserved(data[0]));
      default:
        return Array.isArray(data);
    }
  }

  // src/socket.ts
  var Socket = class extends Emitter {
    constructor(io2, nsp, opts) {
      super();
      this.io = io2;
      this.nsp = nsp;
      this.connected = false;
      this.recovered = false;
      this.receiveBuffer = [];
      this.sendBuffer = [];
      this.flags = {};
      this.acks = {};
      this.ids = 0;
      this.e = [];
      this.f = [];
      this._queue = [];
      this.X = 0;
      this._opts = { ...opts };
      if (opts?.auth) this.auth = opts.auth;
      if (io2._autoConnect) this.open();
    }
    get disconnected() {
      return !this.connected;
    }
    /** Whether the socket is connected or will try to be. */
    get active() {
      return !!this.subs;
    }
    /** How long the oldest packet of the connection has been waiting to be sent, in milliseconds. */
    get slow() {
      return this.io.engine?.waited || 0;
    }
    connect() {
      if (this.connected) return this;
      const { io: io2 } = this;
      this.subs ||= [
        on(io2, "open", () => this.m()),
        on(io2, "packet", (p) => this.t(p)),
        on(io2, "error", (e) => {
          if (!this.connected) this.a("connect_error", e);
        }),
        on(io2, "close", (reason, details) => this.b(reason, details))
      ];
      if (!io2._reconnecting) io2.open();
      if (io2._readyState == "open") this.m();
      return this;
    }
    open() {
      return this.connect();
    }
    send(...args) {
      return this.emit("message", ...args);
    }
    emit(event, ...args) {
      if (isReserved(event)) throw new Error(`"${event}" is a reserved event name`);
      const { flags, _opts, io: io2 } = this;
      const all = [event, ...args];
      this.flags = {};
      if (_opts.retries && !flags.fromQueue && !flags.volatile) {
        this.Y(all, flags);
        return this;
      }
      const packet = { type: 2 /* EVENT */, nsp: this.nsp, data: all, options: { compress: flags.compress !== false } };
      if (typeof all[all.length - 1] == "function") {
        packet.id = this.ids++;
        this.Z(packet.id, all.pop(), flags.timeout ?? _opts.ackTimeout);
      }
      const { engine } = io2;
      const alive = this.connected && !engine?._hasPingExpired();
      if (flags.volatile && !(alive && engine?.transport?.writable)) return this;
      if (alive) this.N(packet);
      else this.sendBuffer.push(packet);
      return this;
    }
    N(packet) {
      for (const fn of this.f.slice()) fn.apply(this, packet.data);
      this.io._packet(packet);
    }
    /** Remembers who wants the answer. */
    Z(id, ack, timeout) {
      const timer = timeout !== void 0 && setTimeout(() => {
        delete this.acks[id];
        this.sendBuffer = this.sendBuffer.filter((p) => p.id !== id);
        ack.call(this, new Error("operation has timed out"));
      }, timeout);
      const answered = (...args) => {
        clearTimeout(timer);
        ack.apply(this, args);
      };
      answered.withError = !!timer || ack.withError;
      answered.since = Date.now();
      this.acks[id] = answered;
    }
    emitWithAck(event, ...args) {
      return new Promise((resolve, reject) => {
        const ack = (error, value) => error ? reject(error) : resolve(value);
        ack.withError = true;
        this.emit(event, ...args, ack);
      });
    }
    Y(args, flags) {
      let ack;
      if (typeof args[args.length - 1] == "function") ack = args.pop();
      const item = { id: this.X++, tries: 0, pending: false, args, flags: { ...flags, fromQueue: true } };
      const answered = (error, ...answer) => {
        if (item !== this._queue[0]) return;
        item.pending = false;
        if (!error || item.tries > this._opts.retries) {
          this._queue.shift();
          ack?.(error, ...answer);
        }
        this.y();
      };
      answered.withError = true;
      args.push(answered);
      this._queue.push(item);
      this.y();
    }
    /** Sends the head of the queue of emits that are repeated. */
    y(force) {
      const item = this._queue[0];
      if (!this.connected || !item || item.pending && !force) return;
      item.pending = true;
      item.tries++;
      this.flags = { ...item.flags };
      this.emit(...item.args);
    }
    /** Sends a packet of this namespace. */
    z(packet) {
      packet.nsp = this.nsp;
      this.io._packet(packet);
    }
    m() {
      const greet = (auth) => this.z({ type: 0 /* CONNECT */, data: this._pid ? { pid: this._pid, offset: this._lastOffset, ...auth } : auth });
      typeof this.auth == "function" ? this.auth(greet) : greet(this.auth);
    }
    b(reason, details) {
      this.connected = false;
      delete this.id;
      this.a("disconnect", reason, details);
      for (const key of Object.keys(this.acks)) {
        const id = +key;
        const ack = this.acks[id];
        if (this.sendBuffer.some((p) => p.id === id)) continue;
        delete this.acks[id];
        if (ack.withError) ack.call(this, new Error("socket has been disconnected"));
      }
    }
    t({ nsp, type, data, id }) {
      if (nsp != this.nsp) return;
      switch (type) {
        case 0 /* CONNECT */:
          if (data?.sid) this.v(data);
          else this.a("connect_error", new Error("the server speaks Socket.IO 2"));
          break;
        case 2 /* EVENT */:
        case 5 /* BINARY_EVENT */: {
          const args = [...data];
          if (id != null) args.push(this._(id));
          if (this.connected) this.O(args);
          else this.receiveBuffer.push(args);
          break;
        }
        case 3 /* ACK */:
        case 6 /* BINARY_ACK */: {
          const ack = this.acks[id];
          if (ack) {
            delete this.acks[id];
            const took = Date.now() - ack.since;
            this.lag = Math.round((this.lag ?? took) * 0.8 + took * 0.2);
            ack.apply(this, ack.withError ? [null, ...data] : data);
          }
          break;
        }
        case 1 /* DISCONNECT */:
          this.A();
          this.b("io server disconnect");
          break;
        case 4 /* CONNECT_ERROR */: {
          this.A();
          const error = new Error(data.message || data);
          error.data = data.data;
          this.a("connect_error", error);
        }
      }
    }
    O(args) {
      for (const fn of this.e.slice()) fn.apply(this, args);
      this.a.apply(this, args);
      const last = args[args.length - 1];
      if (this._pid && typeof last == "string") this._lastOffset = last;
    }
    /** The function a handler answers with; only its first call counts. */
    _(id) {
      let sent = false;
      return (...args) => {
        if (sent) return;
        sent = true;
        this.z({ type: 3 /* ACK */, id, data: args });
      };
    }
    v({ sid, pid }) {
      this.id = sid;
      this.recovered = !!pid && this._pid === pid;
      this._pid = pid;
      this.connected = true;
      for (const args of this.receiveBuffer.splice(0)) this.O(args);
      for (const packet of this.sendBuffer.splice(0)) this.N(packet);
      this.y(true);
      this.a("connect");
    }
    /** Stops to listen to the connection, and ends it if nobody else does. */
    A() {
      this.subs?.forEach((fn) => fn());
      this.subs = void 0;
      this.io._destroy();
    }
    disconnect() {
      const was = this.connected;
      if (was) this.z({ type: 1 /* DISCONNECT */ });
      this.A();
      if (was) this.b("io client disconnect");
      return this;
    }
    close() {
      return this.disconnect();
    }
    compress(compress) {
      this.flags.compress = compress;
      return this;
    }
    get volatile() {
      this.flags.volatile = true;
      return this;
    }
    timeout(ms) {
      this.flags.timeout = ms;
      return this;
    }
    onAny(fn) {
      this.e.push(fn);
      return this;
    }
    prependAny(fn) {
      this.e.unshift(fn);
      return this;
    }
    offAny(fn) {
      this.e = without(this.e, fn);
      return this;
    }
    listenersAny() {
      return this.e;
    }
    onAnyOutgoing(fn) {
      this.f.push(fn);
      return this;
    }
    prependAnyOutgoing(fn) {
      this.f.unshift(fn);
      return this;
    }
    offAnyOutgoing(fn) {
      this.f = without(this.f, fn);
      return this;
    }
    listenersAnyOutgoing() {
      return this.f;
    }
  };

  // src/manager.ts
  var on = (to, event, fn) => {
    to.on(event, fn);
    return () => to.off(event, fn);
  };
  var defaults = {
    path: "/socket.io",
    reconnection: true,
    reconnectionAttempts: Infinity,
    reconnectionDelay: 1e3,
    reconnectionDelayMax: 5e3,
    randomizationFactor: 0.5,
    timeout: 2e4,
    autoConnect: true,
    parser: { Encoder, Decoder }
  };
  var Manager = class extends Emitter {
    // the program does not want to be connected
    constructor(uri, opts) {
      super();
      this.nsps = {};
      this._readyState = "closed";
      this._reconnecting = false;
      this.g = [];
      this.c = 0;
      this.d = false;
      if (uri && typeof uri == "object") [uri, opts] = [void 0, uri];
      this.uri = uri;
      this.opts = opts = { ...opts };
      for (const key of Object.keys(defaults)) if (/Att|Del/.test(key) ? !opts[key] : opts[key] == null) opts[key] = defaults[key];
      this.encoder = new opts.parser.Encoder();
      this.decoder = new opts.parser.Decoder();
      if (opts.autoConnect) this.open();
    }
    get _autoConnect() {
      return this.opts.autoConnect;
    }
    open(fn, again) {
      if (this._readyState.startsWith("open")) return this;
      let engine;
      if (!again) this._reconnecting = false;
      this.d = false;
      this._readyState = "opening";
      const failed = (error) => {
        this.B();
        this._readyState = "closed";
        this.a("error", error);
        if (fn) fn(error);
        else if (this.opts.reconnection) this.C();
      };
      try {
        engine = this.engine = new Engine(this.uri, this.opts);
      } catch (e) {
        setTimeout(() => failed(e));
        return this;
      }
      const { timeout } = this.opts;
      this.g.push(
        on(engine, "open", () => {
          this.m();
          fn?.();
        }),
        on(engine, "error", failed),
        on(engine, "close", (reason) => failed(new Error(reason)))
      );
      if (timeout !== false) {
        const timer = this.P(() => {
          failed(new Error("timeout"));
          engine.close();
        }, timeout);
        this.g.push(() => clearTimeout(timer));
      }
      return this;
    }
    connect(fn) {
      return this.open(fn);
    }
    P(fn, ms) {
      const timer = setTimeout(fn, ms);
      if (this.opts.autoUnref) timer.unref?.();
      return timer;
    }
    m() {
      this.B();
      this._readyState = "open";
      this.a("open");
      const { engine } = this;
      this.g.push(
        on(engine, "ping", () => this.a("ping")),
        on(engine, "data", (data) => {
          try {
            this.decoder.add(data);
          } catch (e) {
            this.b("parse error", e);
          }
        }),
        on(engine, "error", (e) => this.a("error", e)),
        on(engine, "close", (reason, details) => this.b(reason, details)),
        on(this.decoder, "decoded", (packet) => {
          queueMicrotask(() => this.a("packet", packet));
        })
      );
    }
    /** The socket of a namespace. */
    socket(nsp, opts) {
      let s = this.nsps[nsp];
      if (!s) s = this.nsps[nsp] = new Socket(this, nsp, opts);
      else if (this._autoConnect && !s.active) s.connect();
      return s;
    }
    /** Closes the connection when the last socket has left. */
    _destroy() {
      for (const nsp of Object.keys(this.nsps)) if (this.nsps[nsp].active) return;
      this._close();
    }
    _packet(packet) {
      for (const part of this.encoder.encode(packet)) this.engine.write(part, packet.options);
    }
    B() {
      for (const fn of this.g.splice(0)) fn();
      this.decoder.destroy();
    }
    _close() {
      this.d = true;
      this._reconnecting = false;
      this.b("forced close");
    }
    disconnect() {
      this._close();
    }
    b(reason, details) {
      this.B();
      this.engine?.close();
      this.c = 0;
      this._readyState = "closed";
      this.a("close", reason, details);
      if (this.opts.reconnection && !this.d) this.C();
    }
    /**
     * The pause before the next attempt: it doubles up to a cap, and is random
     * between bounds that the cap moves down, so that clients that lost the same
     * server do not come back in step.
     */
    $() {
      const { reconnectionDelay: first, reconnectionDelayMax: cap, randomizationFactor: spread } = this.opts;
      const d = first * 2 ** this.c;
      const low = Math.min(d, cap) * (1 - spread);
      const high = Math.min(d * (1 + spread), cap);
      return low + Math.random() * (high - low);
    }
    C() {
      if (this._reconnecting || this.d) return;
      if (this.c >= this.opts.reconnectionAttempts) {
        this.c = 0;
        this.a("reconnect_failed");
        return;
      }
      const delay = this.$();
      this._reconnecting = true;
      const timer = this.P(() => {
        if (this.d || !this._reconnecting) return;
        this.c++;
        this.a("reconnect_attempt", this.c);
        if (this.d) return;
        this.open((error) => {
          this._reconnecting = false;
          if (error) {
            this.C();
            this.a("reconnect_error", error);
          } else {
            const attempt = this.c;
            this.c = 0;
            this.a("reconnect", attempt);
          }
        }, true);
      }, delay);
      this.g.push(() => clearTimeout(timer));
    }
  };
  for (const name of ["reconnection", "reconnectionAttempts", "reconnectionDelay", "reconnectionDelayMax", "randomizationFactor", "timeout"]) {
    Manager.prototype[name] = function(v) {
      if (v === void 0) return this.opts[name];
      this.opts[name] = v;
      if (v === false && name == "reconnection") this.d = true;
      return this;
    };
  }

  // src/index.ts
  var managers = {};
  var page = typeof location == "undefined" ? { protocol: "https:", host: "" } : location;
  function lookup(uri, opts) {
    if (uri && typeof uri == "object") [uri, opts] = [void 0, uri];
    opts = { ...opts, path: opts?.path || defaults.path };
    uri ||= page.host;
    if (/^\/(?!\/)/.test(uri)) uri = page.host + uri;
    if (!/^(http|ws)s?:/.test(uri)) uri = page.protocol + "//" + uri.replace(/^\/\//, "");
    const u = new URL(uri);
    const nsp = /\/\/[^/?#]*([^?#]*)/.exec(uri)[1] || "/";
    const source = u.protocol + "//" + u.host;
    const id = source + opts.path;
    const fresh = opts.forceNew || opts["force new connection"] || opts.multiplex === false || nsp in (managers[id]?.nsps || {});
    if (u.search && !opts.query) opts.query = decode(u.search);
    const manager = fresh ? new Manager(source, opts) : managers[id] ||= new Manager(source, opts);
    return manager.socket(nsp, opts);
  }
  var io = Object.assign(lookup, { Manager, Socket, io: lookup, connect: lookup, protocol, Transport, transports });
  var index_default = io;

  // src/global.ts
  globalThis.io = index_default;
})();
//# sourceMappingURL=socket.io.js.map
