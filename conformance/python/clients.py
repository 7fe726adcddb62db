"""python-socketio clients that record what they get and are closed at the end."""

import asyncio
from contextlib import asynccontextmanager

import socketio
from engineio import payload

from harness import LIMIT, until

# python-engineio refuses more than 16 packets in one polling response. Servers
# send as many as are waiting, so users who poll raise it, as its manual says.
payload.Payload.max_decode_packets = 1000

TRANSPORTS = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}


class Client:
    """An AsyncClient joined to some namespaces.

    The synchronous client of the same package hands every message to a thread of
    its own, so only this one keeps the order of events.
    """

    def __init__(self, namespaces, reconnection=False):
        self.namespaces = namespaces
        self.sio = socketio.AsyncClient(
            reconnection=reconnection, reconnection_delay=0.05, reconnection_delay_max=0.1, handle_sigint=False)
        self.events = {nsp: [] for nsp in namespaces}  # what came, as [event, *args]
        self.reasons = {}  # why a namespace ended
        self.refusals = {}  # what connect_error held
        self.answers = {}  # event to the function that answers it
        for nsp in namespaces:
            self.listen(nsp)

    def listen(self, nsp):
        async def on_event(event, *args):
            if event in self.answers:
                return self.answers[event](*args)
            self.events[nsp].append([event, *args])

        async def on_disconnect(reason):
            self.reasons[nsp] = reason

        async def on_refusal(data=None):
            self.refusals[nsp] = data

        self.sio.on("*", on_event, namespace=nsp)
        self.sio.on("disconnect", on_disconnect, namespace=nsp)
        self.sio.on("connect_error", on_refusal, namespace=nsp)

    async def connect(self, url, transports, **options):
        await self.sio.connect(
            url, transports=transports, namespaces=self.namespaces, wait_timeout=LIMIT, **options)
        return self

    def sid(self, nsp=None):
        return self.sio.get_sid(nsp or self.namespaces[0])

    async def call(self, event, *args, nsp=None):
        return await self.sio.call(event, args, namespace=nsp or self.namespaces[0], timeout=LIMIT)

    async def emit(self, event, *args):
        await self.sio.emit(event, args, namespace=self.namespaces[0])

    async def got(self, count, nsp=None):
        """Waits for a number of events and takes them."""
        box = self.events[nsp or self.namespaces[0]]
        await until(lambda: len(box) >= count, f"{count} events, {len(box)} came")
        taken = box[:]
        box.clear()
        return taken


@asynccontextmanager
async def connected(server, transports, *namespaces, reconnection=False, **options):
    client = Client(list(namespaces) or ["/"], reconnection)
    try:
        yield await client.connect(server.url, transports, **options)
    finally:
        await asyncio.wait_for(client.sio.shutdown(), LIMIT)


@asynccontextmanager
async def several(count, server, transports, nsp):
    """Some clients in a namespace of their own, which no other check's events reach."""
    clients = [Client([nsp]) for _ in range(count)]
    try:
        for client in clients:
            await client.connect(server.url, transports)
        yield clients
    finally:
        for client in clients:
            await asyncio.wait_for(client.sio.shutdown(), LIMIT)
