# SPDX-License-Identifier: MIT
"""The doctor and the collector: how far one gets, and what to do where it ends."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.doctor import Diagnosis, diagnose, start, strict
from harness.jaeger import Jaeger
from harness.process import Runner
from harness.raw import RawServer
from harness.receiver import HANG, Answer, GrpcReceiver, HttpReceiver, partial_success
from harness.tls import Authority

OTLP = "OTEL_EXPORTER_OTLP_"
STEPS = ["name", "connect", "tls", "protocol", "span"]
DETECTED = {"OTEL_EXPORTER_OTLP_PROTOCOL": ""}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs what the receivers show."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def keep() -> Iterator[Callable[[Any], Any]]:
    """Keeps receivers that are checked and stopped at the end of the test."""
    with ExitStack() as stack:

        def add(receiver: Any) -> Any:
            stack.callback(receiver.check)
            stack.callback(receiver.stop)
            return receiver

        yield add


def good(found: Diagnosis, protocol: str, tls: bool = False) -> None:
    """Asserts that it came to the end."""
    assert (found.status, found.problems()) == (0, set()), found.text
    for step in STEPS:
        if step != "tls" or tls:
            found.one(f"collector.{step}", "ok")
    assert found.one("collector.protocol", "ok")["facts"]["protocol"] == protocol
    words = {"grpc": "gRPC", "http/protobuf": "HTTP"}
    assert f"ok it speaks OTLP over {words[protocol]}" in found.text


def failed(found: Diagnosis, step: str, summary: str, advice: str, tls: bool = False) -> None:
    """Asserts that it ended at this step, with these words, and nothing was tried after it."""
    assert found.problems() == {f"collector.{step}"}, found.text
    assert found.status == 1
    finding = found.one(f"collector.{step}", "problem")
    assert re.search(summary, finding["summary"]), finding
    assert re.search(advice, finding["advice"]), finding
    at = STEPS.index(step)
    for number, other in enumerate(STEPS):
        if other != step and (other != "tls" or tls):
            found.one(f"collector.{other}", "ok" if number < at else "skipped")


# A collector that takes spans


def test_a_test_span_arrives_in_either_protocol(run: Runner, any_receiver: Any) -> None:
    env = any_receiver.env | {"OTEL_SERVICE_NAME": "shop"}
    found = diagnose(run, env=env)
    good(found, any_receiver.protocol)
    first, second = any_receiver.spans  # The doctor was asked twice.
    assert first.name == second.name == "fastapi-auto-agent doctor"
    assert first.resource["service.name"] == "shop"
    assert first.parent_id == ""
    finding = found.one("collector.span", "ok")
    assert second.trace_id == finding["facts"]["trace_id"]
    assert "it took a test span of the service shop (trace ID)" in found.text


@pytest.mark.parametrize("kind", [HttpReceiver, GrpcReceiver])
def test_the_protocol_is_found_out_as_the_agent_does(
    run: Runner, keep: Callable[[Any], Any], kind: Any
) -> None:
    receiver = keep(kind())
    good(diagnose(run, env=receiver.env | DETECTED), receiver.protocol)
    assert len(receiver.spans) == 2


def test_jaeger_shows_the_test_span(run: Runner, jaeger: Jaeger) -> None:
    found = diagnose(run, options=["--jaeger-endpoint", jaeger.grpc_endpoint])
    good(found, "grpc")
    trace_id = found.one("collector.span", "ok")["facts"]["trace_id"]
    (span,) = jaeger.wait(trace_id, 1)
    assert span.name == "fastapi-auto-agent doctor"


def test_a_unix_socket_is_reached(
    run: Runner, keep: Callable[[Any], Any], tmp_path: Path
) -> None:
    receiver = keep(HttpReceiver(unix=str(tmp_path / "s")))
    found = diagnose(run, env=receiver.env)
    assert found.status == 0, found.text
    assert f"connected to unix://{tmp_path}/s" in found.text
    assert found.all("collector.name") == []


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_tls_is_looked_at(
    run: Runner, keep: Callable[[Any], Any], authority: Authority, kind: str
) -> None:
    receiver = keep(secure(authority, kind, "127.0.0.1"))
    env = receiver.env | {f"{OTLP}CERTIFICATE": str(authority.file)}
    good(diagnose(run, env=env), receiver.protocol, tls=True)


# One that does not


def secure(authority: Authority, kind: str, *names: str, clients: bool = False) -> Any:
    """Returns a receiver that speaks TLS."""
    if kind == "http":
        return HttpReceiver(tls=authority.server_context(*names, clients=clients))
    return GrpcReceiver(tls=authority.grpc_credentials(*names, clients=clients))


def test_a_refused_connection(run: Runner, raw_server: Callable[..., RawServer]) -> None:
    endpoint = raw_server("refuse").endpoint
    found = diagnose(run, options=["--jaeger-endpoint", endpoint])
    failed(found, "connect", "cannot be reached: Connection refused", "Start Jaeger or a coll.*")
    assert f"the collector is {endpoint}" in found.text


def test_a_name_that_nobody_knows(run: Runner) -> None:
    env = {f"{OTLP}ENDPOINT": "http://collector.invalid:4318"}
    found = diagnose(run, env=env)
    failed(found, "name", "collector.invalid", "Inside a container, names are those of its network")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_authority_that_is_not_believed(
    run: Runner, keep: Callable[[Any], Any], authority: Authority, kind: str
) -> None:
    receiver = keep(secure(authority, kind, "127.0.0.1"))
    found = diagnose(run, env=receiver.env)
    failed(found, "tls", "TLS fails: .*certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE", tls=True)
    assert receiver.spans == []


def test_a_certificate_for_another_name(
    run: Runner, keep: Callable[[Any], Any], authority: Authority
) -> None:
    receiver = keep(secure(authority, "http", "collector.example"))
    found = diagnose(run, env=receiver.env | {f"{OTLP}CERTIFICATE": str(authority.file)})
    failed(found, "tls", "TLS fails: ", "must be for the host's name", tls=True)


def test_a_certificate_file_that_is_not_there(
    run: Runner, keep: Callable[[Any], Any], authority: Authority
) -> None:
    receiver = keep(secure(authority, "http", "127.0.0.1"))
    found = diagnose(run, env=receiver.env | {f"{OTLP}CERTIFICATE": "/nowhere/ca.pem"})
    failed(found, "tls", "TLS fails: .*/nowhere/ca.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE", tls=True)


def test_https_to_a_port_without_tls(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {f"{OTLP}ENDPOINT": receiver.endpoint.replace("http:", "https:")}
    found = diagnose(run, env=env)
    failed(found, "tls", "TLS fails: ", "write http:// in place of https://", tls=True)
    receiver.strangers.clear()


def test_http_to_a_port_with_tls(run: Runner, authority: Authority) -> None:
    receiver = secure(authority, "http", "127.0.0.1")  # What comes is no TLS: not checked.
    try:
        env = receiver.env | {f"{OTLP}ENDPOINT": receiver.endpoint.replace("https:", "http:")}
        failed(diagnose(run, env=env), "protocol", "does not speak OTLP", "write https:// in place")
    finally:
        receiver.stop()


@pytest.mark.parametrize("kind", [HttpReceiver, GrpcReceiver])
def test_the_other_protocol_when_one_was_chosen(run: Runner, kind: Any) -> None:
    receiver = kind()
    try:
        other = {"grpc": "http/protobuf", "http/protobuf": "grpc"}[receiver.protocol]
        env = receiver.env | {f"{OTLP}PROTOCOL": other}
        failed(diagnose(run, env=env), "protocol", "does not speak OTLP", "4317 .gRPC. and 4318")
        assert receiver.spans == []
    finally:
        receiver.stop()


@pytest.mark.parametrize("manner", ["talk", "close"])
def test_what_is_no_collector_at_all(
    run: Runner, raw_server: Callable[..., RawServer], manner: str
) -> None:
    env = {f"{OTLP}ENDPOINT": raw_server(manner).endpoint}
    failed(diagnose(run, env=env), "protocol", "does not speak OTLP", "Is it an OTLP port")


def test_what_resets_connections(run: Runner, raw_server: Callable[..., RawServer]) -> None:
    """Before or after the connection is known to be one: that differs from call to call."""
    env = {f"{OTLP}ENDPOINT": raw_server("reset").endpoint}
    process = start(run, ["doctor", "--json"], env=env)
    assert process.status == 1
    findings = strict(process.stdout)["findings"]
    (problem,) = (one["check"] for one in findings if one["status"] == "problem")
    assert problem in ("collector.connect", "collector.protocol")


@pytest.mark.parametrize("status", [404, 405])
def test_a_web_server_without_such_a_path(
    run: Runner, receiver: HttpReceiver, status: int
) -> None:
    receiver.behave(Answer(status=status))
    found = diagnose(run, env=receiver.env)
    failed(found, "protocol", f"does not speak OTLP: HTTP {status}", "Is the path right")


def test_a_web_page(run: Runner, receiver: HttpReceiver) -> None:
    receiver.behave(Answer(headers={"Content-Type": "text/html"}, body=b"<html>"))
    failed(diagnose(run, env=receiver.env), "protocol", "a web page", "Is the path right")


def test_credentials_that_are_wanted(run: Runner, receiver: HttpReceiver) -> None:
    receiver.behave(Answer(status=401))
    failed(diagnose(run, env=receiver.env), "span", "HTTP 401", "OTEL_EXPORTER_OTLP_HEADERS")


def test_a_collector_that_is_overloaded(run: Runner, receiver: HttpReceiver) -> None:
    receiver.behave(Answer(status=503))
    failed(diagnose(run, env=receiver.env), "span", "HTTP 503", "collector's own log")


def test_a_span_that_is_rejected(run: Runner, any_receiver: Any) -> None:
    if any_receiver.protocol == "grpc":
        any_receiver.behave(Answer(status=13, message="no room"))
    else:
        any_receiver.behave(partial_success(1, "no room"))
    found = diagnose(run, env=any_receiver.env)
    failed(found, "span", "it does not take a span: .*no room", "collector's own log")


def test_a_collector_that_does_not_answer(run: Runner, receiver: HttpReceiver) -> None:
    receiver.behave(HANG)
    env = receiver.env | {f"{OTLP}TIMEOUT": "300"}
    failed(diagnose(run, env=env), "protocol", "does not answer: .*timed out", "OTLP_TIMEOUT")


def test_a_client_certificate_that_cannot_be_read(
    run: Runner, keep: Callable[[Any], Any], authority: Authority
) -> None:
    receiver = keep(secure(authority, "http", "127.0.0.1", clients=True))
    env = receiver.env | {
        f"{OTLP}CERTIFICATE": str(authority.file),
        f"{OTLP}CLIENT_CERTIFICATE": os.devnull,
    }
    failed(diagnose(run, env=env), "tls", "TLS fails", "CLIENT_CERTIFICATE", tls=True)


def test_an_unreachable_proxy(run: Runner, raw_server: Callable[..., RawServer]) -> None:
    proxy = raw_server("refuse").endpoint
    env = {f"{OTLP}ENDPOINT": "http://collector.invalid:4318", "http_proxy": proxy}
    found = diagnose(run, env=env)
    failed(found, "connect", "Connection refused", "Start Jaeger or a collector")
    assert "the proxy's name" in found.text
