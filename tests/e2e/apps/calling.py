# SPDX-License-Identifier: MIT
"""An application that makes any HTTP call it is told to, with the client of its module.

The checks of http_client_cases ask it, by a query in the header X-Ask, since a SERVER span tells
its URL's. An application with an asynchronous client of its own serves the same paths.
"""

import gc
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import FastAPI, Request
from starlette.datastructures import QueryParams


@dataclass
class Asked:
    """One call that is to be made."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout: float
    proxy: str
    ca: str


class Body(Protocol):
    """An answer whose body is still to be read."""

    status: int

    def read(self, size: int) -> bytes: ...

    def rest(self) -> bytes: ...

    def close(self) -> None: ...


def asked(request: Request, name: str = "url") -> Asked:
    """Returns what the request asks for, with the URL of this name."""
    query = QueryParams(request.headers["x-ask"])
    pairs = [header.split(":", 1) for header in query.getlist("header")]
    body = query.get("body")
    return Asked(
        query.get("method", "GET"),
        query[name],
        {key: value for key, value in pairs},
        None if body is None else body.encode(),
        float(query.get("timeout", 20)),
        query.get("proxy", ""),
        query.get("ca", ""),
    )


def kind(error: BaseException) -> str:
    """Returns an exception's type as spans name it."""
    module, name = type(error).__module__, type(error).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def failed(error: Exception) -> dict[str, Any]:
    """Describes a failure: the types and texts of the exception and of its causes."""
    found, cause = [], error
    while cause is not None:
        found.append([kind(cause), re.sub("0x[0-9a-f]+", "0xADDRESS", str(cause))])
        cause = cause.__cause__ or cause.__context__
    return {"error": kind(error), "causes": found}


def make_app(
    call: Callable[[Asked], tuple[int, bytes]], stream: Callable[[Asked], Body]
) -> FastAPI:
    """Serves /call, /parts, /closed and /dropped by these two functions.

    `call` returns status and body; `stream` what is to be read.
    """
    app = FastAPI()

    @app.get("/call")
    def call_it(request: Request) -> Any:
        try:
            status, body = call(asked(request))
        except Exception as error:
            return failed(error)
        return {"status": status, "body": body.decode("latin-1")}

    @app.get("/parts")
    def parts(request: Request) -> Any:
        """Makes the call `other` when it has read a part of the body, then reads the rest."""
        try:
            body = stream(asked(request))
            first = body.read(5)
            call(asked(request, "other"))
            rest = body.rest()
        except Exception as error:
            return failed(error)
        return {"status": body.status, "body": (first + rest).decode("latin-1")}

    @app.get("/closed")
    def closed(request: Request) -> Any:
        """Closes the answer when it has read a part, and makes the call `other`."""
        body = stream(asked(request))
        first = body.read(5)
        body.close()
        call(asked(request, "other"))
        return {"status": body.status, "body": first.decode("latin-1")}

    @app.get("/dropped")
    def dropped(request: Request) -> Any:
        """Drops the answer unread, and makes the call `other`."""
        status = stream(asked(request)).status
        gc.collect()
        call(asked(request, "other"))
        return {"status": status}

    return app
