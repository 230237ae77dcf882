# SPDX-License-Identifier: MIT
"""A stand-in for Jaeger's SamplingManager that answers what a test wants, good or bad."""

import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from .deadline import scaled

METHOD = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"


def ratio(value: float) -> bytes:
    """Returns the answer that wants this part of all traces."""
    return b"\x12\x09\x09" + struct.pack("<d", value)


class SamplingManager:
    """Serves on a loopback port that stays its own. `questions` has the services that asked.

    `answer` is what it answers with: the bytes of a message, a grpc.StatusCode, or None for no
    answer at all.
    """

    def __init__(self, answer: bytes | grpc.StatusCode | None, listen: bool = True) -> None:
        self.answer = answer
        self.questions: list[str] = []
        self._stopping = threading.Event()
        # Bound but never listening, it keeps the port while nobody answers there.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        self._address = f"127.0.0.1:{self._holder.getsockname()[1]}"
        self.endpoint = f"http://{self._address}"
        self._server: grpc.Server | None = None
        if listen:
            self.listen()

    def listen(self) -> None:
        """Begins to answer."""
        handler = grpc.method_handlers_generic_handler(
            METHOD.split("/")[1],
            {METHOD.split("/")[2]: grpc.unary_unary_rpc_method_handler(self._serve)},
        )
        self._server = grpc.server(ThreadPoolExecutor(8), [handler])
        assert self._server.add_insecure_port(self._address), self._address
        self._server.start()

    def stop(self) -> None:
        """Ends it, and gives the port back."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop(None).wait(scaled(5))
        self._holder.close()

    def _serve(self, question: bytes, context: Any) -> bytes:
        assert question[:1] == b"\x0a" and question[1] == len(question) - 2, question
        self.questions.append(question[2:].decode())
        answer = self.answer
        if answer is None:
            self._stopping.wait()
            return b""
        if isinstance(answer, bytes):
            return answer
        context.abort(answer, "not today")
        raise AssertionError("abort returns")
