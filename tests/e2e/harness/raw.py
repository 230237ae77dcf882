# SPDX-License-Identifier: MIT
"""TCP servers that speak no protocol at all, for what a wrong endpoint may be."""

import socket
import threading


class RawServer:
    """Accepts connections on a free port and treats each in the same way.

    manner: "refuse" (the port is closed and stays ours), "close" (closes at once), "reset" (resets
    at once), "silent" (reads, never answers), "talk" (sends `banner`, then reads).
    """

    def __init__(self, manner: str, banner: bytes = b"SSH-2.0-OpenSSH_9.2\r\n") -> None:
        if manner not in ("refuse", "close", "reset", "silent", "talk"):
            raise ValueError(f"unknown manner {manner!r}")
        self.connections = 0
        self._manner = manner
        self._banner = banner
        self._open: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if manner != "refuse":
            self._listener.listen(128)
            self._accepting = threading.Thread(target=self._accept, daemon=True)
            self._accepting.start()

    def stop(self) -> None:
        """Closes the port and what is connected to it."""
        if self._manner != "refuse":
            self._listener.shutdown(socket.SHUT_RDWR)  # Wakes accept(), which close() would not.
            self._accepting.join()
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # The peer was first.
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return  # stop() was called.
            self.connections += 1
            if self._manner == "reset":
                linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if self._manner in ("close", "reset"):
                connection.close()
                continue
            self._open.append(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            if self._manner == "talk":
                connection.sendall(self._banner)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # Reset by the peer or closed by stop().
