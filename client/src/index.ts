import { Engine, transports } from "./engine";
import { Manager } from "./manager";
import { protocol } from "./parser";
import { Socket } from "./socket";
import { Polling, Transport, WS } from "./transport";

const managers: Record<string, Manager> = {};

/** What a page means by an address: relative ones are its own server's. */
function resolve(uri?: string): URL {
  const here = typeof location == "undefined" ? undefined : location;
  uri ??= here ? here.origin : "";
  if (uri[0] == "/") uri = uri[1] == "/" ? here!.protocol + uri : here!.origin + uri;
  if (!/^(https?|wss?):\/\//.test(uri)) uri = (here ? here.protocol : "https:") + "//" + uri;
  return new URL(uri);
}

function lookup(uri?: any, opts?: any): Socket {
  if (uri && typeof uri == "object") [uri, opts] = [undefined, uri];
  opts = { path: "/socket.io", ...opts };
  const u = resolve(uri);
  const id = u.host + u.protocol + opts.path;
  const nsp = u.pathname || "/";
  const fresh = opts.forceNew || opts["force new connection"] || opts.multiplex === false || nsp in (managers[id]?.nsps || {});
  if (u.search && !opts.query) opts.query = Object.fromEntries(u.searchParams);
  const source = u.origin == "null" ? u.protocol + "//" + u.host : u.origin;
  const manager = fresh ? new Manager(source, opts) : (managers[id] ||= new Manager(source, opts));
  return manager.socket(nsp, opts);
}

const io: any = Object.assign(lookup, { Manager, Socket, io: lookup, connect: lookup, protocol, Transport, transports });

export { lookup as io, lookup as connect, Manager, Socket, protocol, Engine, Transport, Polling, WS as WebSocket, transports };
export default io;
