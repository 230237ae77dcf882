# SPDX-License-Identifier: MIT
"""urllib3 in the ways that calling.py leaves out, one function for each path /case/NAME.

TARGET_URL is a good server, OTHER_URL another one, CLOSED_URL a closed port, IPV6_URL a good server
at ::1.
"""

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import urllib3
from calling import kind
from fastapi import FastAPI
from urllib3.util import Retry

TARGET, OTHER = os.environ["TARGET_URL"], os.environ["OTHER_URL"]
app = FastAPI()
PATIENT = Retry(total=5, status_forcelist=[503], backoff_factor=0)


def pool() -> urllib3.HTTPConnectionPool:
    return urllib3.connection_from_url(TARGET)


def module() -> int:
    """The function of the module, which has a manager of its own, and retries."""
    return urllib3.PoolManager().request("GET", f"{TARGET}/drop/module/1").status


def retried() -> int:
    manager = urllib3.PoolManager(retries=PATIENT)
    return manager.request("GET", f"{TARGET}/fail/retried/2/503").status


def paused() -> int:
    """urllib3 waits 0.2 s before it sends a third time."""
    policy = Retry(total=3, status_forcelist=[503], backoff_factor=0.1)
    return urllib3.PoolManager(retries=policy).request("GET", f"{TARGET}/fail/paused/2/503").status


def exhausted() -> str:
    manager = urllib3.PoolManager(retries=Retry(total=1, status_forcelist=[503]))
    try:
        manager.request("GET", f"{TARGET}/status/503?sig=hush-1")
    except urllib3.exceptions.MaxRetryError as error:
        return kind(error)
    return "no error"


def answered() -> int:
    policy = Retry(total=1, status_forcelist=[503], raise_on_status=False)
    return urllib3.PoolManager(retries=policy).request("GET", f"{TARGET}/status/503").status


def refused() -> str:
    try:
        urllib3.PoolManager().request("GET", os.environ["CLOSED_URL"], retries=Retry(2))
    except urllib3.exceptions.MaxRetryError as error:
        return kind(error)
    return "no error"


def at_once() -> str:
    """With no retries the failure itself comes out."""
    try:
        urllib3.PoolManager().request("GET", os.environ["CLOSED_URL"], retries=False)
    except urllib3.exceptions.HTTPError as error:
        return kind(error)
    return "no error"


def moved() -> int:
    """From one server to another, with a retry there."""
    url = f"{TARGET}/redirect-to?url={OTHER}/fail/moved/1/503"
    return urllib3.PoolManager().request("GET", url, retries=PATIENT).status


def moved_303() -> int:
    url = f"{TARGET}/redirect-to?status=303&url=/echo"
    return urllib3.PoolManager().request("POST", url, body=b"x").status


def pooled() -> list[Any]:
    """A pool for itself, with all arguments by position, and a redirect within it."""
    one = pool()
    first = one.urlopen("GET", "/redirect/1", None, {"X-Own": "1"}, Retry(3), True)
    second = one.request("GET", "/bytes/2", headers=None)
    third = one.urlopen(url="/bytes/3", method="GET")
    return [first.status, second.status, third.status]


def ipv6() -> int:
    return urllib3.PoolManager().request("GET", os.environ["IPV6_URL"] + "/echo").status


def streamed() -> list[Any]:
    """What the application sees of a response whose body is still to be read, and after."""
    with pool().request("GET", "/bytes/6", preload_content=False) as response:
        facts = [type(response).__qualname__, response.status, response.read(2).decode()]
        response.drain_conn()
    return [*facts, sorted(vars(response)), response.closed]


def released() -> list[Any]:
    """The connection goes back to the pool unread, as it may, and another request follows."""
    one = pool()
    response = one.request("GET", "/bytes/6", preload_content=False)
    response.release_conn()
    return [response.status, urllib3.PoolManager().request("GET", f"{TARGET}/echo").status]


def fallback() -> int:
    """A body that is read while another failure is being handled is none."""
    manager = urllib3.PoolManager()
    try:
        manager.request("GET", f"{TARGET}/raw/empty", retries=False)
    except urllib3.exceptions.HTTPError:
        response = manager.request("GET", f"{TARGET}/bytes/7", preload_content=False)
        response.read()
        manager.request("GET", f"{TARGET}/chunks/2", preload_content=False).close()
    return response.status


def left() -> list[Any]:
    """An iteration that the application leaves is no failure."""
    response = pool().request("GET", "/chunks/9", preload_content=False)
    for piece in response.stream(4):
        break
    del response
    return [len(piece)]


def uploaded() -> int:
    """Another call is made while the body is sent."""

    def body() -> Iterator[bytes]:
        yield urllib3.PoolManager().request("GET", f"{TARGET}/bytes/3").data

    return pool().request("POST", "/upload", body=body()).status


def full() -> str:
    """No connection is free."""
    host = urlsplit(TARGET)
    one = urllib3.HTTPConnectionPool(host.hostname or "", host.port, maxsize=1, block=True)
    held = one.urlopen("GET", "/bytes/100000", preload_content=False)
    try:
        one.urlopen("GET", "/echo", pool_timeout=0.05)
    except urllib3.exceptions.HTTPError as error:
        held.close()
        return kind(error)
    return "no error"


CASES = [module, retried, paused, exhausted, answered, refused, at_once, moved, moved_303, pooled]
CASES += [ipv6, streamed, released, fallback, left, uploaded, full]


@app.get("/case/{name}")
def case(name: str) -> Any:
    return {function.__name__: function for function in CASES}[name]()
