# SPDX-License-Identifier: MIT
"""Calls the server at TARGET_URL with requests, and answers with what came of it."""

import os
from typing import Any

import requests
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

TARGET = os.environ["TARGET_URL"]
app = FastAPI()
shared = requests.Session()
shared.trust_env = False


def call(method: str, url: str, **options: Any) -> dict[str, Any]:
    """Returns status, number of redirects and JSON body, or the exception's type."""
    try:
        response = shared.request(method, url, **options)
    except requests.RequestException as error:
        return {"error": type(error).__name__}
    body = response.json() if response.content else None
    return {"status": response.status_code, "redirects": len(response.history), "saw": body}


@app.get("/sync")
def sync_call() -> dict[str, Any]:
    return call("GET", f"{TARGET}/echo")


@app.get("/async")
async def async_call() -> dict[str, Any]:
    """Blocks the event loop, as careless applications do."""
    return call("GET", f"{TARGET}/echo")


@app.get("/pooled")
async def pooled_call() -> dict[str, Any]:
    return await run_in_threadpool(call, "GET", f"{TARGET}/echo")


@app.get("/module")
def module_call() -> Any:
    """requests.get, with a session of its own."""
    return requests.get(f"{TARGET}/echo", headers={"X-Own": "1"}, timeout=10).json()


@app.get("/method/{method}")
def any_method(method: str) -> dict[str, Any]:
    return call(method, f"{TARGET}/echo", data=b"body" if method == "POST" else None)


@app.get("/status/{status}")
def status(status: int) -> dict[str, Any]:
    return call("GET", f"{TARGET}/status/{status}")


@app.get("/redirect/{count}")
def redirect(count: int) -> dict[str, Any]:
    return call("GET", f"{TARGET}/redirect/{count}")


@app.get("/redirect-loop")
def redirect_loop() -> dict[str, Any]:
    """More redirects than requests follows."""
    return call("GET", f"{TARGET}/redirect/99")


@app.get("/timeout")
def timeout() -> dict[str, Any]:
    return call("GET", f"{TARGET}/hang", timeout=0.2)


@app.get("/refused")
def refused(port: int) -> dict[str, Any]:
    """The caller names a port that is closed."""
    return call("GET", f"http://127.0.0.1:{port}/")


@app.get("/secrets")
def secrets() -> dict[str, Any]:
    """Credentials and signatures in the URL: the target gets them, no span may."""
    address = TARGET.removeprefix("http://")
    query = "a=1&sig=hush-1&Signature=hush-2&X-Goog-Signature=hush-3&AWSAccessKeyId=hush-4"
    return call("GET", f"http://user:hush-5@{address}/echo?{query}#part")


@app.get("/headers-none")
def headers_none() -> dict[str, Any]:
    return call("GET", f"{TARGET}/echo", headers=None)


@app.get("/own-traceparent")
def own_traceparent() -> dict[str, Any]:
    """The application sets the header by itself."""
    return call("GET", f"{TARGET}/echo", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})


@app.get("/bad-url")
def bad_url() -> dict[str, Any]:
    return call("GET", "http://")


@app.get("/raises")
def raises(port: int) -> None:
    """An exception of requests that leaves the endpoint."""
    shared.get(f"http://127.0.0.1:{port}/", timeout=10)
