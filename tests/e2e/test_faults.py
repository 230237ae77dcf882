# SPDX-License-Identifier: MIT
"""Collectors that are away, broken or hostile: no application notices, and all is counted."""

import re
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.compare import quiet, seen
from harness.counts import counts
from harness.deadline import scaled, until
from harness.faults import ENDPOINT, FAULTS
from harness.process import Process, Runner, Server
from harness.receiver import Answer, GrpcReceiver, HttpReceiver, Receiver, partial_success

DEBUG = {"FAA_LOG_LEVEL": "debug"}
# What a flush may take, in seconds; MARGIN is for a busy machine.
LIMIT = 0.8
FLUSH = {"FAA_FLUSH_TIMEOUT": "800", "OTEL_BSP_SCHEDULE_DELAY": "20"}
MARGIN = 4
LOST = r"faa warning: cannot send traces to http"
BACK = r"faa warning: traces reach http\S+ again"

TIMED = "/items/4711"
PATHS = ["/", "/items/3", "/items/none", "/threaded", "/raises", "/stream", "/shop/a/items/1"]


# One of each kind, for what takes a whole server.
KINDS = ["absent", "closing", "silent", "full", "ssh", "endless-body", "escapes", "400", "503"]
KINDS += ["garbage", "hanging-up", "https-spoken-to-http", "http-spoken-to-grpc", "grpc-unavailable"]


@pytest.fixture
def fault(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that sends a process to a bad collector."""
    with ExitStack() as stack:
        yield FAULTS[request.param].make(stack, tmp_path).env


# What the application does


@dataclass(frozen=True)
class Behaviour:
    answers: list[Any]
    status: int
    stdout: str
    stderr: str


def exercise(server: Server) -> list[Any]:
    return [seen(server.get(path)) for path in PATHS]


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, build: Path
) -> Iterator[tuple[Server, Behaviour]]:
    """An application without the agent: one that runs, and how one behaved from start to end."""
    run = Runner(tmp_path_factory.mktemp("plain"), build)
    try:
        server = run.uvicorn("plain_starlette:app", agent="none")
        answers = exercise(server)
        status = server.stop()
        behaviour = Behaviour(answers, status, server.stdout, server.stderr)
        yield run.uvicorn("plain_starlette:app", agent="none"), behaviour
    finally:
        run.kill_all()


def without_timed(log: str) -> list[str]:
    """Returns a server's log without the requests that timed() makes."""
    return [line for line in quiet(log).splitlines() if TIMED not in line]


def timed(server: Server) -> float:
    start = time.monotonic()
    assert server.get(TIMED).status_code == 200
    return time.monotonic() - start


def exporter_time(pid: int) -> float:
    """Returns the seconds of processor time that the exporter's thread has used."""
    used = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        stat = (task / "stat").read_text()
        if "(faa-export)" in stat:
            fields = stat.rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / 100
    return used


@pytest.mark.parametrize("fault", KINDS, indirect=True)
def test_application_does_not_notice(
    run: Runner, fault: dict[str, str], plain: tuple[Server, Behaviour]
) -> None:
    bare, expected = plain
    server = run.uvicorn("plain_starlette:app", env=fault | FLUSH)
    answers = exercise(server)
    assert answers == expected.answers

    times: dict[Server, list[float]] = {bare: [], server: []}
    for _ in range(15):
        for one in times:
            times[one].append(timed(one))
    traced_median, bare_median = (statistics.median(times[one]) for one in (server, bare))
    assert traced_median < 3 * bare_median + 0.01

    start = time.monotonic()
    status = server.stop()
    assert time.monotonic() - start < LIMIT + scaled(MARGIN)
    assert status == expected.status == -signal.SIGTERM
    assert without_timed(server.stdout) == without_timed(expected.stdout)
    assert without_timed(server.own_stderr) == without_timed(expected.stderr)
    assert len(server.agent_lines) <= 1, server.stderr
    assert all(re.search(LOST, line) for line in server.agent_lines)
    assert not {"\x1b", "\x9b", "\a"} & set(server.stderr)


def totals(process: Process) -> tuple[int, int, int]:
    """Returns the last numbers of spans ended, exported and dropped in a debug log."""
    counted = counts(process)
    return counted.ended, counted.exported, counted.dropped


def test_waiting_for_the_collector_costs_nothing(run: Runner, tmp_path: Path) -> None:
    with ExitStack() as stack:
        names = ["absent", "closing", "silent", "503", "grpc-unavailable"]
        servers = [
            run.uvicorn("selfcall:app", env=FAULTS[name].make(stack, tmp_path).env | FLUSH)
            for name in names
        ]
        for server in servers:
            server.get("/items/1")
        time.sleep(0.3)
        before = [exporter_time(server.pid) for server in servers]
        time.sleep(1)
        used = [exporter_time(server.pid) - b for server, b in zip(servers, before, strict=True)]
        assert max(used) <= 0.1, dict(zip(names, used, strict=True))


# Memory

GROWTH = """
import selfcall
for _ in range(3000): selfcall.request()
before = selfcall.resident()
for _ in range(20000): selfcall.request()
print(selfcall.resident() - before)
"""


@pytest.mark.parametrize("name", ["absent", "silent", "503"])
def test_memory_is_bounded(run: Runner, tmp_path: Path, name: str) -> None:
    with ExitStack() as stack:
        env = FAULTS[name].make(stack, tmp_path).env | FLUSH
        process = run.run([run.python, "-c", GROWTH], env=env)
    assert process.status == 0, process.describe()
    assert int(process.stdout) < 6 << 20
    assert len(process.agent_lines) == 1


# Back again

UNTIL_TOLD = """
import os, sys, time, selfcall
for _ in range(int(sys.argv[1])): selfcall.request()
print("served", flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.02)
"""


# The loss is known before there is much to lose.
UNTIL_TOLD_AFTER_ONE = """
import os, sys, time, selfcall
selfcall.request()
while not os.path.exists(sys.argv[3]): time.sleep(0.02)
""" + UNTIL_TOLD


def warnings(process: Process) -> list[str]:
    return [line for line in process.agent_lines if " warning: " in line]


def test_collector_that_was_absent_gets_what_was_kept(run: Runner, any_receiver: Receiver) -> None:
    any_receiver.refuse()  # type: ignore[attr-defined]
    server = run.uvicorn("selfcall:app", env=any_receiver.env | FLUSH)
    for number in range(30):
        assert server.get(f"/items/{number}").status_code == 200
    server.wait_log(LOST)
    any_receiver.accept()  # type: ignore[attr-defined]
    paths = {span.attributes["url.path"] for span in any_receiver.wait(30, timeout=20)}
    assert paths == {f"/items/{number}" for number in range(30)}
    server.wait_log(BACK)
    assert server.stop() == -15
    assert len(any_receiver.spans) == 30
    assert len(server.agent_lines) == 2


def wait_delivered(process: Process, count: int) -> None:
    """Waits until so many batches have been answered well: a receiver may go away then."""
    until(
        lambda: len(re.findall(r"bytes to .*(HTTP 200|gRPC status 0) in", process.stderr)) >= count,
        20,
        lambda: f"no {count} batches delivered: {process.describe()}",
    )


def test_collector_that_goes_away_and_comes_back(run: Runner, any_receiver: Receiver) -> None:
    server = run.uvicorn("selfcall:app", env=any_receiver.env | FLUSH | DEBUG)
    for turn in range(2):
        assert server.get("/items/1").status_code == 200
        any_receiver.wait(3 * turn + 1)
        wait_delivered(server, len(any_receiver.requests))
        any_receiver.refuse()  # type: ignore[attr-defined]
        assert server.get("/items/2").status_code == 200
        until(lambda: len(warnings(server)) == 2 * turn + 1, 10, lambda: server.stderr)
        assert server.get("/items/3").status_code == 200
        any_receiver.accept()  # type: ignore[attr-defined]
        any_receiver.wait(3 * turn + 3, timeout=20)
        until(lambda: len(warnings(server)) == 2 * turn + 2, 10, lambda: server.stderr)
    assert server.stop() == -15
    assert [bool(re.search(BACK, line)) for line in warnings(server)] == [False, True] * 2
    assert len(any_receiver.spans) == 6


def test_collector_that_restarts_between_batches_is_not_missed(
    run: Runner, any_receiver: Receiver
) -> None:
    server = run.uvicorn("selfcall:app", env=any_receiver.env | FLUSH | DEBUG)
    for number in range(1, 4):
        assert server.get("/items/1").status_code == 200
        any_receiver.wait(number)
        wait_delivered(server, number)
        any_receiver.refuse()  # type: ignore[attr-defined]
        any_receiver.accept()  # type: ignore[attr-defined]
    assert server.stop() == -15
    assert warnings(server) == []
    assert len(any_receiver.requests) == 3


def test_what_does_not_fit_while_the_collector_is_away_is_dropped_and_counted(
    run: Runner, any_receiver: Receiver, tmp_path: Path
) -> None:
    any_receiver.refuse()  # type: ignore[attr-defined]
    begin, end = tmp_path / "begin", tmp_path / "end"
    command = [run.python, "-c", UNTIL_TOLD_AFTER_ONE, "19999", str(end), str(begin)]
    env = any_receiver.env | FLUSH | DEBUG | {"FAA_FLUSH_TIMEOUT": "20000"}
    process = run.start(command, env=env)
    process.wait_log(LOST)
    begin.touch()
    process.wait_log("^served")
    any_receiver.accept()  # type: ignore[attr-defined]
    back = process.wait_log(BACK + r" \((\d+) spans lost\)")
    end.touch()
    assert process.wait() == 0
    ended, exported, dropped = totals(process)
    assert (ended, exported) == (20000, len(any_receiver.spans))
    assert dropped == 20000 - exported == int(back[1])
    assert exported >= 2048  # What the standard's queue holds.


def test_answer_that_says_later_is_tried_again(run: Runner) -> None:
    with ExitStack() as stack:
        tried = {}
        for status in (429, 502, 503, 504):
            receiver = HttpReceiver()
            stack.callback(receiver.stop)
            receiver.behave(Answer(status), Answer())
            tried[status] = receiver, run.uvicorn("selfcall:app", env=receiver.env | FLUSH)
            assert tried[status][1].get("/items/1").status_code == 200
        for status, (receiver, server) in tried.items():
            receiver.wait(1)
            server.wait_log(BACK)
            assert server.stop() == -15
            assert [request.answer.status for request in receiver.requests] == [status, None]
            assert len(server.agent_lines) == 2


def test_grpc_answer_that_says_later_is_tried_again(
    run: Runner, grpc_receiver: GrpcReceiver
) -> None:
    grpc_receiver.behave(Answer(14), Answer())
    server = run.uvicorn("selfcall:app", env=grpc_receiver.env | FLUSH)
    assert server.get("/items/1").status_code == 200
    grpc_receiver.wait(1)
    assert server.stop() == -15
    assert len(grpc_receiver.requests) == 2


def test_retry_after_is_honoured(run: Runner, receiver: HttpReceiver) -> None:
    """The first wait would be about a second without it."""
    receiver.behave(Answer(429, headers={"Retry-After": "3"}), Answer())
    server = run.uvicorn("selfcall:app", env=receiver.env | FLUSH)
    assert server.get("/items/1").status_code == 200
    receiver.wait_requests(1)
    start = time.monotonic()
    receiver.wait(1)
    assert time.monotonic() - start > 2.5
    server.stop()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 501])
def test_answer_that_says_no_is_final(run: Runner, receiver: HttpReceiver, status: int) -> None:
    final(run, receiver, status)


@pytest.mark.parametrize("status", [3, 7, 12, 13, 16])
def test_grpc_answer_that_says_no_is_final(
    run: Runner, grpc_receiver: GrpcReceiver, status: int
) -> None:
    final(run, grpc_receiver, status)


def final(run: Runner, receiver: Receiver, status: int) -> None:
    receiver.behave(Answer(status), Answer())
    env = receiver.env | DEBUG | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}
    env["OTEL_BSP_SCHEDULE_DELAY"] = "5000"
    process = run.run([run.python, "selfcall.py", "20"], env=env)
    assert totals(process) == (20, 15, 5)
    sent = [(len(request.spans), request.answer.status) for request in receiver.requests]
    assert sent == [(5, status), (5, None), (5, None), (5, None)]
    lost, back = warnings(process)
    assert re.search(LOST, lost) and str(status) in lost
    assert re.search(BACK + r" \(5 spans lost\)", back)


def test_partial_success_is_counted_and_never_sent_again(
    run: Runner, any_receiver: Receiver
) -> None:
    body = partial_success(2, "too \x1b[2J\x9blarge").body
    any_receiver.behave(Answer(body=body), Answer())
    env = any_receiver.env | DEBUG | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5"}
    env["OTEL_BSP_SCHEDULE_DELAY"] = "5000"
    process = run.run([run.python, "selfcall.py", "10"], env=env)
    assert totals(process) == (10, 8, 2)
    assert len(any_receiver.requests) == 2
    assert re.search(r"too .*large", process.stderr)
    assert not {"\x1b", "\x9b"} & set(process.stderr)


def test_partial_success_that_only_warns(run: Runner, any_receiver: Receiver) -> None:
    any_receiver.behave(partial_success(0, "please upgrade"))
    env = any_receiver.env | DEBUG
    process = run.run([run.python, "selfcall.py", "3"], env=env)
    assert totals(process) == (3, 3, 0)
    assert warnings(process) == []


def test_slow_collector_gets_every_span_once(run: Runner, any_receiver: Receiver) -> None:
    take = any_receiver._take

    def slowly(*arguments: Any) -> Answer:
        time.sleep(0.3)
        return take(*arguments)

    any_receiver._take = slowly  # type: ignore[method-assign]
    env = any_receiver.env | DEBUG | {"FAA_FLUSH_TIMEOUT": "10000"}
    process = run.run([run.python, "selfcall.py", "1200"], env=env)
    assert totals(process) == (1200, 1200, 0)
    assert len(any_receiver.spans) == 1200
    assert warnings(process) == []


def test_slow_collector_slows_nobody(run: Runner, raw_server: Any) -> None:
    """While a batch waits for its answer the application serves on, and ends in time."""
    server = run.uvicorn("selfcall:app", env={ENDPOINT: raw_server("silent").endpoint} | FLUSH)
    server.get("/items/1")
    time.sleep(0.2)  # Its span is on the way now.
    start = time.monotonic()
    for _ in range(50):
        assert server.get("/items/1").status_code == 200
    assert time.monotonic() - start < scaled(4)
    start = time.monotonic()
    assert server.stop() == -15
    assert time.monotonic() - start < LIMIT + scaled(MARGIN)


@pytest.mark.parametrize("milliseconds", [0, 100])
def test_flush_timeout_bounds_the_end(run: Runner, raw_server: Any, milliseconds: int) -> None:
    env = {
        ENDPOINT: raw_server("silent").endpoint,
        "FAA_FLUSH_TIMEOUT": str(milliseconds),
    }
    start = time.monotonic()
    process = run.run([run.python, "selfcall.py", "10"], env=env)
    assert process.status == 0
    assert time.monotonic() - start < 1.5 + scaled(1)


def test_export_timeout_ends_an_attempt(run: Runner, raw_server: Any) -> None:
    env = {ENDPOINT: raw_server("silent").endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "200"} | FLUSH
    server = run.uvicorn("selfcall:app", env=env)
    server.get("/items/1")
    server.wait_log(LOST, timeout=5)
    server.stop()


def test_control_c_ends_in_time_with_no_collector(run: Runner, raw_server: Any) -> None:
    server = run.uvicorn("selfcall:app", env={ENDPOINT: raw_server("silent").endpoint} | FLUSH)
    plain = run.uvicorn("selfcall:app", agent="none")
    server.get("/items/1")
    plain.get("/items/1")
    start = time.monotonic()
    assert server.stop(signal.SIGINT, group=True) == plain.stop(signal.SIGINT, group=True)
    assert time.monotonic() - start < LIMIT + scaled(MARGIN)


def test_collector_that_dies_amid_many_batches(
    run: Runner, any_receiver: Receiver, tmp_path: Path
) -> None:
    end = tmp_path / "end"
    command = [run.python, "-c", UNTIL_TOLD, "4000", str(end)]
    process = run.start(command, env=any_receiver.env | FLUSH | DEBUG)
    any_receiver.wait_requests(1)
    any_receiver.refuse()  # type: ignore[attr-defined]
    process.wait_log("^served")
    any_receiver.accept()  # type: ignore[attr-defined]
    end.touch()
    assert process.wait() == 0
    # A batch whose answer was cut off is rightly sent again.
    violations = any_receiver.violations
    violations[:] = [line for line in violations if not line.endswith("came twice")]
    ended, exported, dropped = totals(process)
    assert ended == 4000 == exported + dropped
    assert len({span.span_id for span in any_receiver.spans}) >= exported


def test_fork_while_the_exporter_starts(run: Runner, receiver: HttpReceiver) -> None:
    """What a thread of the parent was just doing must not hold up the child's."""
    code = (
        "import os, selfcall; selfcall.request(); pid = os.fork(); selfcall.request()\n"
        "if pid: os.waitpid(pid, 0)"
    )
    for turn in range(1, 9):
        process = run.run([run.python, "-c", code], env={ENDPOINT: receiver.endpoint} | FLUSH)
        assert (process.status, process.stderr) == (0, "")
        assert len(receiver.spans) == 3 * turn, f"lost in turn {turn}"
