# SPDX-License-Identifier: MIT
"""The table of collectors that are away, broken or hostile: one row a fault."""

import datetime
import socket
import ssl
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import standin
from .raw import RawServer
from .receiver import (
    CLOSE,
    GARBAGE,
    HANG,
    Answer,
    GrpcReceiver,
    HttpReceiver,
    Receiver,
    partial_success,
)
from .standin import Http2StandIn, StandIn
from .tls import Authority

OTLP = "OTEL_EXPORTER_OTLP_"
ENDPOINT = OTLP + "ENDPOINT"
PROTOCOL = OTLP + "PROTOCOL"


@dataclass(frozen=True)
class Stand:
    """A collector that is there: the environment that sends a process to it, and the ids of the
    spans that it has accepted, one by one."""

    env: dict[str, str]
    received: Callable[[], list[str]] = field(default=list)
    sent: Callable[[], int] = field(default=lambda: 0)  # Bytes of the longest answer.


Make = Callable[[ExitStack, Path], Stand]


@dataclass(frozen=True)
class Fault:
    """`make(stack, folder)` sets it up; `fate` is what becomes of spans: all are "lost", or "sent",
    or "some" are."""

    make: Make
    fate: str = "lost"
    says: str = ""  # What the agent's line says of why, where all are lost.


def answers(
    *given: Answer, kind: Callable[..., Any] = HttpReceiver, chosen: str = "", rejects: int = 0
) -> Make:
    """A receiver that answers so, whose protocol the sender knows, or believes to know. It takes
    all but `rejects` spans of each request."""

    def make(stack: ExitStack, folder: Path) -> Stand:
        receiver: Receiver = kind()
        stack.callback(receiver.stop)  # type: ignore[attr-defined]
        receiver.behave(*given)
        env = {ENDPOINT: receiver.endpoint, PROTOCOL: chosen or receiver.protocol}

        def received() -> list[str]:
            requests = [request for request in receiver.requests if request.answer.accepts]
            taken = [request.spans[rejects:] for request in requests]
            return [span.span_id for spans in taken for span in spans]

        return Stand(env, received)

    return make


def raw(manner: str, *banner: bytes) -> Make:
    def make(stack: ExitStack, folder: Path) -> Stand:
        server = RawServer(manner, *banner)
        stack.callback(server.stop)
        return Stand({ENDPOINT: server.endpoint})

    return make


def stands_in(manner: Callable[..., Any], **more: Any) -> Make:
    """A stand-in with this manner of HTTP/1.1."""
    return _stand(lambda: StandIn(manner, **more))


def grpc(manner: Callable[..., Any], **more: Any) -> Make:
    """A stand-in with this manner of HTTP/2."""
    return _stand(lambda: Http2StandIn(manner, **more))


def _stand(make_server: Callable[[], StandIn]) -> Make:
    def make(stack: ExitStack, folder: Path) -> Stand:
        server = make_server()
        stack.callback(server.stop)
        env = {ENDPOINT: server.endpoint, PROTOCOL: server.protocol}
        return Stand(env, lambda: list(server.received), lambda: server.sent)

    return make


def scheme(other: str, make: Make) -> Make:
    """The same port by the other scheme."""

    def made(stack: ExitStack, folder: Path) -> Stand:
        stand = make(stack, folder)
        url = other + stand.env[ENDPOINT][stand.env[ENDPOINT].index(":") :]
        return Stand(stand.env | {ENDPOINT: url}, stand.received)

    return made


def full(stack: ExitStack, folder: Path) -> Stand:
    """A port whose queue is full: a connection is neither made nor refused."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(3):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    return Stand({ENDPOINT: f"http://127.0.0.1:{listener.getsockname()[1]}"})


def nowhere(stack: ExitStack, folder: Path) -> Stand:
    """A name that nobody has."""
    return Stand({ENDPOINT: "http://collector.invalid:4318"})


# TLS


def tls(
    kind: str,
    *,
    name: str = "127.0.0.1",
    believed: bool = True,
    old: bool = False,
    manner: Callable[..., Any] | None = None,
    **issued: Any,
) -> Make:
    """A receiver by TLS, with a certificate for `name`, which is right but for what is given."""

    def make(stack: ExitStack, folder: Path) -> Stand:
        authority = Authority(folder)
        clients = issued.pop("clients", False)
        context = authority.server_context(name, clients=clients, **issued)
        if old:
            with warnings.catch_warnings():  # Python says that they are deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
        server: Any
        if manner is not None:
            server = StandIn(manner, tls=context)
        elif kind == "http":
            server = HttpReceiver(tls=context)
        else:
            server = GrpcReceiver(tls=authority.grpc_credentials(name, clients=clients, **issued))
        stack.callback(server.stop)
        env = {ENDPOINT: server.endpoint, PROTOCOL: server.protocol}
        if believed:
            env[OTLP + "CERTIFICATE"] = str(authority.file)
        if manner is not None:
            return Stand(env, lambda: list(server.received))
        return Stand(env, lambda: [span.span_id for span in server.spans])

    return make


def of_another_authority(kind: str) -> Make:
    """The user believes one authority, and the collector's certificate is of another."""

    def make(stack: ExitStack, folder: Path) -> Stand:
        other = folder / "other"
        other.mkdir()
        stand = tls(kind)(stack, folder)
        return Stand(stand.env | {OTLP + "CERTIFICATE": str(Authority(other).file)}, stand.received)

    return make


YESTERDAY = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
TOMORROW = YESTERDAY + datetime.timedelta(days=2)

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
HTML = Answer(headers={"Content-Type": "text/html"}, body=b"<html>Welcome</html>")
NO_CERTIFICATE = "(hung up|not closed cleanly|HTTP2|HTTP/2) .*want a client's certificate"
OTHER_NAME = "no alternative certificate"
ESCAPES = b"\x1b[2J\xc2\x9b2J\x07"
LATER = {"Retry-After": "100000"}

FAULTS: dict[str, Fault] = {
    # Not reached, or hung up on.
    "absent": Fault(raw("refuse"), says="Connection refused"),
    "nowhere": Fault(nowhere, says="Could not resolve"),
    "closing": Fault(raw("close")),
    "resetting": Fault(raw("reset")),
    "silent": Fault(raw("silent"), says="timed out"),
    "full": Fault(full, says="timed out"),
    "hanging": Fault(answers(HANG)),
    "hanging-up": Fault(answers(CLOSE)),
    "reset-after-request": Fault(stands_in(standin.resets_after_request)),
    "reset-after-headers": Fault(stands_in(standin.resets_after_headers)),
    "hanging-in-headers": Fault(stands_in(standin.hangs_in_headers), says="timed out"),
    "hanging-after-headers": Fault(stands_in(standin.hangs_after_headers), says="timed out"),
    "truncated": Fault(raw("talk", OK_HEAD + b"Content-Length: 1000\r\n\r\nhalf")),
    "closing-silently": Fault(stands_in(standin.closes_silently), "sent"),
    # Slow.
    "byte-by-byte": Fault(stands_in(standin.byte_by_byte), "sent"),
    "dripping": Fault(stands_in(standin.drips_for_ever), says="timed out"),
    # No.
    "400": Fault(answers(Answer(400, body=b"\x1b[2J no")), says="HTTP 400"),
    "404": Fault(answers(Answer(404)), says="HTTP 404"),
    "500": Fault(answers(Answer(500)), says="HTTP 500"),
    "413": Fault(answers(Answer(413)), says="HTTP 413"),
    "redirect": Fault(answers(Answer(302, headers={"Location": "/v1/traces"})), says="HTTP 302"),
    "web-page": Fault(answers(HTML, rejects=1 << 40), says="web page"),
    # Not now.
    "429": Fault(answers(Answer(429)), says="HTTP 429"),
    "429-later": Fault(answers(Answer(429, headers=LATER)), says="HTTP 429"),
    "503": Fault(answers(Answer(503)), says="HTTP 503"),
    "503-later": Fault(answers(Answer(503, headers=LATER)), says="HTTP 503"),
    "retry-after-1": Fault(stands_in(standin.retry_after("1")), "sent"),
    "retry-after-nonsense": Fault(stands_in(standin.retry_after("-99999999999999999999")), "sent"),
    "retry-after-past": Fault(
        stands_in(standin.retry_after("Sun, 06 Nov 1994 08:49:37 GMT")), "sent"
    ),
    # Yes, but.
    "partial-success": Fault(answers(partial_success(7, "old"), rejects=7), "some"),
    "partial-success-of-all": Fault(answers(partial_success(1 << 40, "no"), rejects=1 << 40)),
    "partial-success-negative": Fault(answers(partial_success(-5, "what?")), "sent"),
    "garbage": Fault(answers(GARBAGE), "sent"),
    "no-content": Fault(stands_in(standin.no_content), "sent"),
    "without-length": Fault(stands_in(standin.without_length), "sent"),
    "http-1.0": Fault(stands_in(standin.http_1_0), "sent"),
    "answering-twice": Fault(stands_in(standin.answers_twice), "sent"),
    # No HTTP, or too much of it.
    "ssh": Fault(raw("talk")),
    "noise": Fault(stands_in(standin.noise)),
    "bad-chunks": Fault(stands_in(standin.bad_chunks)),
    "escapes": Fault(raw("talk", b"HTTP/1.1 400 " + ESCAPES + b"\r\nContent-Length: 0\r\n\r\n")),
    "endless-body": Fault(raw("talk", OK_HEAD + b"\r\n" + b"x" * (5 << 20))),
    "endless-headers": Fault(raw("talk", OK_HEAD + b"X-More: %s\r\n" % (b"y" * 99) * 9000)),
    "5-gb": Fault(stands_in(standin.sends_5_gb), says="larger than 4 MiB"),
    "5-gb-in-chunks": Fault(stands_in(standin.sends_5_gb_in_chunks), says="larger than 4 MiB"),
    "endless-interim-answers": Fault(stands_in(standin.continues_for_ever)),
    # gRPC.
    "http-spoken-to-grpc": Fault(answers(kind=GrpcReceiver, chosen="http/protobuf")),
    "grpc-spoken-to-http": Fault(answers(chosen="grpc")),
    "grpc-hanging": Fault(answers(HANG, kind=GrpcReceiver)),
    "grpc-hanging-after-headers": Fault(grpc(standin.grpc_hangs_after_headers)),
    "grpc-invalid": Fault(answers(Answer(3), kind=GrpcReceiver), says="status 3"),
    "grpc-unavailable": Fault(answers(Answer(14), kind=GrpcReceiver), says="status 14"),
    "grpc-exhausted": Fault(answers(Answer(8), kind=GrpcReceiver), says="status 8"),
    "grpc-byte-by-byte": Fault(grpc(standin.grpc_byte_by_byte), "sent"),
    "grpc-partial-success": Fault(
        answers(partial_success(7, "old"), rejects=7, kind=GrpcReceiver), "some"
    ),
    "grpc-without-status": Fault(grpc(standin.grpc_without_status), "sent"),
    "grpc-without-anything": Fault(grpc(standin.grpc_without_anything)),
    "grpc-trailers-only": Fault(grpc(standin.grpc_trailers_only), "sent"),
    "grpc-truncated-message": Fault(grpc(standin.grpc_truncated_message), "sent"),
    "grpc-resetting-streams": Fault(grpc(standin.grpc_resets_stream)),
    "grpc-going-away": Fault(grpc(standin.grpc_goes_away)),
    "grpc-going-away-afterwards": Fault(grpc(standin.grpc_goes_away_afterwards), "sent"),
    "grpc-noise": Fault(grpc(standin.grpc_noise)),
    "grpc-5-gb": Fault(grpc(standin.grpc_sends_5_gb), says="larger than 4 MiB"),
    # TLS.
    "tls": Fault(tls("http"), "sent"),
    "tls-grpc": Fault(tls("grpc"), "sent"),
    "tls-expired": Fault(tls("http", not_after=YESTERDAY), says="expired"),
    "tls-expired-grpc": Fault(tls("grpc", not_after=YESTERDAY), says="expired"),
    "tls-not-yet": Fault(tls("http", not_before=TOMORROW), says="not yet valid"),
    "tls-other-host": Fault(tls("http", name="collector.example"), says=OTHER_NAME),
    "tls-other-host-grpc": Fault(tls("grpc", name="collector.example"), says=OTHER_NAME),
    "tls-self-signed": Fault(tls("http", self_signed=True, believed=False), says="self.signed"),
    "tls-self-signed-grpc": Fault(
        tls("grpc", self_signed=True, believed=False), says="self.signed"
    ),
    "tls-unknown-authority": Fault(tls("http", believed=False), says="issuer certificate"),
    "tls-other-authority": Fault(of_another_authority("http"), says="issuer certificate"),
    "tls-other-authority-grpc": Fault(of_another_authority("grpc"), says="issuer certificate"),
    "tls-client-unknown": Fault(tls("http", clients=True), says=NO_CERTIFICATE),
    "tls-client-unknown-grpc": Fault(tls("grpc", clients=True), says=NO_CERTIFICATE),
    "tls-of-old": Fault(tls("http", old=True), says="SSL"),
    "tls-hanging-after-headers": Fault(tls("http", manner=standin.hangs_after_headers)),
    "tls-reset-after-request": Fault(tls("http", manner=standin.resets_after_request)),
    "tls-5-gb": Fault(tls("http", manner=standin.sends_5_gb), says="larger than 4 MiB"),
    "https-spoken-to-http": Fault(scheme("https", answers()), says="wrong version|packet length"),
    "https-spoken-to-grpc": Fault(scheme("https", answers(kind=GrpcReceiver))),
    "https-spoken-to-silence": Fault(scheme("https", raw("silent"))),
    "http-spoken-to-tls": Fault(scheme("http", tls("http"))),
    "grpc-spoken-to-tls": Fault(scheme("http", tls("grpc"))),
}
