# SPDX-License-Identifier: MIT
"""An HTTP proxy: it forwards plain requests and opens tunnels, or refuses to."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Proxy:
    """Listens on a free loopback port. `seen` lists (method, target, headers) of what it was asked.

    Whatever the target's name, it connects to `upstream`, an address with its port: tests have no
    names to resolve. `refuse`: a status with which it answers everything instead.
    """

    def __init__(self, upstream: tuple[str, int], refuse: int = 0) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.upstream = upstream
        self.refuse = refuse
        self._server = _ProxyServer(("127.0.0.1", 0), _ProxyHandler)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _ProxyServer

    def log_message(self, format: str, *args: Any) -> None:
        """`seen` is the log."""

    def _is_refused(self) -> bool:
        proxy = self.server.proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        proxy.seen.append((self.command, self.path, headers))
        if proxy.refuse:
            self.send_response(proxy.refuse)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return bool(proxy.refuse)

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if self._is_refused():
            return
        with socket.create_connection(self.server.proxy.upstream) as upstream:
            self.send_response(200)
            self.end_headers()
            threading.Thread(
                target=_copy, args=(upstream, self.connection), daemon=True
            ).start()
            _copy(self.connection, upstream)

    def do_GET(self) -> None:
        if self._is_refused():
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path)
        upstream = http.client.HTTPConnection(*self.server.proxy.upstream)
        query = f"?{path.query}" if path.query else ""
        upstream.request(self.command, path.path + query, body or None, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Copies until one side ends, and tells the other."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # One of them is gone.
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # Gone already.
