# SPDX-License-Identifier: MIT
"""An application that tells which trace context it gives to others."""

import os

import requests
from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/plain")
async def plain() -> None:
    return None


@app.get("/call")
@app.post("/call")
def call() -> dict[str, str]:
    """Calls TARGET, which echoes, and returns the context it was given."""
    headers = requests.get(os.environ["TARGET"]).json()["headers"]
    return {name: headers.get(name, "") for name in ("traceparent", "tracestate")}


@app.get("/raises")
async def raises(request: Request) -> None:
    raise ValueError(request.query_params.get("message", ""))


@app.get("/{path:path}")
async def anything(path: str) -> str:
    return path
