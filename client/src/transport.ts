import { Emitter } from "./emitter";

// The transports of the Engine.IO protocol, revision 4 (engine.io-protocol).

/** One Engine.IO packet: its type digit, and text or bytes. */
export interface Message {
  type: string; // "" for binary
  data: any;
  options?: any;
}

export class TransportError extends Error {
  readonly type = "TransportError";
  constructor(
    message: string,
    readonly description?: any,
    readonly context?: any,
  ) {
    super(message);
  }
}

/**
 * A way to carry messages. Its events are open, packet(Message), drain, error,
 * close(details) and, for polling, pollComplete.
 */
export abstract class Transport extends Emitter {
  abstract get name(): string;
  readyState = "";
  writable = false;
  query: Record<string, any>;

  constructor(readonly opts: any) {
    super();
    this.query = opts.query;
  }

  open(): this {
    this.readyState = "opening";
    this.doOpen();
    return this;
  }

  close(): this {
    if (this.readyState == "opening" || this.readyState == "open") {
      this.doClose();
      this.onClose();
    }
    return this;
  }

  /** Sends messages; the caller waits for writable. */
  send(list: Message[]): void {
    if (this.readyState == "open") {
      this.writable = false;
      this.write(list);
    }
  }

  abstract doOpen(): void;
  abstract doClose(): void;
  abstract write(list: Message[]): void;

  /** Waits until nothing is under way. */
  pause(done: () => void): void {
    done();
  }

  protected onOpen(): void {
    this.readyState = "open";
    this.writable = true;
    this.fire_("open");
  }

  protected onClose(details?: any): void {
    this.readyState = "closed";
    this.writable = false;
    this.fire_("close", details);
  }

  protected onError(reason: string, description?: any, context?: any): void {
    this.fire_("error", new TransportError(reason, description, context));
  }

  /** Takes a message in text form, or bytes. */
  protected onMessage(data: any): void {
    this.fire_("packet", typeof data == "string" ? { type: data[0], data: data.slice(1) } : { type: "4", data });
  }

  protected uri(scheme: string): string {
    const { opts } = this;
    const query: Record<string, any> = { ...this.query };
    if (opts.timestampRequests ?? scheme == "http") query[opts.timestampParam] = stamp();
    const port = opts.port && +opts.port != (opts.secure ? 443 : 80) ? ":" + opts.port : "";
    const host = opts.hostname.includes(":") && opts.hostname[0] != "[" ? `[${opts.hostname}]` : opts.hostname;
    const search = Object.keys(query)
      .map((key) => encodeURIComponent(key) + "=" + encodeURIComponent(query[key]))
      .join("&");
    return `${scheme}${opts.secure ? "s" : ""}://${host}${port}${opts.path}${search && "?" + search}`;
  }
}

const stamp = () => Date.now().toString(36).slice(3) + Math.random().toString(36).slice(2, 7);

const toBase64 = async (data: any): Promise<string> => {
  const bytes: any = new Uint8Array(await new Blob([data]).arrayBuffer());
  let text = "";
  // In pieces: the arguments of a call are limited.
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192));
  return "b" + btoa(text);
};

const fromBase64 = (text: string): ArrayBuffer => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;

const separator = "\x1e";

/** HTTP long-polling. */
export class Polling extends Transport {
  get name() {
    return "polling";
  }
  private polling_ = false;
  private cancel_ = new AbortController();

  doOpen(): void {
    this.poll_();
  }

  override pause(done: () => void): void {
    this.readyState = "pausing";
    let waiting = 1;
    const step = () => {
      if (!--waiting) {
        this.readyState = "paused";
        done();
      }
    };
    if (this.polling_) {
      waiting++;
      this.once("pollComplete", step);
    }
    if (!this.writable) {
      waiting++;
      this.once("drain", step);
    }
    step();
  }

  private async poll_(): Promise<void> {
    this.polling_ = true;
    const text = await this.request_("GET");
    if (text === undefined) return;
    for (const part of text.split(separator)) {
      if ((this.readyState as string) == "closed") return;
      if (this.readyState == "opening" && part[0] == "0") this.onOpen();
      if (part[0] == "1") return this.onClose({ description: "transport closed by the server" });
      let data: any = part;
      if (part[0] == "b") {
        try {
          data = fromBase64(part.slice(1));
        } catch {
          data = ""; // which is no packet
        }
      }
      this.onMessage(data);
    }
    this.polling_ = false;
    this.fire_("pollComplete");
    if (this.readyState == "open") this.poll_();
  }

  doClose(): void {
    const abort = () => this.cancel_.abort();
    this.readyState == "open" ? this.write([{ type: "1", data: "" }]).then(abort) : abort();
  }

  async write(list: Message[]): Promise<void> {
    this.writable = false;
    if ((await this.request_("POST", list)) !== undefined) {
      this.writable = true;
      this.fire_("drain");
    }
  }

  /** Makes one request. After a failure, which is an event, it returns nothing. */
  private async request_(method: string, list?: Message[]): Promise<string | undefined> {
    const { opts } = this;
    const last = list?.[0].type == "1";
    const timer = opts.requestTimeout && setTimeout(() => this.cancel_.abort(), opts.requestTimeout);
    let status = 0;
    let context: any;
    try {
      const body = list && (await Promise.all(list.map((m) => (typeof m.data == "string" ? m.type + m.data : toBase64(m.data)))));
      const response = await fetch(this.uri("http"), {
        method,
        body: body?.join(separator),
        headers: opts.extraHeaders,
        signal: last ? null : this.cancel_.signal,
        keepalive: last, // the page may be on its way out
        cache: "no-store",
        credentials: opts.withCredentials ? "include" : "same-origin",
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
    // Out of the try: what listeners throw is theirs.
    if (this.readyState != "closed") this.onError(`xhr ${list ? "post" : "poll"} error`, status, context);
  }
}

/** WebSocket. */
export class WS extends Transport {
  get name() {
    return "websocket";
  }
  ws?: WebSocket;

  doOpen(): void {
    const { opts } = this;
    let ws: WebSocket;
    try {
      // Only implementations outside of browsers look at the third argument.
      ws = new (WebSocket as any)(this.uri("ws"), opts.protocols || [], { headers: opts.extraHeaders });
    } catch (e) {
      this.fire_("error", e);
      return;
    }
    this.ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onopen = () => this.onOpen();
    ws.onclose = (e) => this.onClose({ description: "websocket connection closed", context: e });
    ws.onmessage = (e) => this.onMessage(e.data);
    ws.onerror = (e) => this.onError("websocket error", e);
  }

  write(list: Message[]): void {
    for (const m of list) {
      try {
        this.ws!.send(typeof m.data == "string" ? m.type + m.data : m.data);
      } catch {
        // Closing: onclose follows.
      }
    }
    // No timer: in hidden pages they are late by seconds.
    queueMicrotask(() => {
      this.writable = this.readyState == "open";
      if (this.writable) this.fire_("drain");
    });
  }

  doClose(): void {
    const ws = this.ws;
    if (ws) {
      ws.onopen = ws.onclose = ws.onmessage = null;
      ws.onerror = () => {};
      ws.close();
      this.ws = undefined;
    }
  }
}
