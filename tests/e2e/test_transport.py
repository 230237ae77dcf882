# SPDX-License-Identifier: MIT
"""How spans travel: both protocols, finding out which, connections, batches."""

import re
import socket
import threading
from collections.abc import Iterator
from random import randrange
from typing import Any

import pytest

from harness.process import Process, Runner, Server
from harness.receiver import GrpcReceiver, HttpReceiver, Receiver

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
DEBUG = {"FAA_LOG_LEVEL": "debug"}


def requests(run: Runner, env: dict[str, str], count: int, path: str = "/items/7") -> Process:
    """Runs an application that calls itself; returns when it has ended."""
    process = run.run([run.python, "selfcall.py", str(count), path], env=env)
    assert process.status == 0, process.describe()
    return process


def one_by_one(server: Server, receiver: Receiver, count: int) -> None:
    """Makes requests, each of which travels alone."""
    have = len(receiver.spans)
    for number in range(1, count + 1):
        assert server.get("/items/1").status_code == 200
        receiver.wait(have + number)


# Each request


def test_headers(run: Runner, any_receiver: Receiver) -> None:
    requests(run, any_receiver.env, 1)
    (request,) = any_receiver.requests
    product = r"fastapi-auto-agent/\d+\.\d+\.\d+ OTel-OTLP-Exporter-\w+/\d+\.\d+\.\d+"
    assert re.fullmatch(product, request.headers["user-agent"])
    if isinstance(any_receiver, HttpReceiver):
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["content-length"] == str(len(request.body))
        assert request.headers["host"] == f"127.0.0.1:{any_receiver.port}"
        assert "expect" not in request.headers


def test_spans_of_one_process_have_one_resource(run: Runner, any_receiver: Receiver) -> None:
    requests(run, any_receiver.env, 1500)
    assert len(any_receiver.spans) == 1500
    first = any_receiver.spans[0].resource
    assert all(span.resource == first for span in any_receiver.spans)
    assert {span.scope_name for span in any_receiver.spans} == {"starlette"}


def test_every_batch_goes_over_one_connection(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("selfcall:app", env=receiver.env | QUICK)
    one_by_one(server, receiver, 12)
    assert server.stop() == -15
    assert len(receiver.requests) == 12
    assert receiver.connections == 1


def test_batch_after_batch_by_grpc(run: Runner, grpc_receiver: GrpcReceiver) -> None:
    server = run.uvicorn("selfcall:app", env=grpc_receiver.env | QUICK)
    one_by_one(server, grpc_receiver, 12)
    assert server.stop() == -15
    assert server.agent_lines == []
    assert len(grpc_receiver.requests) == 12


# Batches


def test_batches_have_at_most_512_spans(run: Runner, any_receiver: Receiver) -> None:
    process = requests(run, any_receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000"}, 3000)
    assert process.stderr == ""
    sizes = [len(request.spans) for request in any_receiver.requests]
    assert sum(sizes) == len(any_receiver.spans) == 3000
    assert max(sizes) == 512


def test_size_of_batches_can_be_set(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    requests(run, env, 95)
    assert [len(request.spans) for request in receiver.requests] == [10] * 9 + [5]


def test_large_batches(run: Runner, any_receiver: Receiver) -> None:
    """More than one window of HTTP/2, and below the 4 MiB that a gRPC server takes."""
    path = "/items/" + "x" * 3000
    process = requests(run, any_receiver.env | {"OTEL_BSP_SCHEDULE_DELAY": "5000"}, 300, path)
    assert process.stderr == ""
    assert len(any_receiver.spans) == 300
    assert max(len(request.body) for request in any_receiver.requests) > 300_000
    assert {span.attributes["url.path"] for span in any_receiver.spans} == {path}


def test_nothing_is_sent_without_spans(run: Runner, any_receiver: Receiver) -> None:
    requests(run, any_receiver.env, 0)
    server = run.uvicorn("selfcall:app", env=any_receiver.env)
    assert server.stop() == -15
    assert any_receiver.requests == []


# Finding out the protocol


def attempts(process: Process) -> list[str]:
    """Returns the protocol of each attempt that the debug log tells."""
    return re.findall(r"bytes to \S+ \(OTLP/(\w+)\)", process.stderr)


@pytest.fixture
def port_4317() -> Iterator[Any]:
    """Makes http://127.x.y.z:4317 lead to a receiver; returns that URL."""
    relays = []

    def make(receiver: Receiver) -> str:
        relays.append(Relay(receiver.port))
        return relays[-1].endpoint

    yield make
    for relay in relays:
        relay.stop()


class Relay:
    """Forwards connections to port 4317 of a loopback address of its own."""

    def __init__(self, to: int) -> None:
        self.to = to
        address = f"127.{randrange(1, 255)}.{randrange(255)}.{randrange(1, 255)}"
        self.endpoint = f"http://{address}:4317"
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind((address, 4317))
        except OSError as error:
            self.listener.close()
            pytest.skip(f"port 4317 is taken on every address: {error}")
        self.listener.listen(16)
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return  # stop() was called.
            far = socket.create_connection(("127.0.0.1", self.to))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The other side has gone.

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.accepting.join()
        self.listener.close()


def test_http_on_an_unknown_port_needs_no_guess(run: Runner, receiver: HttpReceiver) -> None:
    process = requests(run, {ENDPOINT: receiver.endpoint} | DEBUG, 1)
    assert attempts(process) == ["HTTP"]


def test_grpc_on_port_4317_needs_no_guess(
    run: Runner, grpc_receiver: GrpcReceiver, port_4317: Any
) -> None:
    process = requests(run, {ENDPOINT: port_4317(grpc_receiver)} | DEBUG, 1)
    assert attempts(process) == ["gRPC"]
    assert len(grpc_receiver.spans) == 1


def test_switch_is_remembered(
    run: Runner, any_receiver: Receiver, port_4317: Any
) -> None:
    """gRPC on another port than 4317, and HTTP on that one."""
    grpc = isinstance(any_receiver, GrpcReceiver)
    endpoint = any_receiver.endpoint if grpc else port_4317(any_receiver)
    server = run.uvicorn("selfcall:app", env={ENDPOINT: endpoint} | QUICK | DEBUG)
    one_by_one(server, any_receiver, 8)
    assert server.stop() == -15
    right, wrong = ("gRPC", "HTTP") if grpc else ("HTTP", "gRPC")
    assert attempts(server) == [wrong] + [right] * 8
    assert len(re.findall(r"switching", server.stderr)) == 1
    assert "warning" not in server.stderr


def test_switch_is_silent(run: Runner, any_receiver: Receiver, port_4317: Any) -> None:
    grpc = isinstance(any_receiver, GrpcReceiver)
    endpoint = any_receiver.endpoint if grpc else port_4317(any_receiver)
    assert requests(run, {ENDPOINT: endpoint}, 3).stderr == ""
    assert len(any_receiver.spans) == 3


def test_switch_within_a_large_first_batch(run: Runner, grpc_receiver: GrpcReceiver) -> None:
    """A peer that hangs up while we still write fails in another way than one that answers."""
    path = "/items/" + "x" * 3000
    process = requests(run, {ENDPOINT: grpc_receiver.endpoint}, 300, path)
    assert process.stderr == ""
    assert len(grpc_receiver.spans) == 300


def test_each_process_finds_out_by_itself(run: Runner, grpc_receiver: GrpcReceiver) -> None:
    script = (
        "import os, selfcall; selfcall.request(); pid = os.fork(); selfcall.request()\n"
        "if pid: os.waitpid(pid, 0)"
    )
    env = {ENDPOINT: grpc_receiver.endpoint}
    process = run.run([run.python, "-c", script], env=env)
    assert (process.status, process.stderr) == (0, "")
    assert len(grpc_receiver.spans) == 3


def test_closed_port_is_tried_in_one_protocol_only(run: Runner, raw_server: Any) -> None:
    process = requests(run, {ENDPOINT: raw_server("refuse").endpoint} | DEBUG, 1)
    assert attempts(process) == ["HTTP"]


@pytest.mark.parametrize(("chosen", "name"), [("http/protobuf", "HTTP"), ("grpc", "gRPC")])
def test_chosen_protocol_is_kept(
    run: Runner,
    receiver: HttpReceiver,
    grpc_receiver: GrpcReceiver,
    chosen: str,
    name: str,
) -> None:
    wrong: Receiver = grpc_receiver if name == "HTTP" else receiver
    env = {ENDPOINT: wrong.endpoint, PROTOCOL: chosen}
    process = requests(run, env | DEBUG, 1)
    assert set(attempts(process)) == {name}
    assert wrong.requests == []
    (line,) = [line for line in process.agent_lines if "warning" in line]
    assert "cannot send traces" in line and "protocol" in line


def test_grpc_ignores_the_path_of_the_endpoint(run: Runner, grpc_receiver: GrpcReceiver) -> None:
    for path in ("/", "/v1/traces"):
        env = grpc_receiver.env | {ENDPOINT: grpc_receiver.endpoint + path}
        assert requests(run, env, 1).stderr == ""
    assert len(grpc_receiver.spans) == 2


def test_endpoint_for_traces_by_grpc_is_found_out(run: Runner, grpc_receiver: GrpcReceiver) -> None:
    env = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": grpc_receiver.endpoint}
    assert requests(run, env, 1).stderr == ""
    assert len(grpc_receiver.spans) == 1
