# SPDX-License-Identifier: MIT
"""calling.py with requests."""

from typing import Any

import requests
from calling import Asked, make_app


class Body:
    def __init__(self, response: requests.Response) -> None:
        self.status, self.close = response.status_code, response.close
        self.pieces = response.iter_content(5)

    def read(self, size: int) -> bytes:
        return next(self.pieces)

    def rest(self) -> bytes:
        return b"".join(self.pieces)


def send(asked: Asked, stream: bool = False) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    options: dict[str, Any] = {"proxies": {"http": asked.proxy, "https": asked.proxy}}
    return session.request(
        asked.method,
        asked.url,
        headers=asked.headers,
        data=asked.body,
        timeout=asked.timeout,
        verify=asked.ca or True,
        stream=stream,
        **(options if asked.proxy else {}),
    )


def call(asked: Asked) -> tuple[int, bytes]:
    response = send(asked)
    return response.status_code, response.content


app = make_app(call, lambda asked: Body(send(asked, stream=True)))
