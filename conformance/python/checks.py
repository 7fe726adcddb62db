"""The official Python client of Socket.IO against one server, over each transport.

Prints one line per check, and at the end "N passed, N failed".
"""

import asyncio
import sys
import time

import socketio

import samples
from clients import TRANSPORTS, Client, connected, several
from harness import LIMIT, Checks, CtlError, Server, equal, one_of, start_watchdog, until


async def connecting(server, transports):
    auth = {"token": "abc", "nested": {"n": [1, "é"]}}
    async with connected(server, transports, auth=auth, headers={"X-Custom": "Value"}) as client:
        sid = client.sid()
        equal(len(sid), 20, "length of the socket id")
        found = [s for s in await server.ctl("sockets") if s["id"] == sid]
        equal(len(found), 1, "sockets with the id")
        handshake = found[0]["handshake"]
        equal(handshake["auth"], auth, "auth")
        equal(handshake["headers"]["x-custom"], "Value", "header")
        equal(handshake["query"]["EIO"], "4", "EIO")
        equal(handshake["query"]["transport"], transports[0], "transport")
        equal(client.sio.transport(), transports[-1], "transport in use")
        entries = [e for e in await server.ctl("log") if e["id"] == sid]
        equal(entries, [{"event": "connection", "nsp": "/", "id": sid, "recovered": False}], "log")


async def session_id(server, transports):
    async with connected(server, transports) as client:
        node, dot, rest = client.sio.eio.sid.rpartition(".")
        equal([node, dot, len(rest)], [server.name, ".", 20], "parts of the session id")
        equal(await client.call("echo", "routed"), "routed")


async def no_auth(server, transports):
    async with connected(server, transports) as client:
        [found] = [s for s in await server.ctl("sockets") if s["id"] == client.sid()]
        equal(found["handshake"]["auth"], {}, "auth")


async def refusal(server, transports):
    for name in ["/unknown", "/dyn-no!"]:
        client = Client([name])
        try:
            await client.connect(server.url, transports)
        except socketio.exceptions.ConnectionError:
            pass
        else:
            raise AssertionError(f"{name} let the client in")
        finally:
            await client.sio.shutdown()
        equal(client.refusals, {name: {"message": "Invalid namespace"}}, "connect_error")


async def refusal_beside(server, transports):
    client = Client(["/", "/unknown"])
    try:
        await client.sio.connect(server.url, transports=transports, namespaces=client.namespaces, wait=False)
        await until(lambda: "/unknown" in client.refusals and "/" in client.sio.namespaces, "both answers")
        equal(client.refusals["/unknown"]["message"], "Invalid namespace")
        equal(await client.call("echo", 1), 1)
    finally:
        await client.sio.shutdown()


async def namespaces(server, transports):
    names = ["/", "/custom", "/dyn-one", "/dyn-two_2"]
    async with connected(server, transports, *names) as client:
        ids = [client.sid(nsp) for nsp in names]
        equal(len(set(ids)), 4, "different ids")
        for i, nsp in enumerate(names):
            equal(await client.call("echo", i, nsp=nsp), i)
            await server.ctl("emit", nsp=nsp, event="only", args=[i], to=[ids[i]])
            equal(await client.got(1, nsp), [["only", i]], nsp)


async def values(server, transports):
    async with connected(server, transports) as client:
        for value in samples.JSON + samples.TEXT:
            equal(await client.call("echo", value), value, "echo")
        equal(await client.call("echo", *samples.JSON), samples.JSON, "all at once")
        everything = samples.JSON + samples.TEXT
        for value in everything:
            await server.ctl("socketEmit", id=client.sid(), event="value", args=[value])
        await server.ctl("socketEmit", id=client.sid(), event="événement ✓", args=everything)
        await server.ctl("socketEmit", id=client.sid(), event="none")
        got = await client.got(len(everything) + 2)
        equal(got, [["value", v] for v in everything] + [["événement ✓", *everything], ["none"]], "events")


async def binary(server, transports):
    async with connected(server, transports) as client:
        for what, value in samples.BINARY.items():
            equal(await client.call("echo", value), value, f"echo of {what}")
            await server.ctl("socketEmit", id=client.sid(), event="bin", args=["before", value, "after"])
            equal(await client.got(1), [["bin", "before", value, "after"]], what)


async def acks(server, transports):
    async with connected(server, transports) as client:
        answers = await asyncio.gather(*[client.call("echo", i) for i in range(100)])
        equal(answers, list(range(100)), "concurrent acks")

        client.answers["ask"] = lambda value: value
        for value in [1, "é", {"a": [1]}, b"bin", {"b": b""}]:
            got = await server.ctl("socketEmitWithAck", id=client.sid(), event="ask", args=[value])
            equal(got, value, "the client's answer")


async def ack_timeout(server, transports):
    async with connected(server, transports) as client:
        silent = asyncio.Event()

        async def never(*_):
            await silent.wait()

        client.sio.on("ask", never, namespace="/")
        try:
            await server.ctl("socketEmitWithAck", id=client.sid(), event="ask", timeout=100)
            raise AssertionError("an answer nobody gave")
        except CtlError as err:
            equal(str(err), "operation has timed out")
        finally:
            silent.set()
        equal(await client.call("echo", "alive"), "alive")


async def broadcast_acks(server, transports):
    async with several(2, server, transports, "/dyn-acks") as clients:
        for i, client in enumerate(clients):
            client.answers["ask"] = lambda i=i: i
        got = await server.ctl("emitWithAck", nsp="/dyn-acks", event="ask", timeout=3000)
        equal([got["err"], sorted(got["responses"])], [None, [0, 1]], "answers")


async def rooms(server, transports):
    nsp = f"/dyn-rooms-{len(transports)}{transports[0]}"
    async with several(3, server, transports, nsp) as (a, b, c):
        await server.ctl("join", nsp=nsp, id=a.sid(), rooms=["red", "blue"])
        await server.ctl("join", nsp=nsp, id=b.sid(), rooms=["blue"])

        async def emit(event, **target):
            await server.ctl("emit", nsp=nsp, event=event, **target)

        await emit("all")
        await emit("red", to=["red"])
        await emit("either", to=["red", "blue"])
        await emit("id", to=[c.sid()])
        await emit("except", **{"except": ["red"]})
        await emit("others", **{"from": a.sid()})
        await server.ctl("leave", nsp=nsp, id=a.sid(), rooms=["blue"])
        await emit("blue-later", to=["blue"])
        await emit("end")
        want = [
            ["all", "red", "either", "end"],
            ["all", "either", "except", "others", "blue-later", "end"],
            ["all", "id", "except", "others", "end"],
        ]
        for client, events in zip((a, b, c), want):
            equal([e for [e] in await client.got(len(events))], events, "events")


async def relay(server, transports):
    nsp = f"/dyn-relay-{len(transports)}{transports[0]}"
    async with several(3, server, transports, nsp) as (a, b, c):
        await server.ctl("join", nsp=nsp, id=b.sid(), rooms=["room"])
        await a.emit("relay", "r1", 1, b"bytes")
        await a.emit("relayAll", "r2", {"two": 2})
        await a.emit("relayRoom", "room", "r3")
        await a.emit("relayAll", "end")
        r1, r2 = ["r1", a.sid(), 1, b"bytes"], ["r2", a.sid(), {"two": 2}]
        r3, end = ["r3", a.sid()], ["end", a.sid()]
        for client, events in zip((a, b, c), ([r2, end], [r1, r2, r3, end], [r1, r2, end])):
            equal(await client.got(len(events)), events, "events")


async def leaving(server, transports):
    async with connected(server, transports) as client:
        sid = client.sid()
        await client.sio.disconnect()
        await until(lambda: client.reasons, "the disconnect event")
        equal(client.reasons, {"/": "client disconnect"}, "client's reason")
        # The client closes the connection without waiting until its DISCONNECT packet
        # is on the wire, so which of the two arrives is up to chance.
        one_of(await server.reason(sid), "client namespace disconnect", "transport close")


async def told_to_leave(server, transports):
    async with connected(server, transports, "/", "/custom") as client:
        sid = client.sid("/")
        await server.ctl("socketDisconnect", id=sid, close=False)
        await until(lambda: client.reasons, "the disconnect event")
        equal(client.reasons, {"/": "server disconnect"}, "client's reason")
        equal(await server.reason(sid), "server namespace disconnect", "server's reason")
        equal(await client.call("echo", "alive", nsp="/custom"), "alive")


async def closed_by_server(server, transports):
    async with connected(server, transports, "/", "/custom") as client:
        ids = [client.sid("/"), client.sid("/custom")]
        await server.ctl("socketDisconnect", id=ids[0], close=True)
        await until(lambda: len(client.reasons) == 2, "both namespaces to end")
        for sid in ids:
            equal(await server.reason(sid), "server namespace disconnect", "server's reason")


async def heartbeat(_, transports):
    server = Server(pingInterval=300, pingTimeout=1500)
    try:
        async with connected(server, transports) as client:
            sid, start = client.sid(), time.monotonic()
            # Without an answer the server would give up after 1.8 s.
            while time.monotonic() < start + 4:
                equal(await client.call("echo", "alive"), "alive")
                await asyncio.sleep(0.3)
            equal(client.sid(), sid, "socket id after ten heartbeats")
            equal(client.reasons, {}, "reasons")
    finally:
        server.kill()


async def reconnecting(_, transports, how):
    first = Server()
    try:
        async with connected(first, transports, "/", "/custom", reconnection=True, auth={"n": 1}) as client:
            before = client.sid("/custom")
            if how == "stop":
                await first.ctl("stop")
                equal(await asyncio.to_thread(first.exit_code), 0, "exit code")
            else:
                first.kill()
            await until(lambda: len(client.reasons) == 2, "the client to notice")
            second = Server(port=first.port)
            try:
                await come_back(client, second, transports, how)
                if client.sid("/custom") == before:
                    raise AssertionError("the socket id is the old one")
                equal(await client.call("echo", "back", nsp="/custom"), "back")
                equal([s["handshake"]["auth"] for s in await second.ctl("sockets")], [{"n": 1}], "auth")
            finally:
                await asyncio.wait_for(client.sio.shutdown(), LIMIT)
                second.kill()
    finally:
        first.kill()


async def come_back(client, server, transports, how):
    """Waits for the client to reconnect. Told to close by an Engine.IO packet, which
    only polling has, it takes that for the end and its user has to connect again."""
    if how == "stop" and transports == ["polling"]:
        equal(client.reasons, {"/": "server disconnect", "/custom": "server disconnect"}, "client's reasons")
        await client.connect(server.url, transports, auth={"n": 1})
    else:
        equal(client.reasons, {"/": "transport error", "/custom": "transport error"}, "client's reasons")
    await until(lambda: len(client.sio.namespaces) == 2, "the client to come back")


async def order(server, transports):
    async with connected(server, transports) as client:
        numbers = list(range(300))
        ops = [{"op": "socketEmit", "id": client.sid(), "event": "n", "args": [n]} for n in numbers]
        await server.ctl("batch", ops=ops)
        for n in numbers:
            await client.emit("relayAll", "m", n)
        await until(lambda: len(client.events["/"]) >= 600, "all events")
        got = await client.got(600)
        equal([args[0] for [event, *args] in got if event == "n"], numbers, "from the server")
        equal([args[1] for [event, *args] in got if event == "m"], numbers, "through the server")


async def threads(server, transports):
    """The synchronous client: requests and websocket-client instead of aiohttp."""
    await asyncio.wait_for(asyncio.to_thread(threaded, server, transports), 2 * LIMIT)


def threaded(server, transports):
    sio = socketio.Client(reconnection=False, handle_sigint=False)
    sio.on("ask", lambda value: value)
    try:
        sio.connect(server.url, transports=transports, auth={"sync": True}, wait_timeout=LIMIT)
        equal(sio.transport(), transports[-1], "transport in use")
        for value in samples.JSON + samples.TEXT:
            equal(sio.call("echo", value, timeout=LIMIT), value, "echo")
        # Its threads may take up attachments in the wrong order, so one at a time.
        sent = b"\x00\xff bytes"
        equal(sio.call("echo", "é", timeout=LIMIT), "é")
        equal(server.ctl_now("socketEmitWithAck", id=sio.get_sid(), event="ask", args=["é"]), "é", "answer")
        [entry] = [s for s in server.ctl_now("sockets") if s["id"] == sio.get_sid()]
        equal(entry["handshake"]["auth"], {"sync": True}, "auth")
        sio.emit("relayAll", ("bin", sent))
        sid = sio.get_sid()
    finally:
        sio.disconnect()
    deadline = time.monotonic() + LIMIT
    while not any(e["event"] == "disconnect" and e["id"] == sid for e in server.ctl_now("log")):
        if time.monotonic() > deadline:
            raise AssertionError("the server never logged the end")
        time.sleep(0.01)


CHECKS = [
    ("connects; auth, headers and query are in the handshake", connecting),
    ("sends an empty auth object where there is none", no_auth),
    ("is refused an unknown namespace with the reference's words", refusal),
    ("keeps its other namespaces when one is refused", refusal_beside),
    ("joins four namespaces over one connection", namespaces),
    ("carries JSON values and unicode both ways, in order", values),
    ("carries binary both ways, nested and several", binary),
    ("gets acks for its events and answers the server's", acks),
    ("lets the server's ack time out", ack_timeout),
    ("answers a broadcast with acks", broadcast_acks),
    ("gets what is sent to its rooms", rooms),
    ("relays to others, all and a room", relay),
    ("leaves by itself", leaving),
    ("is told to leave one namespace and keeps the other", told_to_leave),
    ("loses all namespaces when the server closes the connection", closed_by_server),
    ("stays connected through heartbeats", heartbeat),
    ("comes back after the server stopped", lambda s, t: reconnecting(s, t, "stop")),
    ("comes back after the server was killed", lambda s, t: reconnecting(s, t, "kill")),
    ("loses and reorders nothing in a burst", order),
    ("works as the synchronous client too", threads),
]


async def main():
    start_watchdog()
    checks = Checks()
    server = Server()
    is_go = (await server.ctl("info"))["impl"] == "go"
    for name, transports in TRANSPORTS.items():
        listed = CHECKS + ([("works with a session id that has a dot", session_id)] if is_go else [])
        for what, check in listed:
            await checks.run(f"python {name}: {what}", check, server, transports)
    server.kill()
    print(f"python: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
