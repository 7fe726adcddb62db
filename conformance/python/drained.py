"""A client that stays: it connects to the URL over the transports it is given and
prints what happens to it, one line each. It ends with its input.
"""

import asyncio
import os
import sys

import socketio
from engineio import payload

# As in clients.py.
payload.Payload.max_decode_packets = 1000


def say(*words):
    print(*words, flush=True)


async def stay(url, transports):
    sio = socketio.AsyncClient(handle_sigint=False)
    gone = asyncio.Event()

    async def on_disconnect(reason):
        say("DISCONNECT", reason)
        if reason == sio.reason.SERVER_DISCONNECT:  # it does not come back by itself
            gone.set()

    sio.on("connect", lambda: say("CONNECT", sio.get_sid()))
    sio.on("disconnect", on_disconnect)
    sio.on("connect_error", lambda *why: say("REFUSED", *why))
    sio.on("m", lambda emitter, number, *offset: say("GOT", emitter, number))
    while True:
        await sio.connect(url, transports=transports, auth={"n": "1"}, wait_timeout=60)
        await gone.wait()
        gone.clear()
        say("AWAY", "")
        while sio.eio.state != "disconnected":
            await asyncio.sleep(0.01)


async def main():
    client = asyncio.create_task(stay(sys.argv[1], sys.argv[2].split(",")))
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([client, ended], return_when=asyncio.FIRST_COMPLETED)
    if client.done():
        client.result()  # raises what ended it
    os._exit(0)  # the client may be in the middle of something


if __name__ == "__main__":
    asyncio.run(main())
