// The operations of the control endpoint, one function each. A request is the
// decoded JSON body; what a function returns is the result.

export function operations(node) {
  const { io, config, adapter, log, serverSide } = node;
  const nspOf = (q) => io.of(q.nsp ?? "/");

  const local = (q, id = q.id) => {
    const socket = nspOf(q).sockets.get(id);
    if (!socket) throw new Error(`no local socket ${id}`);
    return socket;
  };

  const target = (q) => {
    let op = q.from ? local(q, q.from).broadcast : nspOf(q);
    if (q.to?.length) op = op.to(q.to);
    if (q.except?.length) op = op.except(q.except);
    if (q.local) op = op.local;
    if (q.volatile) op = op.volatile;
    if (q.compress !== undefined) op = op.compress(q.compress);
    if (q.timeout !== undefined) op = op.timeout(q.timeout);
    return op;
  };

  const remote = async (q) => {
    const [socket] = await nspOf(q).in(q.id).fetchSockets();
    if (!socket) throw new Error(`no socket ${q.id}`);
    return socket;
  };

  const remoteActions = {
    emit: (socket, q) => void socket.emit(q.event, ...(q.args ?? [])),
    emitWithAck: (socket, q) => socket.timeout(q.timeout ?? 1000).emitWithAck(q.event, ...(q.args ?? [])),
    join: (socket, q) => void socket.join(q.rooms),
    leave: (socket, q) => void leave(socket, q.rooms),
    disconnect: (socket, q) => void socket.disconnect(q.close ?? false),
  };

  const ops = {
    info: () => ({ impl: "node", name: config.name ?? "", pid: process.pid, adapter: config.adapter ?? "none" }),
    namespace: async (q) => {
      nspOf(q);
      await adapter.ready();
    },
    emit: (q) => void target(q).emit(q.event, ...(q.args ?? [])),
    emitWithAck: (q) =>
      collect((done) => target({ timeout: 1000, ...q }).emit(q.event, ...(q.args ?? []), done)),
    socketsJoin: (q) => void target(q).socketsJoin(q.rooms),
    socketsLeave: (q) => void target(q).socketsLeave(q.rooms),
    disconnectSockets: (q) => void target(q).disconnectSockets(q.close ?? false),
    fetchSockets: async (q) =>
      (await target(q).fetchSockets()).map(({ id, rooms, data, handshake }) => ({
        id, rooms: [...rooms], data, handshake,
      })),
    allRooms: async (q) => [...(await nspOf(q).adapter.allRooms())].sort(),
    serverCount: (q) => nspOf(q).adapter.serverCount(),
    serverSideEmit: (q) => {
      const args = q.args ?? [];
      if (!q.ack) return void nspOf(q).serverSideEmit(q.event, ...args);
      return collect((done) => nspOf(q).serverSideEmit(q.event, ...args, done));
    },
    serverSideListen: (q) => listenServerSide(nspOf(q), q, serverSide),
    serverSideLog: () => serverSide.log.splice(0),
    remote: async (q) => remoteActions[q.do](await remote(q), q),
    sockets: (q) =>
      [...nspOf(q).sockets.values()].map(({ id, rooms, data, handshake, recovered }) => ({
        id, rooms: [...rooms], data, handshake, recovered,
      })),
    join: (q) => void local(q).join(q.rooms),
    leave: (q) => void leave(local(q), q.rooms),
    rooms: (q) => [...local(q).rooms].sort(),
    setData: (q) => void (local(q).data = q.data),
    socketEmit: (q) => void local(q).emit(q.event, ...(q.args ?? [])),
    socketEmitWithAck: (q) => local(q).timeout(q.timeout ?? 1000).emitWithAck(q.event, ...(q.args ?? [])),
    socketDisconnect: (q) => void local(q).disconnect(q.close ?? false),
    log: () => log,
    pending: (q) => ({
      requests: nspOf(q).adapter.requests?.size ?? 0,
      acks: nspOf(q).adapter.ackRequests?.size ?? 0,
    }),
    batch: async (q) => {
      const results = [];
      for (const step of q.ops) results.push(await run(step));
      return results.map((result) => result ?? null);
    },
    stop: () => void setImmediate(node.stop),
  };

  const run = (q) => {
    if (!Object.hasOwn(ops, q.op)) throw new Error(`unknown operation ${q.op}`);
    return ops[q.op](q);
  };
  return run;
}

function leave(socket, rooms) {
  // A local Socket takes one room at a time, a remote one takes a list.
  for (const room of rooms) socket.leave(room);
}

function collect(emit) {
  return new Promise((resolve) => {
    emit((err, responses) => resolve({ err: err?.message ?? null, responses: responses ?? [] }));
  });
}

function listenServerSide(nsp, q, state) {
  const key = `${nsp.name} ${q.event}`;
  const known = state.modes.has(key);
  state.modes.set(key, { mode: q.mode, value: q.value });
  if (known) return;
  nsp.on(q.event, (...args) => {
    const withAck = typeof args.at(-1) === "function";
    const ack = withAck ? args.pop() : undefined;
    state.log.push({ nsp: nsp.name, event: q.event, args, withAck });
    const { mode, value } = state.modes.get(key);
    if (!ack || mode === "record") return;
    ack(value);
    if (mode === "reply-twice") ack(value);
  });
}
