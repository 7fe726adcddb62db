// WebTransport, an addition to the client: it is handed the client it extends,
// because the bundles are separate files.

/** Adds the transport to a client that has none: extend(io). */
export function extend(io: any): void {
  if (typeof (globalThis as any).WebTransport != "function") return;

  class WT extends io.Transport {
    get name() {
      return "webtransport";
    }
    private session_: any;
    private writer_: any;

    doOpen(): void {
      const url = (this as any).uri("https");
      try {
        this.session_ = new (globalThis as any).WebTransport(url.replace(/^https+:/, "https:").replace(/\?.*/, ""), this.opts.transportOptions?.webtransport);
      } catch (e) {
        this.fail_(e);
        return;
      }
      this.session_.closed.then(
        () => this.onClose(),
        (e: any) => this.fail_(e),
      );
      this.session_.ready.then(() => this.stream_()).catch((e: any) => this.fail_(e));
    }

    private fail_(e: any): void {
      if (this.readyState != "closed") this.onError("webtransport error", e);
    }

    private async stream_(): Promise<void> {
      const stream = await this.session_.createBidirectionalStream();
      this.writer_ = stream.writable.getWriter();
      this.read_(stream.readable.getReader()).catch((e) => this.fail_(e));
      const { sid } = this.query;
      await this.writer_.write(frame(new TextEncoder().encode("0" + (sid ? JSON.stringify({ sid }) : "")), false));
      this.onOpen();
    }

    private async read_(reader: any): Promise<void> {
      let buffered = new Uint8Array(0);
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const joined = new Uint8Array(buffered.length + value.length);
        joined.set(buffered);
        joined.set(value, buffered.length);
        buffered = joined;
        for (let f; (f = parse(buffered)); ) {
          buffered = buffered.slice(f.end);
          this.onMessage(f.binary ? f.payload.slice().buffer : new TextDecoder().decode(f.payload));
        }
      }
    }

    async write(list: any[]): Promise<void> {
      this.writable = false;
      try {
        for (const m of list) {
          const text = typeof m.data == "string";
          const data = text
            ? new TextEncoder().encode(m.type + m.data)
            : ArrayBuffer.isView(m.data)
              ? new Uint8Array(m.data.buffer, m.data.byteOffset, m.data.byteLength)
              : new Uint8Array(m.data.arrayBuffer ? await m.data.arrayBuffer() : m.data);
          await this.writer_.write(frame(data, !text));
        }
      } catch (e) {
        this.fail_(e);
        return;
      }
      this.writable = true;
      this.emit("drain");
    }

    doClose(): void {
      this.session_?.close();
    }
  }
  io.transports.webtransport = WT;
}

/** A payload behind its length; the first bit says whether it is binary. */
function frame(payload: Uint8Array, binary: boolean): Uint8Array {
  const n = payload.length;
  const size = n < 126 ? 1 : n < 65536 ? 3 : 9;
  const out = new Uint8Array(size + n);
  const view = new DataView(out.buffer);
  if (size == 3) view.setUint16(1, n);
  if (size == 9) view.setBigUint64(1, BigInt(n));
  out[0] = (size == 1 ? n : size == 3 ? 126 : 127) | (binary ? 0x80 : 0);
  out.set(payload, size);
  return out;
}

function parse(b: Uint8Array): { binary: boolean; payload: Uint8Array; end: number } | undefined {
  if (!b.length) return;
  const view = new DataView(b.buffer, b.byteOffset, b.length);
  const short = b[0] & 0x7f;
  const start = short < 126 ? 1 : short == 126 ? 3 : 9;
  if (b.length < start) return;
  const n = start == 1 ? short : start == 3 ? view.getUint16(1) : Number(view.getBigUint64(1));
  if (!n || n > 2 ** 31) throw new Error("invalid frame");
  const end = start + n;
  if (b.length >= end) return { binary: b[0] > 127, payload: b.subarray(start, end), end };
}
