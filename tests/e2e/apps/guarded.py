# SPDX-License-Identifier: MIT
"""An application that dies in every way it is asked to."""

import asyncio
import ctypes
import os
import random
import signal
import sqlite3

from fastapi import FastAPI, Request

app = FastAPI()

# Where requests say that they are in progress: what is written there outlives the process.
_path = os.environ.get("JOURNAL")
_journal = os.open(_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if _path else -1


def note(word: str, request: Request) -> None:
    """Writes one line, whole or not at all: the word, the process, the request's trace."""
    trace = request.headers["traceparent"].split("-")[1]
    os.write(_journal, f"{word} {os.getpid()} {trace}\n".encode())


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/items/{item_id}")
async def item(item_id: int) -> int:
    return item_id


@app.get("/works/{most}")
async def works(most: int, request: Request) -> None:
    """Works for up to so many milliseconds, a statement in their midst."""
    note("begin", request)
    await asyncio.sleep(random.uniform(0, most / 2000))
    sqlite3.connect(":memory:").execute("SELECT 1")
    note("told", request)
    await asyncio.sleep(random.uniform(0, most / 2000))
    note("end", request)


@app.get("/waits/{name}")
async def waits(name: str) -> None:
    await asyncio.sleep(3600)


@app.get("/dies/{how}")
async def dies(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "exit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, how))


@app.get("/closes")
async def closes() -> None:
    """Closes what it can and must not: everything but its own sockets."""
    for fd in range(3, 256):
        try:
            if not os.path.islink(f"/proc/self/fd/{fd}"):
                continue
            if os.readlink(f"/proc/self/fd/{fd}").startswith(("socket:", "anon_inode:", "pipe:")):
                continue
            os.close(fd)
        except OSError:
            pass
