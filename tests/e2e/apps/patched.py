# SPDX-License-Identifier: MIT
"""A WSGI and an ASGI application in a process that gevent has patched."""

import os

import gevent.monkey

# asyncio's event loop knows no greenlets: there, threads and what they wait for stay what they are.
threads = "ASGI" not in os.environ
gevent.monkey.patch_all(thread=threads, queue=threads, subprocess=threads)

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import requests
from fastapi import FastAPI

TARGET = os.environ["TARGET_URL"]


def call(path: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        return str(session.get(f"{TARGET}/echo/{path}", timeout=30).json()["path"])


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"].strip("/")
    answer = call(f"{path}/first") + call(f"{path}/second")
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer.encode()]


app = FastAPI()


@app.get("/def/{number}")
def plain_def(number: int) -> str:
    return call(f"{number}/first") + call(f"{number}/second")


@app.get("/async/{number}")
async def async_def(number: int) -> str:
    await asyncio.sleep(0.001)
    return call(f"{number}/first") + await asyncio.to_thread(call, f"{number}/second")
