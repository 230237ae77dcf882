# SPDX-License-Identifier: MIT
"""The other side of outgoing HTTP calls: a server that tells what it saw."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Target:
    """Serves on a free loopback port. `seen` lists requests as {"method", "path", "headers"}.

    /status/N answers N; /redirect/N answers 302 to /redirect/N-1, and in the end to /echo;
    /hang never answers; anything else answers 200. The body is the request as JSON. Header names
    are in lower case.
    """

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.stopping = threading.Event()
        self._server = _TargetServer(("127.0.0.1", 0), _TargetHandler)
        self._server.target = self
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _TargetServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    target: Target

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that times out is no news."""


class _TargetHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _TargetServer

    def log_message(self, format: str, *args: Any) -> None:
        """`seen` is the log."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = {"method": self.command, "path": self.path, "headers": headers}
        self.server.target.seen.append(request)
        word, _, number = urlsplit(self.path).path.removeprefix("/").partition("/")
        if word == "hang":
            self.server.target.stopping.wait()
            self.close_connection = True
            return
        body = json.dumps(request).encode()
        if word == "redirect":
            left = int(number)
            self.send_response(302)
            self.send_header("Location", f"/redirect/{left - 1}" if left > 1 else "/echo")
        else:
            self.send_response(int(number) if word == "status" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET
