# SPDX-License-Identifier: MIT
"""What the introspection scripts share: probes, and one call of an application.

Each probe runs where it is defined, and returns what it sees, without addresses: two runs can be
compared. A probe that raises tells its exception.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

RESULTS: dict[str, Any] = {}


def probe(fn: Callable[[], Any]) -> Callable[[], Any]:
    RESULTS[fn.__name__] = told(fn)
    return fn


def told(fn: Callable[[], Any]) -> Any:
    """Returns what fn returns, or the exception that it raises."""
    try:
        return fn()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def digest(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def report() -> None:
    """Prints what all probes have seen."""
    json.dump(RESULTS, sys.stdout, default=str)


class Recorder:
    """One call of an application; `messages` is what it sends."""

    def __init__(self, path: str = "/") -> None:
        self.messages: list[Any] = []
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"host", b"a")],
            "http_version": "1.1",
            "server": ("a", 80),
            "client": ("b", 1),
        }

    async def receive(self) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    def call(self, application: Any) -> Any:
        return application(self.scope, self.receive, self.send)

    def run(self, application: Any) -> list[Any]:
        asyncio.run(self.call(application))
        return [message["type"] for message in self.messages]
