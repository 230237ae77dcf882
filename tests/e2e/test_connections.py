# SPDX-License-Identifier: MIT
"""How a collector is reached: TLS, certificates of both sides, proxies, IPv6, Unix sockets, headers,
compression."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.process import Process, Runner
from harness.proxy import Proxy
from harness.receiver import Answer, GrpcReceiver, HttpReceiver, Receiver
from harness.relay import Relay
from harness.tls import Authority

OTLP = "OTEL_EXPORTER_OTLP_"
SECRET = "s3cret-of-the-header"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs what the receivers show."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receivers() -> Iterator[Callable[[Any], Any]]:
    """Keeps receivers that are checked and stopped at the end of the test."""
    with ExitStack() as stack:

        def keep(receiver: Any) -> Any:
            stack.callback(receiver.check)
            stack.callback(receiver.stop)
            return receiver

        yield keep


def spans_of(run: Runner, env: dict[str, str], receiver: Receiver, count: int = 3) -> Process:
    """Runs an application that serves `count` requests; their spans have come, and none else."""
    process = run.run([run.python, "selfcall.py", str(count), "/items/7"], env=env)
    assert process.status == 0, process.describe()
    assert len(receiver.spans) == count, process.describe()
    return process


def lost(run: Runner, env: dict[str, str], receiver: Receiver) -> str:
    """Runs an application whose spans cannot be sent; returns the one line that says why."""
    process = run.run([run.python, "selfcall.py", "1", "/items/7"], env=env)
    assert process.status == 0, process.describe()
    assert receiver.spans == []
    (line,) = process.agent_lines
    assert "cannot send traces to " in line
    return line


# TLS


def secure(authority: Authority, kind: str, *names: str, clients: bool = False) -> Any:
    if kind == "http":
        return HttpReceiver(tls=authority.server_context(*names, clients=clients))
    return GrpcReceiver(tls=authority.grpc_credentials(*names, clients=clients))


KINDS = pytest.mark.parametrize("kind", ["http", "grpc"])


@KINDS
@pytest.mark.parametrize("variable", [OTLP + "CERTIFICATE", OTLP + "TRACES_CERTIFICATE", "SSL_CERT_FILE"])
def test_a_given_authority_is_believed(
    run: Runner, authority: Authority, receivers: Any, kind: str, variable: str
) -> None:
    receiver = receivers(secure(authority, kind, "127.0.0.1"))
    process = spans_of(run, receiver.env | {variable: str(authority.file)}, receiver)
    assert process.agent_lines == []


@KINDS
def test_the_protocol_is_found_over_tls(
    run: Runner, authority: Authority, receivers: Any, kind: str
) -> None:
    receiver = receivers(secure(authority, kind, "127.0.0.1"))
    env = receiver.env | {OTLP + "CERTIFICATE": str(authority.file), OTLP + "PROTOCOL": ""}
    spans_of(run, env, receiver)


@KINDS
def test_a_stranger_is_not_believed(
    run: Runner, authority: Authority, receivers: Any, kind: str
) -> None:
    receiver = receivers(secure(authority, kind, "127.0.0.1"))
    assert re.search(r"certificate.* \(are https and", lost(run, receiver.env, receiver))


def test_the_given_authority_is_the_only_one(
    run: Runner, authority: Authority, receivers: Any, tmp_path: Path
) -> None:
    """The system's may sign what it likes."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    receiver = receivers(secure(authority, "http", "127.0.0.1"))
    env = receiver.env | {"SSL_CERT_FILE": str(authority.file), OTLP + "CERTIFICATE": str(other.file)}
    lost(run, env, receiver)


@KINDS
def test_a_certificate_for_another_name_is_refused(
    run: Runner, authority: Authority, receivers: Any, kind: str
) -> None:
    receiver = receivers(secure(authority, kind, "collector.example"))
    lost(run, receiver.env | {OTLP + "CERTIFICATE": str(authority.file)}, receiver)


@KINDS
def test_client_certificates(
    run: Runner, authority: Authority, receivers: Any, kind: str
) -> None:
    receiver = receivers(secure(authority, kind, "127.0.0.1", clients=True))
    certificate, key = authority.issue("shop.example")
    env = receiver.env | {OTLP + "CERTIFICATE": str(authority.file)}
    own = {OTLP + "CLIENT_CERTIFICATE": str(certificate), OTLP + "CLIENT_KEY": str(key)}
    lost(run, env, receiver)
    spans_of(run, env | own, receiver)


@pytest.mark.parametrize("what", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_a_file_that_is_not_there_is_said(
    run: Runner, authority: Authority, receivers: Any, what: str
) -> None:
    receiver = receivers(secure(authority, "http", "127.0.0.1"))
    env = receiver.env | {OTLP + "CERTIFICATE": str(authority.file), OTLP + what: "/nowhere.pem"}
    assert "are https and the certificates right?" in lost(run, env, receiver)


def test_https_to_a_port_without_tls(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver())
    lost(run, receiver.env | {OTLP + "ENDPOINT": receiver.endpoint.replace("http", "https")}, receiver)


def test_http_to_a_port_with_tls(run: Runner, authority: Authority, receivers: Any) -> None:
    receiver = receivers(secure(authority, "http", "127.0.0.1"))
    lost(run, receiver.env | {OTLP + "ENDPOINT": receiver.endpoint.replace("https", "http")}, receiver)


def test_grpc_without_a_scheme_is_secure_unless_said_otherwise(
    run: Runner, authority: Authority, receivers: Any
) -> None:
    plain = receivers(GrpcReceiver())
    tls = receivers(secure(authority, "grpc", "127.0.0.1"))
    bare = {OTLP + "ENDPOINT": f"127.0.0.1:{tls.port}", OTLP + "CERTIFICATE": str(authority.file)}
    spans_of(run, tls.env | bare, tls)
    bare = {OTLP + "ENDPOINT": f"127.0.0.1:{plain.port}"}
    lost(run, plain.env | bare, plain)
    spans_of(run, plain.env | bare | {OTLP + "INSECURE": "true"}, plain)


def test_only_grpc_can_be_insecure(run: Runner, receivers: Any) -> None:
    """So the variable says which protocol an endpoint without a scheme is meant for."""
    receiver = receivers(GrpcReceiver())
    where = {OTLP + "ENDPOINT": f"127.0.0.1:{receiver.port}", OTLP + "INSECURE": "true"}
    spans_of(run, where, receiver)


# Ways


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", ""])
def test_unix_sockets(run: Runner, receivers: Any, tmp_path: Path, protocol: str) -> None:
    path = str(tmp_path / "socket")
    kind = GrpcReceiver if protocol == "grpc" else HttpReceiver
    receiver = receivers(kind(unix=path))
    spans_of(run, receiver.env | {OTLP + "PROTOCOL": protocol}, receiver)


def test_a_unix_socket_that_is_not_there(run: Runner, receivers: Any, tmp_path: Path) -> None:
    endpoint = f"unix://{tmp_path}/nothing"
    receiver = receivers(HttpReceiver())
    line = lost(run, receiver.env | {OTLP + "ENDPOINT": endpoint}, receiver)
    assert f"cannot send traces to {endpoint}: No such file or directory" in line


def test_ipv6(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver(address="::1"))
    assert "[::1]" in receiver.endpoint
    spans_of(run, receiver.env, receiver)


def test_a_collector_that_moves_to_another_address(
    run: Runner, receivers: Any, own_mounts: list[str], tmp_path: Path
) -> None:
    """Its name is looked up for each connection: an address that has changed is not remembered."""
    first = receivers(HttpReceiver())
    second = receivers(HttpReceiver(address="127.0.0.2", port=first.port))
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 collector.example\n")
    mounted = ["sh", "-c", f"mount --bind {hosts} /etc/hosts && exec \"$@\"", "sh"]
    serving = [run.python, "-m", "uvicorn", "selfcall:app", "--host", "127.0.0.1", "--port", "0"]
    env = first.env | {OTLP + "ENDPOINT": f"http://collector.example:{first.port}"}
    server = run.serve([*own_mounts, *mounted, *serving], env=env)
    server.get("/items/1")
    first.wait(1)
    hosts.write_text("127.0.0.2 collector.example\n")
    first.refuse()
    server.get("/items/2")
    second.wait(1, timeout=20)
    assert server.stop() == -signal.SIGTERM
    assert [span.attributes["url.path"] for span in second.spans] == ["/items/2"]


@KINDS
def test_a_connection_that_has_gone_dead_is_given_up(
    run: Runner, authority: Authority, receivers: Any, kind: str
) -> None:
    """The other end is gone without a word: what timed out goes by a new connection."""
    receiver = receivers(secure(authority, kind, "127.0.0.1"))
    with ExitStack() as stack:
        relay = Relay(receiver.port)
        stack.callback(relay.stop)
        env = receiver.env | {
            OTLP + "ENDPOINT": f"https://127.0.0.1:{relay.port}",
            OTLP + "CERTIFICATE": str(authority.file),
            OTLP + "TIMEOUT": "1000",
            "FAA_LOG_LEVEL": "debug",
        }
        server = run.uvicorn("selfcall:app", env=env)
        server.get("/items/1")
        server.wait_log(r"1 spans, .* in \S+ ms$")  # The answer has come.
        relay.go_dead()
        server.get("/items/2")
        receiver.wait(2, timeout=20)
        assert server.stop() == -signal.SIGTERM
    assert len(receiver.spans) == 2


@pytest.fixture
def proxy_to() -> Iterator[Callable[[int], Proxy]]:
    """Makes proxies that lead to a port."""
    with ExitStack() as stack:

        def make(port: int) -> Proxy:
            proxy = Proxy(("127.0.0.1", port))
            stack.callback(proxy.stop)
            return proxy

        yield make


def asked(proxy: Proxy) -> list[tuple[str, str]]:
    """Returns method and target of each request that the proxy was asked for."""
    return [(method, target) for method, target, _headers in proxy.seen]


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_an_http_proxy(run: Runner, receivers: Any, proxy_to: Any, variable: str) -> None:
    receiver = receivers(HttpReceiver())
    proxy = proxy_to(receiver.port)
    env = {OTLP + "ENDPOINT": "http://collector.example:4318", variable: proxy.url}
    spans_of(run, receiver.env | env, receiver)
    assert asked(proxy) == [("POST", "http://collector.example:4318/v1/traces")]


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
@KINDS
def test_tls_through_a_proxy(
    run: Runner, authority: Authority, receivers: Any, proxy_to: Any, kind: str, variable: str
) -> None:
    receiver = receivers(secure(authority, kind, "collector.example"))
    proxy = proxy_to(receiver.port)
    env = {OTLP + "ENDPOINT": "https://collector.example:4318", variable: proxy.url}
    spans_of(run, receiver.env | env | {OTLP + "CERTIFICATE": str(authority.file)}, receiver)
    assert asked(proxy)[0] == ("CONNECT", "collector.example:4318")


def test_grpc_through_a_proxy(run: Runner, receivers: Any, proxy_to: Any) -> None:
    receiver = receivers(GrpcReceiver())
    proxy = proxy_to(receiver.port)
    env = {OTLP + "ENDPOINT": "http://collector.example:4317", "http_proxy": proxy.url}
    spans_of(run, receiver.env | env, receiver)
    assert asked(proxy) == [("CONNECT", "collector.example:4317")]


def test_no_proxy(run: Runner, receivers: Any, proxy_to: Any) -> None:
    receiver = receivers(HttpReceiver())
    proxy = proxy_to(receiver.port)
    env = {OTLP + "ENDPOINT": "http://collector.example:4318", "no_proxy": "other,.example"}
    lost(run, receiver.env | env | {"http_proxy": proxy.url}, receiver)
    assert asked(proxy) == []


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_this_machine_is_reached_without_a_proxy(
    run: Runner, receivers: Any, proxy_to: Any, variable: str
) -> None:
    receiver = receivers(HttpReceiver())
    proxy = proxy_to(receiver.port)
    spans_of(run, receiver.env | {variable: proxy.url}, receiver)
    assert asked(proxy) == []


def test_a_proxy_that_is_away(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver())
    env = {OTLP + "ENDPOINT": "http://collector.example:4318", "http_proxy": "http://127.0.0.1:1"}
    assert "Connection refused" in lost(run, receiver.env | env, receiver)


# Headers


@KINDS
def test_headers_are_sent(run: Runner, receivers: Any, kind: str) -> None:
    receiver = receivers(HttpReceiver() if kind == "http" else GrpcReceiver())
    given = f"Authorization=Bearer%20{SECRET},x-tenant = shop ,x-empty=,x-utf=%C3%A9"
    process = spans_of(run, receiver.env | {OTLP + "HEADERS": given, "FAA_LOG_LEVEL": "debug"}, receiver)
    headers = receiver.requests[0].headers
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["x-tenant"] == "shop"
    assert headers["x-empty"] == ""
    assert SECRET not in process.stderr


def test_headers_for_traces_go_first(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver())
    env = {OTLP + "HEADERS": "x-a=1,x-b=2", OTLP + "TRACES_HEADERS": "x-a=3"}
    spans_of(run, receiver.env | env, receiver)
    headers = receiver.requests[0].headers
    assert (headers["x-a"], headers.get("x-b")) == ("3", None)


@pytest.mark.parametrize(
    "bad",
    [SECRET, f"x y={SECRET}", f"x={SECRET}%0d%0aHost: other", f"x={SECRET}%zz", f"={SECRET}"]
    + [f"Content-Type={SECRET}", f"content-encoding={SECRET}", f"grpc-timeout={SECRET}"],
)
def test_a_header_that_cannot_be_used_is_left_out(run: Runner, receivers: Any, bad: str) -> None:
    receiver = receivers(HttpReceiver())
    process = spans_of(run, receiver.env | {OTLP + "HEADERS": f"x-good=1,{bad}"}, receiver)
    headers = receiver.requests[0].headers
    assert headers["x-good"] == "1"
    assert SECRET not in str(headers)
    (line,) = process.agent_lines
    assert "OTEL_EXPORTER_OTLP_HEADERS: a header cannot be used" in line
    assert SECRET not in line


# Compression


@KINDS
def test_gzip(run: Runner, receivers: Any, kind: str) -> None:
    receiver = receivers(HttpReceiver() if kind == "http" else GrpcReceiver())
    spans_of(run, receiver.env | {OTLP + "COMPRESSION": "gzip"}, receiver, 200)
    if kind == "http":
        request = max(receiver.requests, key=lambda request: len(request.spans))
        assert request.headers["content-encoding"] == "gzip"
        assert len(request.body) < 100 * len(request.spans)


def test_an_unknown_compression_is_none(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver())
    process = spans_of(run, receiver.env | {OTLP + "TRACES_COMPRESSION": "zstd"}, receiver)
    assert "content-encoding" not in receiver.requests[0].headers
    assert "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION" in process.agent_lines[0]


# Messages that are too large


@pytest.mark.parametrize(
    "kind, refusal",
    [
        ("http", Answer(413, limit=20_000)),
        ("grpc", Answer(8, message="grpc: received message larger than max (9 vs. 4)", limit=20_000)),
    ],
)
def test_a_batch_that_is_too_large_goes_in_parts(
    run: Runner, receivers: Any, kind: str, refusal: Answer
) -> None:
    receiver = receivers(HttpReceiver() if kind == "http" else GrpcReceiver())
    receiver.behave(refusal)
    env = receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000"}
    process = spans_of(run, env, receiver, 400)
    assert process.agent_lines == []
    assert max(len(request.spans) for request in receiver.requests) == 400


def test_a_span_that_is_too_large_is_dropped_alone(run: Runner, receivers: Any) -> None:
    receiver = receivers(HttpReceiver())
    receiver.behave(Answer(413, limit=6_000))
    env = receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000", "FAA_LOG_LEVEL": "debug"}
    paths = ["/items/7", "/items/" + "x" * 7000, "/items/8"]
    process = run.run([run.python, "selfcall.py", "1", *paths], env=env)
    assert process.status == 0, process.describe()
    assert sorted(span.attributes["url.path"] for span in receiver.spans) == [paths[0], paths[2]]
    assert "3 spans ended, 2 exported, 1 dropped" in process.stderr


# gRPC's own words for "come again"


def retry_info(seconds: int) -> Any:
    """Returns a google.rpc.Status with a RetryInfo, as grpc-status-details-bin has it."""
    duration = bytes([0x08, seconds])
    info = b"\x0a" + bytes([len(duration)]) + duration
    kind = b"type.googleapis.com/google.rpc.RetryInfo"
    detail = b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(info)]) + info
    return b"\x08\x08\x1a" + bytes([len(detail)]) + detail


def test_exhausted_with_retry_info_is_sent_again(run: Runner, receivers: Any) -> None:
    receiver = receivers(GrpcReceiver())
    receiver.behave(Answer(8, {"grpc-status-details-bin": retry_info(1)}), Answer())
    server = run.uvicorn("selfcall:app", env=receiver.env)
    server.get("/items/1")
    receiver.wait(1)
    assert server.stop() == -15
    assert len(receiver.requests) == 2


def test_exhausted_without_is_not(run: Runner, receivers: Any) -> None:
    receiver = receivers(GrpcReceiver())
    receiver.behave(Answer(8), Answer())
    server = run.uvicorn("selfcall:app", env=receiver.env)
    server.get("/items/1")
    receiver.wait_requests(1)
    server.get("/items/2")
    (span,) = receiver.wait(1)
    assert span.attributes["url.path"] == "/items/2"
    assert server.stop() == -15
