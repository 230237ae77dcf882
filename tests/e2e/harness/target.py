# SPDX-License-Identifier: MIT
"""The other side of outgoing HTTP calls: a server that tells what it saw, and misbehaves if asked.

Every client's tests use it, plain or with TLS; harness.proxy is what may stand in between.
"""

import json
import socket
import ssl
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

_HI = b"Content-Length: 2\r\n\r\nhi"

# What /raw/NAME answers, byte for byte; then the connection ends.
RAW = {
    "999": b"HTTP/1.1 999 Odd\r\n" + _HI,
    "099": b"HTTP/1.1 099 Odd\r\n" + _HI,
    "0": b"HTTP/1.1 0 Odd\r\n" + _HI,
    "words": b"HTTP/1.1 two hundred\r\n" + _HI,
    "bare": b"HTTP/1.1 200\r\n" + _HI,
    "version": b"HTTP/7.5 200 OK\r\n" + _HI,
    "old": b"HTTP/1.0 200 OK\r\n\r\nhi",
    "empty": b"",
    "garbage": b"\x16\x03\x01\x00\x00 no HTTP\r\n\r\n",
    "bytes": b"HTTP/1.1 200 \xff\xfe\r\nX-Bytes: \xff\x01\xe9\r\nX-\xe9: 1\r\nX-Utf: \xc3\xa9\r\n" + _HI,
    "colons": b"HTTP/1.1 200 OK\r\nX-Before: 1\r\n: no name\r\nno colon\r\n" + _HI,
    "folded": b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\n\tc\r\n" + _HI,
    "huge": b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 100_000 + b"\r\n" + _HI,
    "big": b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 20_000 + b"\r\n" + _HI,
    "many": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + _HI,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + _HI,
    "early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n" + _HI,
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + _HI,
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi",
    "both": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n"
    b"2\r\nhi\r\n0\r\n\r\n",
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi",
    "long": b"HTTP/1.1 200 OK\r\n" + _HI + b" and more",
    "chunks-short": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n9\r\nhalf",
    "chunks-bad": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\nhalf\r\n",
    "gzip-bad": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + _HI,
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
    b"2\r\nhi\r\n0\r\nX-End: 1\r\n\r\n",
    "nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "astray": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/%zz\r\nContent-Length: 0\r\n\r\n",
}


class Target:
    """Serves on a free loopback port. `seen` lists requests as {"method", "path", "headers"}.

    Header names are in lower case. Where nothing else is said, the answer is 200 with the request
    as JSON:

    /status/N              answers N
    /redirect/N            302 to /redirect/N-1, and in the end to /echo
    /redirect-to?url=&status=  redirects there
    /hang                  never answers
    /fail/KEY/N/STATUS     answers STATUS to the first N requests of this KEY
    /drop/KEY/N            closes the connection instead of answering the first N
    /basic, /digest        401 with a challenge to a request without authorization of that scheme
    /headers               answers with Set-Cookie: a=hush-cookie-1 and b=hush-cookie-2, and
                           X-Many: one and two
    /bytes/N               a body of N bytes with its length
    /chunks/N              a body of N chunks `chunk I\n`
    /gated/KEY             a body of 11 bytes, of which the last 6 come only after ...
    /open/KEY              ... somebody has asked for this
    /raw/NAME              the bytes of RAW[NAME], and the end of the connection

    By family AF_INET6 it is at ::1. With `tls` it speaks TLS with a certificate of the authority whose file is `ca`.
    """

    def __init__(self, tls: bool = False, family: int = socket.AF_INET) -> None:
        self.seen: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.stopping = threading.Event()
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._server = (_TargetServer6 if family == socket.AF_INET6 else _TargetServer)(
            (host, 0), _TargetHandler
        )
        self._server.target = self
        self._folder = tempfile.TemporaryDirectory() if tls else None
        if self._folder:
            self._secure(Path(self._folder.name) / "ca.pem")
        self.port: int = self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _secure(self, path: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(path))
        self.ca = str(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost", "shop.invalid").configure_cert(context)
        # The handshake takes place in the connection's own thread.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    def headers(self, path: str) -> list[dict[str, str]]:
        """Returns the headers of the requests to this path, in their order."""
        return [request["headers"] for request in self.seen if request["path"] == path]

    def stop(self) -> None:
        """Ends the server."""
        self.stopping.set()
        for gate in list(self.gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        if self._folder:
            self._folder.cleanup()


class _TargetServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    target: Target

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that times out, or does not trust us, is no news."""


class _TargetServer6(_TargetServer):
    address_family = socket.AF_INET6


class _TargetHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # Head and body go out together: what a client sees first is no matter of luck.
    server: _TargetServer

    def log_message(self, format: str, *args: Any) -> None:
        """`seen` is the log."""

    def _read_body(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()

    def do_GET(self) -> None:
        self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_seen = {"method": self.command, "path": self.path, "headers": headers}
        self.server.target.seen.append(self.request_seen)
        word, *rest = urlsplit(self.path).path.removeprefix("/").split("/")
        answer = getattr(self, "answer_" + word.replace("-", "_"), None)
        if answer is None:
            self._answer(200)
        else:
            answer(*rest)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET

    def _answer(
        self, status: int, *headers: tuple[str, str], body: bytes | None = None, sent: int = -1
    ) -> None:
        """Answers with a body (the request), or with its first `sent` bytes only."""
        if body is None:
            body = json.dumps(self.request_seen).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent < 0 else body[:sent])

    def _is_early(self, key: str, count: str) -> bool:
        """True for the first `count` requests of this key."""
        counts = self.server.target.counts
        counts[key] += 1
        return counts[key] <= int(count)

    def _hang_up(self) -> None:
        self.close_connection = True

    def answer_status(self, status: str) -> None:
        self._answer(int(status))

    def answer_redirect(self, count: str) -> None:
        left = int(count)
        self._answer(302, ("Location", f"/redirect/{left - 1}" if left > 1 else "/echo"))

    def answer_redirect_to(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self._answer(int(query.get("status", ["302"])[0]), ("Location", query["url"][0]))

    def answer_hang(self) -> None:
        self.server.target.stopping.wait()
        self._hang_up()

    def answer_fail(self, key: str, count: str, status: str) -> None:
        self._answer(int(status) if self._is_early(key, count) else 200)

    def answer_drop(self, key: str, count: str) -> None:
        if self._is_early(key, count):
            self._hang_up()
        else:
            self._answer(200)

    def answer_basic(self) -> None:
        self._challenge("Basic", 'Basic realm="shop"')

    def answer_digest(self) -> None:
        self._challenge("Digest", 'Digest realm="shop", nonce="abc", qop="auth", algorithm=MD5')

    def _challenge(self, scheme: str, challenge: str) -> None:
        if self.headers.get("Authorization", "").startswith(scheme + " "):
            self._answer(200)
        else:
            self._answer(401, ("WWW-Authenticate", challenge))

    def answer_headers(self) -> None:
        self._answer(
            200,
            ("Set-Cookie", "a=hush-cookie-1"),
            ("X-Many", "one"),
            ("Set-Cookie", "b=hush-cookie-2"),
            ("X-Many", "two"),
        )

    def answer_bytes(self, count: str) -> None:
        self._answer(200, body=b"x" * int(count))

    def answer_chunks(self, count: str) -> None:
        def pieces() -> Iterator[bytes]:
            for i in range(int(count)):
                piece = b"chunk %d\n" % i
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
            yield b"0\r\n\r\n"

        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces():
            self.wfile.write(piece)

    def answer_gated(self, key: str) -> None:
        self._answer(200, body=b"first second"[:11], sent=5)
        self.wfile.flush()
        self.server.target.gates[key].wait()
        self.wfile.write(b" secon")

    def answer_open(self, key: str) -> None:
        self.server.target.gates[key].set()
        self._answer(200)

    def answer_raw(self, name: str) -> None:
        self.wfile.write(RAW[name])
        self._hang_up()
