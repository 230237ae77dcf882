# SPDX-License-Identifier: MIT
"""Connections without a network, under the whole of each library: what is left is its own work."""

import http.client
import io
import socket
import urllib.request
from typing import Any

import httpcore
import httpx
import requests
import urllib3.connection

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
    b"Server: stub\r\nDate: Sat, 28 Nov 2026 08:00:00 GMT\r\n\r\n"
    b'{"answer": "yes"}'
)


class Socket:
    """Takes every request, and answers it at once. Nothing can be read from it in between."""

    def __init__(self) -> None:
        self._idle = socket.socketpair()

    def makefile(self, *args: Any, **options: Any) -> io.BytesIO:
        return io.BytesIO(ANSWER)

    def sendall(self, data: bytes) -> None:
        pass

    def fileno(self) -> int:
        return self._idle[0].fileno()

    def settimeout(self, seconds: float | None) -> None:
        pass

    def setsockopt(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        for end in self._idle:
            end.close()


class _Connection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> Any:
        return Socket()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


def requests_session() -> requests.Session:
    """A Session whose connections are stubs."""
    session = requests.Session()
    session.trust_env = False
    manager = session.get_adapter("http://stub").poolmanager
    manager.pool_classes_by_scheme = {"http": _Pool}
    return session


class _PlainConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = Socket()  # type: ignore[assignment]


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, request)  # type: ignore[arg-type]


def urllib_opener() -> urllib.request.OpenerDirector:
    """An opener whose connections are stubs."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _Handler)


def urllib3_pool() -> urllib3.HTTPConnectionPool:
    """A pool whose connections are stubs."""
    return _Pool("stub")


class _Stream(httpcore.NetworkStream):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return ANSWER

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        return False if info == "is_readable" else None


class _AsyncStream(httpcore.AsyncNetworkStream):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return ANSWER

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        return False if info == "is_readable" else None


class _Backend(httpcore.NetworkBackend):
    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Stream()


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _AsyncStream()


def httpx_client() -> httpx.Client:
    """A Client whose connections are stubs."""
    transport = httpx.HTTPTransport()
    transport._pool = httpcore.ConnectionPool(network_backend=_Backend())
    return httpx.Client(transport=transport, trust_env=False)


def httpx_async_client() -> httpx.AsyncClient:
    """An AsyncClient whose connections are stubs."""
    transport = httpx.AsyncHTTPTransport()
    transport._pool = httpcore.AsyncConnectionPool(network_backend=_AsyncBackend())
    return httpx.AsyncClient(transport=transport, trust_env=False)
