# SPDX-License-Identifier: MIT
"""An application that dies in every way it is asked to."""

import asyncio
import ctypes
import os
import signal

from fastapi import FastAPI

app = FastAPI()


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/items/{item_id}")
async def item(item_id: int) -> int:
    return item_id


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
