# SPDX-License-Identifier: MIT
"""calling.py with urllib.request."""

import ssl
import urllib.error
import urllib.request
from typing import Any

from calling import Asked, make_app


class Body:
    def __init__(self, response: Any) -> None:
        self.response, self.status = response, response.status
        self.read, self.close = response.read, response.close

    def rest(self) -> bytes:
        return self.response.read()


def send(asked: Asked) -> Any:
    proxies = {"http": asked.proxy, "https": asked.proxy} if asked.proxy else {}
    context = ssl.create_default_context(cafile=asked.ca or None)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    request = urllib.request.Request(
        asked.url, data=asked.body, headers=asked.headers, method=asked.method
    )
    try:
        return opener.open(request, timeout=asked.timeout)
    except urllib.error.HTTPError as error:
        if error.code in (301, 302, 303, 307, 308):
            raise  # It has followed too many.
        return error


def call(asked: Asked) -> tuple[int, bytes]:
    with send(asked) as response:
        return response.status, response.read()


app = make_app(call, lambda asked: Body(send(asked)))
