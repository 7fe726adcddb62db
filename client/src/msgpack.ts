import { Emitter } from "./emitter";

// The packets of Socket.IO as MessagePack, in the form of socket.io-msgpack-parser:
// one binary message for each, binary values in place.

export const protocol = 5;

const utf8 = new TextEncoder();
const text = new TextDecoder();
const tooDeep = 128;

/** A buffer that grows. */
class Writer {
  private bytes_ = new Uint8Array(256);
  private view_ = new DataView(this.bytes_.buffer);
  private at_ = 0;

  /** Makes room for n bytes and returns where it begins. */
  private room_(n: number): number {
    const at = this.at_;
    this.at_ += n;
    if (this.at_ > this.bytes_.length) {
      const old = this.bytes_;
      this.bytes_ = new Uint8Array(Math.max(this.at_, 2 * old.length));
      this.bytes_.set(old);
      this.view_ = new DataView(this.bytes_.buffer);
    }
    return at;
  }

  result_(): ArrayBuffer {
    return this.bytes_.buffer.slice(0, this.at_);
  }

  private byte_(v: number): void {
    const at = this.room_(1);
    this.view_.setUint8(at, v);
  }

  private raw_(b: Uint8Array): void {
    const at = this.room_(b.length);
    this.bytes_.set(b, at);
  }

  /** A header: a short form when there is one for n, else 8, 16 or 32 bits. */
  private head_(n: number, short: number, shortMax: number, code: number, has8: boolean): void {
    if (n <= shortMax) return this.byte_(short | n);
    if (has8 && n < 256) {
      this.byte_(code);
      return this.byte_(n);
    }
    const wide = n > 0xffff;
    this.byte_(code + +has8 + +wide);
    const at = this.room_(wide ? 4 : 2);
    wide ? this.view_.setUint32(at, n) : this.view_.setUint16(at, n);
  }

  private number_(v: number): void {
    if (Number.isInteger(v) && !Object.is(v, -0)) {
      if (v >= -32 && v < 128) return this.byte_(v & 0xff);
      if (v > 0 && v <= 0xffffffff) {
        const size = v < 256 ? 0 : v < 65536 ? 1 : 2;
        this.byte_(0xcc + size);
        const at = this.room_(1 << size);
        return size == 0 ? this.view_.setUint8(at, v) : size == 1 ? this.view_.setUint16(at, v) : this.view_.setUint32(at, v);
      }
      if (v < 0 && v >= -0x80000000) {
        this.byte_(0xd2);
        const at = this.room_(4);
        return this.view_.setInt32(at, v);
      }
      if (Number.isSafeInteger(v)) {
        this.byte_(0xd3);
        const at = this.room_(8);
        return this.view_.setBigInt64(at, BigInt(v));
      }
    }
    this.byte_(0xcb);
    const at = this.room_(8);
    this.view_.setFloat64(at, v);
  }

  value_(v: any, depth = 0): void {
    if (depth > tooDeep) throw new Error("nested too deeply");
    if (v && typeof v.toJSON == "function") v = v.toJSON();
    switch (typeof v) {
      case "string": {
        const b = utf8.encode(v);
        this.head_(b.length, 0xa0, 31, 0xd9, true);
        return this.raw_(b);
      }
      case "number":
        return this.number_(v);
      case "bigint":
        return this.number_(Number(v));
      case "boolean":
        return this.byte_(v ? 0xc3 : 0xc2);
      case "object":
        if (v) return this.object_(v, depth);
    }
    this.byte_(0xc0);
  }

  private object_(v: any, depth: number): void {
    if (v instanceof ArrayBuffer || ArrayBuffer.isView(v)) {
      const b = v instanceof ArrayBuffer ? new Uint8Array(v) : new Uint8Array(v.buffer, v.byteOffset, v.byteLength);
      this.head_(b.length, 0, -1, 0xc4, true);
      return this.raw_(b);
    }
    if (Array.isArray(v)) {
      this.head_(v.length, 0x90, 15, 0xdc, false);
      for (const item of v) this.value_(item, depth + 1);
      return;
    }
    const keys = Object.keys(v).filter((key) => v[key] !== undefined && typeof v[key] != "function");
    this.head_(keys.length, 0x80, 15, 0xde, false);
    for (const key of keys) {
      this.value_(key);
      this.value_(v[key], depth + 1);
    }
  }
}

class Reader {
  private at_ = 0;
  private view_: DataView;

  constructor(private bytes_: Uint8Array) {
    this.view_ = new DataView(bytes_.buffer, bytes_.byteOffset, bytes_.byteLength);
  }

  done_(): boolean {
    return this.at_ == this.bytes_.length;
  }

  /** An unsigned number of 1 << size bytes. */
  private uint_(size: number): number {
    const at = this.at_;
    this.at_ += 1 << size;
    const { view_ } = this;
    return size == 0 ? view_.getUint8(at) : size == 1 ? view_.getUint16(at) : size == 2 ? view_.getUint32(at) : Number(view_.getBigUint64(at));
  }

  private take_(n: number): Uint8Array {
    const at = this.at_;
    this.at_ += n;
    if (this.at_ > this.bytes_.length) throw new RangeError("truncated");
    return this.bytes_.subarray(at, this.at_);
  }

  private list_(n: number, depth: number): any[] {
    const out = [];
    while (n-- > 0) out.push(this.value_(depth));
    return out;
  }

  private map_(n: number, depth: number): any {
    const out: any = {};
    while (n-- > 0) {
      const key = this.value_(depth);
      // Plain assignment to __proto__ would set a prototype.
      Object.defineProperty(out, key, { value: this.value_(depth), enumerable: true, configurable: true, writable: true });
    }
    return out;
  }

  value_(depth = 0): any {
    if (depth > tooDeep) throw new Error("nested too deeply");
    const b = this.uint_(0);
    if (b < 0x80) return b;
    if (b < 0x90) return this.map_(b & 15, depth + 1);
    if (b < 0xa0) return this.list_(b & 15, depth + 1);
    if (b < 0xc0) return text.decode(this.take_(b & 31));
    if (b > 0xdf) return b - 256;
    const { view_ } = this;
    const at = this.at_;
    switch (b) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return b == 0xc3;
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        const bin = this.take_(this.uint_(b - 0xc4));
        return bin.slice().buffer;
      }
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.ext_(this.uint_(b - 0xc7));
      case 0xca:
        this.at_ += 4;
        return view_.getFloat32(at);
      case 0xcb:
        this.at_ += 8;
        return view_.getFloat64(at);
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.uint_(b - 0xcc);
      case 0xd0:
        this.at_ += 1;
        return view_.getInt8(at);
      case 0xd1:
        this.at_ += 2;
        return view_.getInt16(at);
      case 0xd2:
        this.at_ += 4;
        return view_.getInt32(at);
      case 0xd3:
        this.at_ += 8;
        return Number(view_.getBigInt64(at));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return text.decode(this.take_(this.uint_(b - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.list_(this.uint_(b - 0xdb), depth + 1);
      case 0xde:
      case 0xdf:
        return this.map_(this.uint_(b - 0xdd), depth + 1);
    }
    if (b >= 0xd4) return this.ext_(1 << (b - 0xd4), b == 0xd4);
    throw new Error("invalid byte " + b);
  }

  /** The extensions the reference's parser writes: undefined, buffers and times. */
  private ext_(n: number, fixed?: boolean): any {
    const type = this.take_(1)[0];
    const b = this.take_(n).slice();
    if (type == 0) return fixed ? undefined : b.buffer;
    if (type != 0xff) return [type, b.buffer];
    const v = new DataView(b.buffer);
    if (n == 4) return new Date(v.getUint32(0) * 1e3);
    if (n == 12) return new Date(Number(v.getBigInt64(4)) * 1e3 + v.getUint32(0) / 1e6);
    const both = v.getBigUint64(0);
    return new Date(Number(both & 0x3ffffffffn) * 1e3 + Number(both >> 34n) / 1e6);
  }
}

export class Encoder {
  encode({ type, nsp, data, id }: any): ArrayBuffer[] {
    const w = new Writer();
    w.value_({ type, data, nsp, id });
    return [w.result_()];
  }
}

const isObject = (v: any) => Object.prototype.toString.call(v) == "[object Object]";

/** Emits "decoded"; add throws when a message is no packet. */
export class Decoder extends Emitter {
  add(message: any): void {
    if (typeof message == "string") throw new Error("got text");
    const bytes = ArrayBuffer.isView(message)
      ? new Uint8Array(message.buffer, message.byteOffset, message.byteLength)
      : new Uint8Array(message);
    const r = new Reader(bytes);
    const p = r.value_();
    const ok =
      r.done_() &&
      isObject(p) &&
      Number.isInteger(p.type) &&
      typeof p.nsp == "string" &&
      (p.id === undefined || Number.isInteger(p.id)) &&
      [() => p.data === undefined || isObject(p.data), () => p.data === undefined, () => Array.isArray(p.data), () => Array.isArray(p.data), () => typeof p.data == "string" || isObject(p.data)][p.type]?.();
    if (!ok) throw new Error("invalid packet");
    this.fire_("decoded", p);
  }

  destroy(): void {}
}
