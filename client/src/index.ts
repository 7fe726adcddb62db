import { decode, Engine, transports } from "./engine";
import { defaults, Manager } from "./manager";
import { protocol } from "./parser";
import { Socket } from "./socket";
import { Polling, Transport, WS } from "./transport";

const managers: Record<string, Manager> = {};

const page = typeof location == "undefined" ? { protocol: "https:", host: "" } : location;

function lookup(uri?: any, opts?: any): Socket {
  if (uri && typeof uri == "object") [uri, opts] = [undefined, uri];
  opts = { ...opts, path: opts?.path || defaults.path };
  // What a page means by an address: relative ones are its own server's.
  uri ||= page.host;
  if (/^\/(?!\/)/.test(uri)) uri = page.host + uri;
  if (!/^(http|ws)s?:/.test(uri)) uri = page.protocol + "//" + uri.replace(/^\/\//, "");
  const u = new URL(uri);
  // Not u.pathname: a namespace is not escaped.
  const nsp = /\/\/[^/?#]*([^?#]*)/.exec(uri)![1] || "/";
  const source = u.protocol + "//" + u.host;
  const id = source + opts.path;
  const fresh = opts.forceNew || opts["force new connection"] || opts.multiplex === false || nsp in (managers[id]?.nsps || {});
  if (u.search && !opts.query) opts.query = decode(u.search);
  const manager = fresh ? new Manager(source, opts) : (managers[id] ||= new Manager(source, opts));
  return manager.socket(nsp, opts);
}

const io: any = Object.assign(lookup, { Manager, Socket, io: lookup, connect: lookup, protocol, Transport, transports });

export { lookup as io, lookup as connect, Manager, Socket, protocol, Engine, Transport, Polling, Polling as Fetch, Polling as XHR, Polling as NodeXHR, WS as WebSocket, WS as NodeWebSocket, transports };
export default io;
