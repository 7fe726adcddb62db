import { Emitter } from "./emitter";

// The Socket.IO protocol, revision 5 (socket.io-protocol).

export const protocol = 5;

export const enum PacketType {
  CONNECT,
  DISCONNECT,
  EVENT,
  ACK,
  CONNECT_ERROR,
  BINARY_EVENT,
  BINARY_ACK,
}

export interface Packet {
  type: PacketType;
  nsp: string;
  data?: any;
  id?: number;
  attachments?: number;
  options?: any;
}

const reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

export const isReserved = (event: any) => reserved.includes(event);

const isBinary = (v: any): boolean =>
  v instanceof ArrayBuffer ||
  ArrayBuffer.isView(v) ||
  (typeof Blob == "function" && v instanceof Blob);

const maxAttachments = 1000;

/** Turns packets into what goes over the wire. */
export class Encoder {
  constructor(private replacer_?: (this: any, key: string, value: any) => any) {}

  encode(p: Packet): any[] {
    const out: any[] = [""];
    let { type, data } = p;
    if (type == PacketType.EVENT || type == PacketType.ACK) {
      data = extract(data, out);
      if (out.length > 1) type += 3; // BINARY_EVENT, BINARY_ACK
    }
    out[0] =
      type +
      (out.length > 1 ? out.length - 1 + "-" : "") +
      (p.nsp && p.nsp != "/" ? p.nsp + "," : "") +
      (p.id ?? "") +
      (data == null ? "" : JSON.stringify(data, this.replacer_));
    return out;
  }
}

/** Replaces binary values by placeholders. Untouched values are not copied. */
function extract(v: any, out: any[]): any {
  if (!v || typeof v != "object") return v;
  if (isBinary(v)) return { _placeholder: true, num: out.push(v) - 2 };
  if (typeof v.toJSON == "function") {
    // Only what toJSON gives can hold binary values; JSON.stringify calls it again otherwise.
    const plain = v.toJSON();
    const before = out.length;
    const seen = extract(plain, out);
    return out.length > before ? seen : v;
  }
  const copy: any = Array.isArray(v) ? [] : {};
  let changed = false;
  for (const key of Object.keys(v)) {
    copy[key] = extract(v[key], out);
    changed ||= copy[key] !== v[key];
  }
  return changed ? copy : v;
}

/** Puts the binary values back in place. */
function restore(v: any, bins: any[]): any {
  if (v && v._placeholder === true) {
    if (typeof v.num == "number" && v.num in bins) return bins[v.num];
    throw new Error("illegal attachments");
  }
  if (v && typeof v == "object") for (const key of Object.keys(v)) v[key] = restore(v[key], bins);
  return v;
}

/** Turns what comes over the wire into packets: listen to "decoded". */
export class Decoder extends Emitter {
  private pending_?: Packet;
  private bins_: any[] = [];

  constructor(private reviver_?: (this: any, key: string, value: any) => any) {
    super();
  }

  /** Takes a text or a binary message, and throws when it cannot come here. */
  add(message: any): void {
    const p = this.pending_;
    if (typeof message == "string") {
      if (p) throw new Error("got plaintext data when reconstructing a packet");
      const packet = this.decode_(message);
      if (packet.attachments) this.pending_ = packet;
      else this.fire_("decoded", packet);
    } else {
      if (!p) throw new Error("got binary data when not reconstructing a packet");
      if (this.bins_.push(message) == p.attachments) {
        const bins = this.bins_;
        this.destroy();
        p.data = restore(p.data, bins);
        delete p.attachments;
        this.fire_("decoded", p);
      }
    }
  }

  destroy(): void {
    this.pending_ = undefined;
    this.bins_ = [];
  }

  private decode_(text: string): Packet {
    const m = /^(?:[0-4]|[56](\d+)-)(?:(\/[^,]*),?)?(\d+)?/.exec(text);
    if (!m) throw new Error("unknown packet type " + text[0]);
    let type = +text[0];
    const packet: Packet = { type, nsp: m[2] || "/" };
    if (m[1]) {
      packet.attachments = +m[1];
      if (!(+m[1] > 0 && +m[1] <= maxAttachments)) throw new Error("illegal attachments");
      packet.type = type -= 3;
    }
    if (m[3]) packet.id = +m[3];
    const rest = text.slice(m[0].length);
    if (rest) {
      try {
        packet.data = JSON.parse(rest, this.reviver_);
      } catch {
        throw new Error("invalid payload");
      }
    }
    if (!valid(type, packet.data)) throw new Error("invalid payload");
    return packet;
  }
}

function valid(type: PacketType, data: any): boolean {
  const isObject = !!data && typeof data == "object" && !Array.isArray(data);
  switch (type) {
    case PacketType.CONNECT:
      return isObject || data === undefined; // a server of version 2 sends none
    case PacketType.DISCONNECT:
      return data === undefined;
    case PacketType.CONNECT_ERROR:
      return isObject || typeof data == "string";
    case PacketType.EVENT:
      return Array.isArray(data) && (typeof data[0] == "number" || (typeof data[0] == "string" && !isReserved(data[0])));
    default:
      return Array.isArray(data);
  }
}
