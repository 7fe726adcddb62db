"""Starts servers under test, drives them over POST /ctl and runs the checks.

CONFORMANCE_SERVER is the built Go server. CONFORMANCE_TARGET=node runs the
Node.js reference of ../node instead, which proves the checks.
"""

import asyncio
import atexit
import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import traceback
import urllib.request

LIMIT = 10  # seconds any single step may take
CHECK_LIMIT = 30  # seconds a check may take
TOTAL_LIMIT = 150  # seconds the whole program may take

children = set()


def end_children():
    for child in list(children):
        child.kill()
        child.wait()


atexit.register(end_children)


def start_watchdog():
    """Ends this program, and its servers, when everything else has failed to."""

    def bark():
        print(f"not done after {TOTAL_LIMIT} s", file=sys.stderr)
        end_children()
        os._exit(1)

    timer = threading.Timer(TOTAL_LIMIT, bark)
    timer.daemon = True
    timer.start()


def command():
    if os.environ.get("CONFORMANCE_TARGET", "go") == "node":
        return ["node", str(pathlib.Path(__file__).parent.parent / "node/server.mjs"), "node"]
    return [os.environ["CONFORMANCE_SERVER"], "node"]


class Server:
    """One server process. Its name stands in front of its session ids."""

    def __init__(self, port=0, **config):
        self.name = "py-node_1"
        config = {"name": self.name, "port": port, "adapter": "none", **config}
        self.process = subprocess.Popen(
            command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PORT": str(port), "NODE_CONFIG": json.dumps(config)})
        children.add(self.process)
        killer = threading.Timer(LIMIT, self.process.kill)
        killer.start()
        line = self.process.stdout.readline()
        killer.cancel()
        match = re.fullmatch(r"LISTENING (\d+)\n", line)
        if not match:
            raise RuntimeError(f"the server said {line!r}")
        self.port = int(match[1])
        self.url = f"http://127.0.0.1:{self.port}"

    async def ctl(self, op, **fields):
        return await asyncio.to_thread(self.ctl_now, op, **fields)

    def ctl_now(self, op, **fields):
        body = json.dumps({"op": op, **pack(fields)}).encode()
        request = urllib.request.Request(self.url + "/ctl", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            answer = json.load(response)
        if not answer["ok"]:
            raise CtlError(answer["error"])
        return unpack(answer.get("result"))

    async def reason(self, sid):
        """The server's reason for the end of a socket."""

        async def logged():
            for entry in await self.ctl("log"):
                if entry["event"] == "disconnect" and entry["id"] == sid:
                    return entry["reason"]

        return await until(logged, f"the server to log the end of {sid}")

    def exit_code(self):
        """Waits for the process to end by itself."""
        code = self.process.wait(LIMIT)
        self.kill()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        children.discard(self.process)


class CtlError(Exception):
    pass


def pack(value):
    """Replaces bytes by the objects that stand for them on /ctl."""
    if isinstance(value, bytes):
        return {"$bin": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(v) for v in value]
    if isinstance(value, dict):
        return {k: pack(v) for k, v in value.items()}
    return value


def unpack(value):
    if isinstance(value, list):
        return [unpack(v) for v in value]
    if isinstance(value, dict):
        if set(value) == {"$bin"}:
            return base64.b64decode(value["$bin"])
        return {k: unpack(v) for k, v in value.items()}
    return value


async def until(probe, what):
    """Repeats a probe, plain or async, until it returns something true."""
    deadline = time.monotonic() + LIMIT
    while True:
        got = probe()
        if asyncio.iscoroutine(got):
            got = await got
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT} s for {what}")
        await asyncio.sleep(0.01)


def equal(got, want, what="value"):
    # == takes True for 1 and 1 for 1.0, which JSON tells apart or not; text does not.
    if canonical(got) != canonical(want):
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def one_of(got, *wanted):
    if got not in wanted:
        raise AssertionError(f"got {got!r}, want one of {wanted}")


def canonical(value):
    if isinstance(value, bool) or value is None or isinstance(value, (str, bytes)):
        return repr(value)
    if isinstance(value, (int, float)):
        return repr(float(value))
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    return {k: canonical(v) for k, v in value.items()}


class Checks:
    """Runs checks one after the other and counts."""

    def __init__(self):
        self.passed = self.failed = 0

    async def run(self, name, check, *args):
        start = time.monotonic()
        try:
            await asyncio.wait_for(check(*args), CHECK_LIMIT)
        except Exception:
            self.failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name} ({time.monotonic() - start:.2f} s)", flush=True)
