# SPDX-License-Identifier: MIT
"""urllib.request in the ways that calling.py leaves out, one function for each path /case/NAME."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from calling import kind
from fastapi import FastAPI

TARGET = os.environ["TARGET_URL"]
app = FastAPI()


def opener(*handlers: Any) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)


def module() -> list[Any]:
    """The module's functions, which share an opener."""
    with urllib.request.urlopen(f"{TARGET}/bytes/4") as response:
        first = response.read().decode()
    name, _ = urllib.request.urlretrieve(f"{TARGET}/bytes/5")
    second = Path(name).read_text()
    urllib.request.urlcleanup()
    return [first, second]


def posted() -> int:
    return opener().open(f"{TARGET}/echo", data=b"a=1").status


def error() -> list[Any]:
    """A failure is a response too, whose body can be read."""
    try:
        opener().open(f"{TARGET}/status/404")
    except urllib.error.HTTPError as failure:
        return [failure.code, len(failure.read()) > 0]
    return []


def authorized(handler: type[urllib.request.AbstractBasicAuthHandler], path: str) -> int:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, TARGET, "bob", "hush-1")
    return opener(handler(passwords)).open(f"{TARGET}{path}").status


def basic() -> int:
    return authorized(urllib.request.HTTPBasicAuthHandler, "/basic")


def digest() -> int:
    return authorized(urllib.request.HTTPDigestAuthHandler, "/digest")  # type: ignore[arg-type]


def moved_and_asked() -> int:
    """A redirect to what asks for a password."""
    return authorized(urllib.request.HTTPBasicAuthHandler, "/redirect-to?url=/basic")


def lines() -> list[str]:
    with opener().open(f"{TARGET}/chunks/3") as response:
        return [line.decode() for line in response]


def pieces() -> list[Any]:
    """All ways to read, and what is to be seen on the response."""
    response = opener().open(f"{TARGET}/bytes/20")
    room = bytearray(5)
    got = [response.read(3), response.read1(4), response.readinto(room), response.readline(4)]
    rest = response.read()
    return [
        len(got[0]), len(got[1]), got[2], len(got[3]), len(rest), response.isclosed(),
        sorted(vars(response)), type(response).__qualname__, type(response).read.__qualname__,
    ]  # fmt: skip


def wrong() -> list[Any]:
    """A wrong argument is no failure of the exchange, which can be read on."""
    response = opener().open(f"{TARGET}/bytes/6")
    try:
        response.read("all")
    except TypeError as failure:
        return [kind(failure), len(response.read())]
    return []


def other_schemes() -> list[str]:
    """Nothing of that is HTTP."""
    data = opener().open("data:text/plain,hi").read().decode()
    here = Path(__file__).as_uri()
    return [data, opener().open(here).readline().decode()]


def uploaded() -> int:
    """Another call is made while the body is sent, by the same opener."""
    one = opener()

    def body() -> Iterator[bytes]:
        yield one.open(f"{TARGET}/bytes/3").read()

    request = urllib.request.Request(f"{TARGET}/upload", data=body(), method="POST")
    return one.open(request).status


def reused() -> list[Any]:
    """One Request twice; it is as it was."""
    request = urllib.request.Request(f"{TARGET}/echo", headers={"X-Own": "1"})
    one = opener()
    statuses = [one.open(request).status for _ in range(2)]
    return [*statuses, request.header_items()]


CASES = [module, posted, error, basic, digest, moved_and_asked, lines, pieces, wrong]
CASES += [other_schemes, uploaded, reused]


@app.get("/case/{name}")
def case(name: str) -> Any:
    return {function.__name__: function for function in CASES}[name]()
