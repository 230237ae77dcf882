# SPDX-License-Identifier: MIT
"""calling.py with urllib3."""

from typing import Any

import urllib3
from calling import Asked, make_app


class Body:
    def __init__(self, response: Any) -> None:
        self.status, self.close = response.status, response.close
        self.pieces = response.stream(5)

    def read(self, size: int) -> bytes:
        return next(self.pieces)

    def rest(self) -> bytes:
        return b"".join(self.pieces)


def send(asked: Asked, stream: bool = False) -> Any:
    options: dict[str, Any] = {"ca_certs": asked.ca} if asked.ca else {}
    kind = urllib3.ProxyManager(asked.proxy, **options) if asked.proxy else None
    manager = kind or urllib3.PoolManager(**options)
    return manager.request(
        asked.method,
        asked.url,
        headers=asked.headers,
        body=asked.body,
        timeout=asked.timeout,
        retries=urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=30),
        preload_content=not stream,
    )


def call(asked: Asked) -> tuple[int, bytes]:
    response = send(asked)
    return response.status, response.data


app = make_app(call, lambda asked: Body(send(asked, stream=True)))
