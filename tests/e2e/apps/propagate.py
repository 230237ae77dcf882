# SPDX-License-Identifier: MIT
"""Passes requests on to the server at TARGET_URL, and answers with the headers it saw."""

import os
from typing import Any

import requests
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.concurrency import run_in_threadpool

TARGET = os.environ["TARGET_URL"]
app = FastAPI()
session = requests.Session()
session.trust_env = False


def call(path: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    """Returns the headers of an outgoing call as the target saw them."""
    answer: dict[str, Any] = session.get(f"{TARGET}{path}", headers=headers, timeout=10).json()
    return answer["headers"]


@app.get("/call/{mark}")
def outgoing(mark: str, request: Request) -> dict[str, str]:
    """One call; the query becomes headers that the application sets itself."""
    return call(f"/echo/{mark}", dict(request.query_params))


@app.get("/calls/{mark}")
async def several(mark: str) -> list[dict[str, str]]:
    """Calls one after the other, on the event loop's thread and on another one."""
    return [call(f"/echo/{mark}"), await run_in_threadpool(call, f"/echo/{mark}")]


@app.get("/later/{mark}")
def background(mark: str, tasks: BackgroundTasks) -> None:
    """A call when the answer is out."""
    tasks.add_task(call, f"/echo/{mark}")


@app.get("/plain/{mark}")
async def plain(mark: str) -> str:
    """No call."""
    return mark
