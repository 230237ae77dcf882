# SPDX-License-Identifier: MIT
"""Collectors that read a request well and answer it as no collector should: HTTP/1.1 and HTTP/2."""

import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HUGE = 5 << 30
_ZEROS = bytes(1 << 16)


class Exchange:
    """One request that was read, and the way to answer it."""

    def __init__(self, stand: "StandIn", connection: socket.socket, message: bytes) -> None:
        self.socket = connection
        self._stand = stand
        self._message = message
        self._sent = 0

    def send(self, *parts: bytes) -> None:
        """Sends and counts. Raises OSError when the peer has gone."""
        for part in parts:
            self.socket.sendall(part)
            self._sent += len(part)
            self._stand.sent = max(self._stand.sent, self._sent)

    def accept(self) -> None:
        """The answer has gone out, and said yes: the spans count as received."""
        request = ExportTraceServiceRequest.FromString(self._message)
        ids = [
            span.span_id.hex()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._stand.lock:
            self._stand.received += ids

    def hang(self) -> None:
        """Waits until the peer closes, or the stand-in stops."""
        while self.socket.recv(65536):
            pass

    def reset(self) -> None:
        """Closes with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


class StandIn:
    """Accepts connections on a free port and reads requests. `manner(exchange)` answers each; when
    it returns False the connection is closed.

    `received` holds the ids of spans whose request was accepted, in order; `sent` is how many bytes
    the longest answer had.
    """

    protocol = "http/protobuf"

    def __init__(
        self, manner: Callable[[Exchange], bool | None], tls: ssl.SSLContext | None = None
    ) -> None:
        self.manner = manner
        self.tls = tls
        self.received: list[str] = []
        self.sent = 0
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Closes the port and what is connected to it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is closed already.

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return  # stop() was called.
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            self._converse(connection)
        except (OSError, EOFError, h2.exceptions.ProtocolError):
            pass  # The peer has had enough, or stop() was called.
        finally:
            self._open.discard(connection)
            connection.close()

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while True:
                length = 0
                line = file.readline()
                while line not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                    line = file.readline()
                message = file.read(length)
                if not line or len(message) < length:
                    return
                if self.manner(Exchange(self, connection, message)) is False:
                    return


# Manners of HTTP/1.1

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
EMPTY = HEAD + b"Content-Length: 0\r\n\r\n"
# A message that says that nothing was rejected: some bytes to be slow with.
PARTIAL = HEAD + b"Content-Length: 2\r\n\r\n\x0a\x00"


def hangs_after_headers(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Content-Length: 2\r\n\r\n")
    exchange.hang()


def hangs_in_headers(exchange: Exchange) -> None:
    exchange.send(HEAD)
    exchange.hang()


def resets_after_request(exchange: Exchange) -> bool:
    exchange.reset()
    return False


def resets_after_headers(exchange: Exchange) -> bool:
    exchange.send(HEAD + b"Content-Length: 2\r\n\r\n")
    time.sleep(0.005)
    exchange.reset()
    return False


def byte_by_byte(exchange: Exchange) -> None:
    for byte in PARTIAL:
        exchange.send(bytes([byte]))
        time.sleep(0.001)
    exchange.accept()


def drips_for_ever(exchange: Exchange) -> None:
    exchange.send(HEAD + b"X: ")
    while True:
        exchange.send(b"x")
        time.sleep(0.02)


def sends_5_gb(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Content-Length: %d\r\n\r\n" % HUGE)
    for _ in range(HUGE // len(_ZEROS)):
        exchange.send(_ZEROS)


def sends_5_gb_in_chunks(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(HUGE // len(_ZEROS)):
        exchange.send(b"%x\r\n" % len(_ZEROS), _ZEROS, b"\r\n")


def continues_for_ever(exchange: Exchange) -> None:
    for _ in range(HUGE // 2500):
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def noise(exchange: Exchange) -> bool:
    exchange.send(random.Random(1).randbytes(100_000))
    return False


def bad_chunks(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\x00\r\n-5\r\n")
    exchange.hang()


def closes_silently(exchange: Exchange) -> bool:
    """It promises to go on, and does not: the next request must not be lost by that."""
    exchange.send(EMPTY)
    exchange.accept()
    return False


def answers_twice(exchange: Exchange) -> None:
    """The second answer is nobody's: not the next request's, above all."""
    exchange.send(EMPTY + b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
    exchange.accept()


def without_length(exchange: Exchange) -> bool:
    exchange.send(HEAD + b"\r\n")
    exchange.accept()
    return False


def http_1_0(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.0 200 OK\r\n\r\n")
    exchange.accept()
    return False


def no_content(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    exchange.accept()


def retry_after(value: str) -> Callable[[Exchange], None]:
    """Every second request is to come again, after the time that `value` says."""
    turn = iter(range(1 << 30))

    def answer(exchange: Exchange) -> None:
        if next(turn) % 2:
            exchange.send(EMPTY)
            exchange.accept()
        else:
            exchange.send(
                b"HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n"
                b"Retry-After: %s\r\n\r\n" % value.encode()
            )

    return answer


class Http2StandIn(StandIn):
    """The same by HTTP/2, for gRPC."""

    protocol = "grpc"

    def __init__(self, manner: Callable[["Stream"], bool | None]) -> None:
        super().__init__(manner)  # type: ignore[arg-type]

    def _converse(self, connection: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False)
        protocol = h2.connection.H2Connection(config)
        protocol.initiate_connection()
        connection.sendall(protocol.data_to_send())
        bodies: dict[int, bytes] = {}
        for event in _events(connection, protocol):
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                body = bodies.pop(event.stream_id, b"")
                stream = Stream(self, connection, body[5:], protocol, event.stream_id)
                if self.manner(stream) is False:
                    return
            connection.sendall(protocol.data_to_send())


def _events(
    connection: socket.socket, protocol: h2.connection.H2Connection
) -> Iterator[h2.events.Event]:
    while data := connection.recv(65536):
        yield from protocol.receive_data(data)


class Stream(Exchange):
    """One request of HTTP/2."""

    def __init__(
        self,
        stand: StandIn,
        connection: socket.socket,
        message: bytes,
        protocol: h2.connection.H2Connection,
        number: int,
    ) -> None:
        super().__init__(stand, connection, message)
        self.protocol = protocol
        self.number = number

    def flush(self) -> None:
        self.send(self.protocol.data_to_send())

    def headers(self, *more: tuple[str, str], end: bool = False) -> None:
        first = [(":status", "200"), ("content-type", "application/grpc")]
        self.protocol.send_headers(self.number, [*first, *more], end_stream=end)
        self.flush()

    def data(self, data: bytes, end: bool = False) -> None:
        self.protocol.send_data(self.number, data, end_stream=end)
        self.flush()

    def trailers(self, status: int) -> None:
        trailers = [("grpc-status", str(status))]
        self.protocol.send_headers(self.number, trailers, end_stream=True)
        self.flush()


# Manners of HTTP/2


def grpc_hangs_after_headers(stream: Stream) -> None:
    stream.headers()
    stream.hang()


def grpc_byte_by_byte(stream: Stream) -> None:
    stream.headers()
    for byte in b"\x00\x00\x00\x00\x02\x0a\x00":
        stream.data(bytes([byte]))
        time.sleep(0.005)
    stream.trailers(0)
    stream.accept()


def grpc_sends_5_gb(stream: Stream) -> None:
    stream.headers()
    stream.data(b"\x00\xff\xff\xff\xff")
    sent = 0
    while sent < HUGE:
        room = min(stream.protocol.local_flow_control_window(stream.number), 16384)
        if room:
            stream.data(_ZEROS[:room])
            sent += room
            continue
        for event in stream.protocol.receive_data(stream.socket.recv(65536)):
            if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                return


def grpc_resets_stream(stream: Stream) -> None:
    stream.protocol.reset_stream(stream.number, h2.errors.ErrorCodes.INTERNAL_ERROR)
    stream.flush()


def grpc_goes_away(stream: Stream) -> bool:
    stream.headers()
    stream.data(bytes(5))
    stream.protocol.close_connection(last_stream_id=stream.number)
    stream.flush()
    return False


def grpc_goes_away_afterwards(stream: Stream) -> bool:
    """A moment after its answer: curl 7 may not look at one that came together with the end."""
    stream.headers()
    stream.data(bytes(5))
    stream.trailers(0)
    stream.accept()
    time.sleep(0.05)
    stream.protocol.close_connection(last_stream_id=stream.number)
    stream.flush()
    # To close with something unread would be a reset, which may overtake the answer.
    stream.socket.shutdown(socket.SHUT_WR)
    stream.hang()
    return False


def grpc_without_status(stream: Stream) -> None:
    """As behind a proxy that passes on no trailers: a message comes with success alone."""
    stream.headers()
    stream.data(bytes(5), end=True)
    stream.accept()


def grpc_without_anything(stream: Stream) -> None:
    stream.headers(end=True)


def grpc_trailers_only(stream: Stream) -> None:
    stream.headers(("grpc-status", "0"), end=True)
    stream.accept()


def grpc_truncated_message(stream: Stream) -> None:
    """The status says yes, and the message is none."""
    stream.headers()
    stream.data(b"\x00\x00\x00\x10\x00abc")
    stream.trailers(0)
    stream.accept()


def grpc_noise(stream: Stream) -> bool:
    stream.send(random.Random(2).randbytes(100_000))
    return False
