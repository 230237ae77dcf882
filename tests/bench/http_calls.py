# SPDX-License-Identifier: MIT
"""What tracing adds to an outgoing HTTP call of a synchronous client, on the calling thread.

One process, in alternating blocks: with the agent's hooks in place, and with the library's own
functions put back. The sockets are buffers, so that nothing but the client is measured. Run under
the agent.
"""

import http.client
import io
import statistics
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import hooks
import requests
import urllib3
import urllib3.connection
import urllib3.connectionpool

BLOCKS = 200  # Of each kind, in turn.
CALLS = 50  # In a block.
SETTLING = 10  # Before a block is measured: the interpreter adapts to the change of functions.

URL = "http://shop.invalid/items/42?page=1"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"


class Buffer:
    """What an HTTP client does with its socket, without one."""

    def sendall(self, data: bytes) -> None:
        pass

    def makefile(self, *args: Any, **options: Any) -> io.BytesIO:
        return io.BytesIO(ANSWER)

    def settimeout(self, seconds: float | None) -> None:
        pass

    def close(self) -> None:
        pass


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = Buffer()  # type: ignore[assignment]


class PooledConnection(urllib3.connection.HTTPConnection):
    is_connected = True
    is_closed = False

    def connect(self) -> None:
        self.sock = Buffer()  # type: ignore[assignment]


class Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(Connection, request)  # type: ignore[arg-type]


urllib3.connectionpool.HTTPConnectionPool.ConnectionCls = PooledConnection
session = requests.Session()
session.trust_env = False
manager = urllib3.PoolManager()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Handler)


def by_urllib() -> None:
    with opener.open(URL) as response:
        response.read()


CALLERS: dict[str, Callable[[], Any]] = {
    "urllib3": lambda: manager.request("GET", URL),
    "requests": lambda: session.get(URL),
    "urllib": by_urllib,
}


def measure(call: Callable[[], Any]) -> float:
    """The CPU time of this thread for one call, in microseconds."""
    for _ in range(SETTLING):
        call()
    start = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    return (time.thread_time_ns() - start) / CALLS / 1000


def main() -> None:
    print("one call, µs of CPU of its thread       bare  traced    added   ratio")
    for client, call in CALLERS.items():
        call()  # Some hooks are put in when they are first needed.
        found = hooks.find(("requests", "urllib3", "urllib", "http"))
        times: dict[str, list[float]] = {"bare": [], "traced": []}
        for _ in range(BLOCKS):
            for kind, put in (("bare", hooks.take_out), ("traced", hooks.put_back)):
                put(found)
                times[kind].append(measure(call))
        bare, traced = (statistics.quantiles(times[kind], n=10)[0] for kind in times)
        row = f"{bare:7.2f} {traced:7.2f} {traced - bare:7.2f} µs  {traced / bare:.3f}"
        print(f"{client:37}{row}", flush=True)


main()
