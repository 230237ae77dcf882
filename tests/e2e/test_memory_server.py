# SPDX-License-Identifier: MIT
"""A server under load does not grow, with its exporter at work.

FAA_TEST_SOAK sets how many requests it serves; `make soak-check` takes an hour's worth.
"""

import os
import re
import socket

import pytest

from harness.deadline import scaled
from harness.process import Runner, Server
from harness.receiver import HttpReceiver

REQUESTS = int(os.environ.get("FAA_TEST_SOAK") or 9000)
ROUNDS = 30
EACH = REQUESTS // ROUNDS
PIPELINED = 50
GROWTH = 1 << 20  # From the second third to the last one: what belongs to the first is paid once.

PATHS = ["/async", "/sync", "/depends", "/items/7?verbose=true", "/nowhere", "/unavailable"]


def ask(server: Server, count: int) -> None:
    """Has so many requests answered, on connections that are kept for some of them."""
    for first in range(0, count, PIPELINED):
        numbers = range(first, min(first + PIPELINED, count))
        text = "".join(
            f"GET {PATHS[number % len(PATHS)]} HTTP/1.1\r\nHost: x\r\n"
            + ("Connection: close\r\n" if number == numbers[-1] else "")
            + "\r\n"
            for number in numbers
        )
        with socket.create_connection(("127.0.0.1", server.port), scaled(30)) as connection:
            connection.sendall(text.encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert len(re.findall(rb"HTTP/1\.1 \d+ ", answer)) == len(numbers)


def resident(server: Server) -> int:
    """Returns the server's resident set in bytes."""
    with open(f"/proc/{server.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.timeout(scaled(120 + REQUESTS / 50))
def test_server_does_not_grow_with_its_requests(run: Runner, receiver: HttpReceiver) -> None:
    options = ("--no-access-log", "--log-level", "critical")
    server = run.uvicorn("basic_fastapi:app", *options, env=receiver.env)
    sizes = []
    for _ in range(ROUNDS):
        ask(server, EACH)
        spans = receiver.wait(EACH, timeout=30)
        assert [span.kind for span in spans] == ["SERVER"] * EACH
        receiver.clear()
        sizes.append(resident(server))
    print(f"{EACH * ROUNDS} requests, KiB: {[size // 1024 for size in sizes]}")
    third = ROUNDS // 3
    assert min(sizes[2 * third :]) - min(sizes[third : 2 * third]) < GROWTH, sizes
    assert server.stop() == -15, server.describe()
    assert receiver.spans == []
