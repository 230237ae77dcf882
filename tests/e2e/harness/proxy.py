# SPDX-License-Identifier: MIT
"""A forward proxy that leads every request to one server, whatever the client asked for."""

import socket
import threading


class Proxy:
    """Listens on a free port. `asked` holds the first lines of what came."""

    def __init__(self, to: int) -> None:
        self.asked: list[str] = []
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Takes no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return  # stop() was called.
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        first, rest = head.split(b"\r\n", 1)
        self.asked.append(first.decode("latin-1"))
        method, target, version = first.split(b" ")
        server = socket.create_connection(("127.0.0.1", self._to))
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:  # http://host/path becomes /path.
            path = b"/" + target.split(b"/", 3)[3]
            server.sendall(b" ".join([method, path, version]) + b"\r\n" + rest)
        back = threading.Thread(target=self._relay, args=(server, client), daemon=True)
        back.start()
        self._relay(client, server)

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # One of the two has gone.
