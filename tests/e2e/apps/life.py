# SPDX-License-Identifier: MIT
"""An application that has other processes: forked, spawned, run as commands."""

import asyncio
import multiprocessing
import os
import subprocess
import sys

import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def work(tag: str) -> None:
    """Leaves a CLIENT span whose URL ends with the tag. Nobody listens there."""
    try:
        requests.get(f"http://127.0.0.1:1/{tag}", timeout=10)
    except requests.ConnectionError:
        pass


async def ping(request: Request) -> JSONResponse:
    return JSONResponse({"pid": os.getpid()})


def fork(request: Request) -> JSONResponse:
    work("before")
    child = os.fork()
    if child == 0:
        work("child")
        os._exit(0)
    work("parent")
    return JSONResponse({"pid": os.getpid(), "child": child, "status": os.waitpid(child, 0)[1]})


def process(request: Request) -> JSONResponse:
    method = request.path_params["method"]
    child = multiprocessing.get_context(method).Process(target=work, args=(method,))
    child.start()
    child.join()
    return JSONResponse({"child": child.pid, "status": child.exitcode})


def command(request: Request) -> JSONResponse:
    """A traced program, and one that lists what it has inherited."""
    code = "import life, os; life.work('command'); print(os.getpid())"
    child = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, close_fds=False
    )
    listing = subprocess.run(
        ["ls", "/proc/self/fd"], check=True, capture_output=True, text=True, close_fds=False
    )
    return JSONResponse({"child": int(child.stdout), "inherited": listing.stdout.split()})


async def spawn(request: Request) -> JSONResponse:
    """A command, started by the event loop."""
    child = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
    return JSONResponse({"status": await child.wait()})


app = Starlette(
    routes=[
        Route("/ping", ping),
        Route("/fork", fork),
        Route("/process/{method}", process),
        Route("/command", command),
        Route("/spawn", spawn),
    ]
)
