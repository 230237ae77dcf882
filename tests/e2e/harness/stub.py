# SPDX-License-Identifier: MIT
"""The cheapest HTTP server there is, for very many calls: it looks at nothing and keeps nothing."""

import re
import socket
import threading

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: "


class Stub:
    """Serves on a free loopback port, with connections that stay open.

    GET /hang is never answered, any other GET by "ok", and a POST (of spans, too) by nothing.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Ends accepting; connections end with their clients."""
        self._listener.shutdown(socket.SHUT_RDWR)  # Wakes accept(), which close() would not.
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return  # stop() was called.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with connection:
            try:
                while chunk := connection.recv(1 << 20):
                    buffer = self._answer(connection, buffer + chunk)
            except OSError:
                pass  # A client that has gone.

    def _answer(self, connection: socket.socket, buffer: bytes) -> bytes:
        """Answers the requests that are complete, and returns the rest."""
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < whole:
                break
            if buffer.startswith(b"POST"):
                connection.sendall(_HEAD + b"0\r\n\r\n")
            elif not buffer.startswith(b"GET /hang"):
                connection.sendall(_HEAD + b"2\r\n\r\nok")
            buffer = buffer[whole:]
        return buffer
