# SPDX-License-Identifier: MIT
"""Recording OTLP receivers, HTTP and gRPC, that check what they get and misbehave on order."""

import gzip
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from .deadline import scaled
from .otlp import Span, describe, faults, flatten

GRPC_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
USER_AGENT = re.compile(r"(^| )OTel-OTLP-Exporter-\w+/\d\S*( |$)")


@dataclass(frozen=True)
class Answer:
    """How one request is answered; without arguments, as a good collector does.

    `status` is the HTTP status, or the gRPC status code; None is success. `headers` are sent
    along (gRPC: as trailing metadata). `body` replaces the serialised response. `message` is
    gRPC's; with `limit`, the answer is for larger messages only, and others are accepted.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    manner: str = "answer"  # or "hang", "close"
    message: str = "as the test ordered"
    limit: int = 0

    @property
    def accepts(self) -> bool:
        """True when the sender must take the batch for delivered."""
        return self.manner == "answer" and self.status in (None, 0, 200)


GOOD = Answer()
GARBAGE = Answer(body=b"\xff\xfe<html>not protobuf</html>")
HANG = Answer(manner="hang")  # Never answers; the connection stays open.
CLOSE = Answer(manner="close")  # Reads the request, then closes (HTTP only).


def partial_success(rejected: int, message: str = "") -> Answer:
    """Returns an answer that accepts the request but says that `rejected` spans were refused."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return Answer(body=response.SerializeToString())


@dataclass(frozen=True)
class Request:
    """One request as it came: header names in lower case, `body` still compressed (HTTP)."""

    path: str
    headers: dict[str, str]
    body: bytes
    spans: list[Span]
    answer: Answer


class Receiver:
    """What both receivers share. Spans count as received when the answer accepts them."""

    def __init__(self, protocol: str, address: str = "127.0.0.1", port: int = 0) -> None:
        self.protocol = protocol
        self.address = address
        self.requests: list[Request] = []
        self.violations: list[str] = []  # Rules broken by the sender; a fixture asserts none.
        self._spans: list[Span] = []
        self._seen: set[tuple[str, str]] = set()
        self._answers: list[Answer] = [GOOD]
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # Bound but never listening, it keeps the port ours while the receiver refuses.
        self._holder = _bind(address, port)
        self.port: int = self._holder.getsockname()[1]
        host = f"[{address}]" if ":" in address else address
        self.endpoint = f"http://{host}:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment that sends a traced process here, without much delay."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    @property
    def spans(self) -> list[Span]:
        """The spans received so far, in order of arrival."""
        with self._changed:
            return list(self._spans)

    def behave(self, *answers: Answer) -> None:
        """Uses these answers in turn from now on; the last one stays. None given: GOOD."""
        with self._changed:
            self._answers = list(answers) or [GOOD]

    def wait(
        self, want: int | Callable[[list[Span]], object] = 1, timeout: float = 10
    ) -> list[Span]:
        """Returns all spans once there are `want` of them, or once `want(spans)` is true.

        Raises AssertionError with what had come when time is over or a rule was broken. To assert
        that nothing more comes, stop the traced process first: it flushes when it ends.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: (
                    self.violations
                    or (want(self._spans) if callable(want) else len(self._spans) >= want)
                ),
                scaled(timeout),
            )
            self.check()
            if not done:
                wanted = "spans that satisfy the predicate" if callable(want) else f"{want} spans"
                raise AssertionError(
                    f"waited {scaled(timeout):g} s for {wanted}; {len(self.requests)} requests "
                    f"brought\n{describe(self._spans)}"
                )
            return list(self._spans)

    def wait_requests(self, count: int = 1, timeout: float = 10) -> list[Request]:
        """Returns the requests once there are `count`, whatever they were answered.

        Raises AssertionError when time is over.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, scaled(timeout)):
                raise AssertionError(
                    f"waited {scaled(timeout):g} s for {count} requests, got {len(self.requests)}"
                )
            return list(self.requests)

    def clear(self) -> None:
        """Forgets spans, requests and violations; duplicates are still noticed."""
        with self._changed:
            self._spans.clear()
            self.requests.clear()
            self.violations.clear()

    def check(self) -> None:
        """Raises AssertionError when the sender has broken a rule."""
        assert not self.violations, "OTLP rules broken:\n  " + "\n  ".join(self.violations)

    def _take(
        self, path: str, headers: dict[str, str], body: bytes, message: bytes, complaints: list[str]
    ) -> Answer:
        """Records one request and returns the answer to give."""
        request = ExportTraceServiceRequest()
        if not USER_AGENT.search(headers.get("user-agent", "")):
            complaints.append(f"user agent {headers.get('user-agent')!r}")
        try:
            request.ParseFromString(message)
            complaints += faults(request)
        except DecodeError as error:
            complaints.append(f"not an ExportTraceServiceRequest: {error}")
        spans = flatten(request.resource_spans)
        with self._changed:
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if len(message) <= answer.limit:
                answer = GOOD
            if answer.accepts:
                for span in spans:
                    if (span.trace_id, span.span_id) in self._seen:
                        complaints.append(f"span {span.name!r} {span.span_id} came twice")
                    self._seen.add((span.trace_id, span.span_id))
                self._spans += spans
            self.requests.append(Request(path, headers, body, spans, answer))
            self.violations += complaints
            self._changed.notify_all()
        return answer

    def _complain(self, complaint: str) -> None:
        with self._changed:
            self.violations.append(complaint)
            self._changed.notify_all()


class HttpReceiver(Receiver):
    """OTLP/HTTP protobuf: POST /v1/traces. Starts listening at once.

    `connections` counts accepted connections; `strangers` holds first lines that were no HTTP/1.
    """

    def __init__(
        self,
        path: str = "/v1/traces",
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        unix: str | None = None,
    ) -> None:
        """Listens on the address, on a free port or the given one, by TLS or not, or on a Unix
        socket at the path `unix`."""
        super().__init__("http/protobuf", address, port)
        self.path = path
        self.tls = tls
        self.unix = unix
        if tls is not None:
            self.endpoint = self.endpoint.replace("http:", "https:")
        if unix is not None:
            self.endpoint = f"unix://{unix}"
        self.connections = 0
        self.strangers: list[bytes] = []
        self._server: _HttpServer | None = None
        self.accept()

    def accept(self) -> None:
        """Listens (again, after refuse) on the same port."""
        if self._server is None:
            self._stopping.clear()
            self._server = _HttpServer(self)
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self) -> None:
        """Closes all connections and refuses new ones; the port stays reserved."""
        if self._server is not None:
            self._stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def stop(self) -> None:
        """Ends the receiver and gives the port back."""
        self.refuse()
        self._holder.close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # A handler may sit in a read from a client that stays connected.
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, receiver: HttpReceiver) -> None:
        address: Any = (receiver.address, receiver.port)
        if receiver.unix is not None:
            address = receiver.unix
            self.address_family = socket.AF_UNIX
        elif ":" in receiver.address:
            self.address_family = socket.AF_INET6
        self.receiver = receiver
        self.open: set[socket.socket] = set()
        super().__init__(address, _HttpHandler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_UNIX:
            self.socket.bind(self.receiver.unix or "")
        else:
            super().server_bind()

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.receiver.tls is not None:  # In the connection's own thread.
            request = self.receiver.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.receiver.connections += 1
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # Its handler has closed it meanwhile.


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def disable_nagle_algorithm(self) -> bool:  # type: ignore[override]
        """Unix sockets have none."""
        return self.server.receiver.unix is None

    server: _HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        """The record of requests is the log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.server.receiver.strangers.append(getattr(self, "raw_requestline", b""))
        super().send_error(code, message, explain)

    def do_GET(self) -> None:
        self.server.receiver._complain(f"{self.command} {self.path}")
        self._reply(405, {}, b"")

    do_PUT = do_HEAD = do_DELETE = do_OPTIONS = do_GET

    def do_POST(self) -> None:
        receiver = self.server.receiver
        headers = {name.lower(): value for name, value in self.headers.items()}
        complaints = []
        if self.path != receiver.path:
            complaints.append(f"path {self.path!r}")
        if headers.get("content-type") != "application/x-protobuf":
            complaints.append(f"content type {headers.get('content-type')!r}")
        if not headers.get("content-length", "").isdigit():
            complaints.append("no content length")
            headers["content-length"] = "0"
        body = message = self.rfile.read(int(headers["content-length"]))
        if len(body) < int(headers["content-length"]):
            self.close_connection = True
            return  # The sender has died in the middle.
        encoding = headers.get("content-encoding")
        if encoding == "gzip":
            try:
                message = gzip.decompress(body)
            except (OSError, EOFError, zlib.error) as error:
                complaints.append(f"not gzip: {error}")
        elif encoding is not None:
            complaints.append(f"content encoding {encoding!r}")
        bad = bool(complaints)
        answer = receiver._take(self.path, headers, body, message, complaints)
        if answer.manner == "hang":
            receiver._stopping.wait()
        if answer.manner != "answer":
            self.close_connection = True
        elif bad:
            self._reply(400, {}, b"")
        else:
            self._reply(answer.status or 200, answer.headers, answer.body)

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        if "content-type" not in {name.lower() for name in headers}:
            self.send_header("Content-Type", "application/x-protobuf")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class GrpcReceiver(Receiver):
    """OTLP/gRPC. It speaks HTTP/2 only, so it is also the wrong port for an HTTP/1 sender."""

    def __init__(
        self, *, tls: grpc.ServerCredentials | None = None, unix: str | None = None
    ) -> None:
        """Listens on a port, by TLS or not, or on a Unix socket at the path `unix`."""
        super().__init__("grpc")
        self.tls = tls
        self.unix = unix
        if tls is not None:
            self.endpoint = self.endpoint.replace("http:", "https:")
        if unix is not None:
            self.endpoint = f"unix://{unix}"
        self._server: grpc.Server | None = None
        self.accept()

    def accept(self) -> None:
        """Listens (again, after refuse) on the same port."""
        if self._server is None:
            self._stopping.clear()
            self._server = grpc.server(
                ThreadPoolExecutor(max_workers=16),
                handlers=(_GrpcService(self),),
                options=[("grpc.so_reuseport", 0)],
            )
            where = f"unix:{self.unix}" if self.unix else f"127.0.0.1:{self.port}"
            if self.tls is not None:
                bound = self._server.add_secure_port(where, self.tls)
            else:
                bound = self._server.add_insecure_port(where)
            assert bound in (self.port, 1), f"gRPC listens on {bound}, not on {self.port}"
            self._server.start()

    def refuse(self) -> None:
        """Closes all connections and refuses new ones; the port stays reserved."""
        if self._server is not None:
            self._stopping.set()
            self._server.stop(0).wait()
            self._server = None

    def stop(self) -> None:
        """Ends the receiver and gives the port back."""
        self.refuse()
        self._holder.close()

    def behave(self, *answers: Answer) -> None:
        """As Receiver.behave. Raises ValueError for CLOSE, which gRPC cannot do."""
        if CLOSE in answers:
            raise ValueError("a GrpcReceiver cannot close; use a RawServer or refuse()")
        super().behave(*answers)


class _GrpcService(grpc.GenericRpcHandler):
    def __init__(self, receiver: GrpcReceiver) -> None:
        self.receiver = receiver

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != GRPC_METHOD:
            self.receiver._complain(f"method {details.method!r}")
            return None
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        headers = {str(name): str(value) for name, value in context.invocation_metadata()}
        answer = self.receiver._take(GRPC_METHOD, headers, message, message, [])
        if answer.manner == "hang":
            while context.is_active() and not self.receiver._stopping.wait(0.05):
                pass
        context.set_trailing_metadata(tuple(answer.headers.items()))
        if answer.status:
            context.abort(_CODES[answer.status], answer.message)
        return answer.body


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _bind(address: str, port: int) -> socket.socket:
    holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((address, port))
    return holder
