// The types of the client. Events can be typed on both sides:
//
//   interface FromServer { news: (text: string) => void }
//   interface FromClient { vote: (id: number, ack: (ok: boolean) => void) => void }
//   const socket: Socket<FromServer, FromClient> = io();

type Fn = (...args: any[]) => any;
type Events = Record<string, any>;
type Default = { [event: string]: Fn };
type Params<M, E extends keyof M> = M[E] extends (...args: infer A) => any ? A : any[];
type Last<A extends any[]> = A extends [...any[], infer L] ? L : never;
type AllButLast<A extends any[]> = A extends [...infer H, any] ? H : A;
type Answer<F> = F extends (error: Error, answer: infer R) => any ? R : F extends (answer: infer R) => any ? R : any;

/** Events a socket has by itself. */
export interface ReservedEvents {
  connect: () => void;
  connect_error: (error: ConnectError) => void;
  disconnect: (reason: DisconnectReason, details?: DisconnectDescription) => void;
}

export type DisconnectReason =
  | "io server disconnect"
  | "io client disconnect"
  | "ping timeout"
  | "transport close"
  | "transport error"
  | "parse error"
  | "forced close";

export type DisconnectDescription = Error | { description: string; context?: unknown };

/** Why a connection failed; data is what the server's middleware added. */
export interface ConnectError extends Error {
  data?: any;
  description?: any;
  context?: any;
}

declare class Emitter<Listen extends Events, Reserved extends Events> {
  on<E extends keyof (Listen & Reserved) & string>(event: E, fn: E extends keyof Reserved ? Reserved[E] : Listen[E]): this;
  once<E extends keyof (Listen & Reserved) & string>(event: E, fn: E extends keyof Reserved ? Reserved[E] : Listen[E]): this;
  off<E extends keyof (Listen & Reserved) & string>(event?: E, fn?: E extends keyof Reserved ? Reserved[E] : Listen[E]): this;
  addListener: this["on"];
  addEventListener: this["on"];
  removeListener: this["off"];
  removeEventListener: this["off"];
  removeAllListeners: this["off"];
  listeners(event: string): Fn[];
  hasListeners(event: string): boolean;
}

/** Options of one socket. */
export interface SocketOptions {
  /** Credentials for the server, or a function that fetches them for every connection. */
  auth?: Record<string, any> | ((cb: (auth: object) => void) => void);
  /** How often an emit is repeated until it is acknowledged. */
  retries?: number;
  /** How long to wait for an acknowledgement, in milliseconds. */
  ackTimeout?: number;
}

/** Options of a connection. Times are in milliseconds. */
export interface ManagerOptions {
  /** Default "/socket.io". */
  path?: string;
  /** In the order to try them. Default polling, then an upgrade to websocket. */
  transports?: (string | (new (...args: any[]) => Transport))[];
  upgrade?: boolean;
  rememberUpgrade?: boolean;
  tryAllTransports?: boolean;
  query?: Record<string, any> | string;
  extraHeaders?: Record<string, string>;
  withCredentials?: boolean;
  requestTimeout?: number;
  timestampRequests?: boolean;
  timestampParam?: string;
  addTrailingSlash?: boolean;
  closeOnBeforeunload?: boolean;
  protocols?: string | string[];
  transportOptions?: Record<string, any>;
  hostname?: string;
  port?: string | number;
  secure?: boolean;
  autoUnref?: boolean;
  autoConnect?: boolean;
  /** Default true. */
  reconnection?: boolean;
  /** Default: without end. */
  reconnectionAttempts?: number;
  /** The first pause; it doubles. Default 1000. */
  reconnectionDelay?: number;
  /** No pause is longer. Default 5000. */
  reconnectionDelayMax?: number;
  /** How far a pause may be off, 0 to 1. Default 0.5. */
  randomizationFactor?: number;
  /** For one attempt to connect; false: none. Default 20000. */
  timeout?: number | false;
  parser?: any;
  /** A connection of its own. */
  forceNew?: boolean;
  multiplex?: boolean;
}

/** What carries messages. */
export abstract class Transport extends Emitter<Default, {}> {
  abstract readonly name: string;
  readonly query: Record<string, any>;
  readonly opts: any;
  readyState: string;
  writable: boolean;
}

/** One connection, shared by the sockets of all namespaces. */
export class Manager extends Emitter<
  Default,
  {
    open: () => void;
    error: (error: ConnectError) => void;
    ping: () => void;
    close: (reason: string, details?: DisconnectDescription) => void;
    reconnect: (attempt: number) => void;
    reconnect_attempt: (attempt: number) => void;
    reconnect_error: (error: ConnectError) => void;
    reconnect_failed: () => void;
  }
> {
  constructor(uri?: string | Partial<ManagerOptions>, opts?: Partial<ManagerOptions>);
  readonly engine: any;
  open(fn?: (error?: Error) => void): this;
  connect(fn?: (error?: Error) => void): this;
  socket(nsp: string, opts?: SocketOptions): Socket;
  reconnection(): boolean;
  reconnection(v: boolean): this;
  reconnectionAttempts(): number;
  reconnectionAttempts(v: number): this;
  reconnectionDelay(): number;
  reconnectionDelay(v: number): this;
  reconnectionDelayMax(): number;
  reconnectionDelayMax(v: number): this;
  randomizationFactor(): number;
  randomizationFactor(v: number): this;
  timeout(): number | false;
  timeout(v: number | false): this;
}

/** One namespace of one connection. */
export class Socket<Listen extends Events = Default, Emit extends Events = Listen> extends Emitter<Listen, ReservedEvents> {
  readonly io: Manager;
  readonly nsp: string;
  /** Undefined while not connected. */
  id: string | undefined;
  readonly connected: boolean;
  readonly disconnected: boolean;
  /** Whether the last connection resumed the session before it, and nothing was missed. */
  readonly recovered: boolean;
  /** Whether it is connected or will try to be. */
  readonly active: boolean;
  auth: SocketOptions["auth"];
  /** Smoothed time until an emit is acknowledged, in milliseconds; undefined before the first. */
  readonly lag: number | undefined;
  /** How long the oldest unsent packet of the connection has been waiting, in milliseconds. */
  readonly slow: number;
  readonly receiveBuffer: ReadonlyArray<ReadonlyArray<any>>;
  readonly sendBuffer: ReadonlyArray<any>;
  connect(): this;
  open(): this;
  disconnect(): this;
  close(): this;
  emit<E extends keyof Emit & string>(event: E, ...args: Params<Emit, E>): this;
  emitWithAck<E extends keyof Emit & string>(event: E, ...args: AllButLast<Params<Emit, E>>): Promise<Answer<Last<Params<Emit, E>>>>;
  send(...args: any[]): this;
  compress(compress: boolean): this;
  /** The next emit may be lost when the connection is not ready. */
  readonly volatile: this;
  /** The acknowledgement of the next emit fails after ms. */
  timeout(ms: number): this;
  onAny(fn: (event: string, ...args: any[]) => void): this;
  prependAny(fn: (event: string, ...args: any[]) => void): this;
  offAny(fn?: Fn): this;
  listenersAny(): Fn[];
  onAnyOutgoing(fn: (event: string, ...args: any[]) => void): this;
  prependAnyOutgoing(fn: (event: string, ...args: any[]) => void): this;
  offAnyOutgoing(fn?: Fn): this;
  listenersAnyOutgoing(): Fn[];
}

export const protocol: number;
/** The transports that options can name. */
export const transports: Record<string, new (...args: any[]) => Transport>;

/** Connects to the server the page came from, or to uri; its path is the namespace. */
declare function lookup(opts?: Partial<ManagerOptions & SocketOptions>): Socket<any, any>;
declare function lookup(uri: string, opts?: Partial<ManagerOptions & SocketOptions>): Socket<any, any>;

declare namespace lookup {
  export { lookup as io, lookup as connect };
}

export { lookup as io, lookup as connect };
export default lookup;
