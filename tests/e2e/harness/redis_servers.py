# SPDX-License-Identifier: MIT
"""Redis as a cluster of two nodes, and a sentinel, of the distribution's packages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from . import databases
from .databases import Redis
from .deadline import until

SLOTS = 16384
_HIGHEST = 55535  # A node's bus listens ten thousand above its port.


class Node(Redis):
    """One node of a cluster."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder)

    def _command(self) -> Sequence[str]:
        return [*super()._command(), "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]

    def start(self) -> None:
        """Starts it on a port that leaves room for its bus."""
        while self.port > _HIGHEST:
            self.port = databases._free_port()
        super().start()

    def ask(self, *command: Any) -> Any:
        """The answer to one command."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)


class Cluster:
    """Two nodes; the first has the lower half of the slots."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list[Node] = []
        folder.chmod(0o711)
        try:
            for name in ("first", "second"):
                self.nodes.append(Node(folder / name))
            first, second = self.nodes
            first.ask("CLUSTER ADDSLOTS", *range(SLOTS // 2))
            second.ask("CLUSTER ADDSLOTS", *range(SLOTS // 2, SLOTS))
            first.ask("CLUSTER MEET", "127.0.0.1", second.port)
            until(self._agrees, 60, lambda: "".join(node.log() for node in self.nodes))
        except BaseException:
            self.stop()
            raise

    def _agrees(self) -> bool:
        return all(
            node.ask("CLUSTER INFO")["cluster_state"] == "ok"
            and node.ask("CLUSTER INFO")["cluster_known_nodes"] == "2"
            for node in self.nodes
        )

    def stop(self) -> None:
        """Kills both nodes."""
        for node in self.nodes:
            node.stop()


class Sentinel(Redis):
    """A sentinel that knows one server as "shop"."""

    def __init__(self, folder: Path, server: Redis) -> None:
        self._server = server
        super().__init__(folder)

    def _command(self) -> Sequence[str]:
        path = self.folder / "sentinel.conf"  # It writes into it.
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor shop 127.0.0.1 {self._server.port} 1\n"
        )
        path.chmod(0o666)
        return [databases._program("redis-server"), str(path), "--sentinel"]
