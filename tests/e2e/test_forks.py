# SPDX-License-Identifier: MIT
"""Forks by the hundred under load: no span twice, none lost, no process that hangs.

make fork-check has thousands of them. That no span comes twice is a rule of the receivers.
"""

import concurrent.futures
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.deadline import scaled
from harness.otlp import Span
from harness.process import APPS, Runner, Server
from harness.receiver import GrpcReceiver, HttpReceiver, Receiver
from harness.served import new_context
from harness.tls import Authority
from harness.tree import one

FORKS = int(os.environ.get("FAA_TEST_FORKS", "240"))
ALONE: dict[str, Any] = {"agent": "preload"}
GUARD: dict[str, Any] = {"agent": "launcher", "options": ["--guard"]}
BY = pytest.mark.parametrize("by", [ALONE, GUARD], ids=["alone", "guard"])

# An exporter that sends as often as it can: forks meet it in the midst of it. What ends on a busy
# machine may take its time.
BUSY = {
    "OTEL_BSP_SCHEDULE_DELAY": "1",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    "FAA_FLUSH_TIMEOUT": "30000",
}

pytestmark = pytest.mark.timeout(scaled(60 + FORKS))


def paths(spans: list[Span]) -> Counter[str]:
    return Counter(str(s.attributes["url.path"]) for s in spans if s.kind == "SERVER")


# The main thread and others fork, while two threads have spans all the time. A child that hangs is
# ended by SIGALRM, and its status says so.
FORKS_FROM_THREADS = """
import os, selfcall, signal, sys, threading, time
count, over, loads = int(sys.argv[1]), False, [0, 0]
def load(number):
    while not over:
        selfcall.request(f"/items/load-{number}-{loads[number]}")
        loads[number] += 1
        time.sleep(0.002)
def forks(thread):
    for number in range(count // 4):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            selfcall.request(f"/items/{thread}-{number}")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status == 0, (child, status)
        selfcall.request(f"/items/{thread}-{number}-parent")
loaders = [threading.Thread(target=load, args=[number]) for number in range(2)]
threads = [threading.Thread(target=forks, args=[number]) for number in range(1, 4)]
for thread in loaders + threads: thread.start()
forks(0)
for thread in threads: thread.join()
over = True
for thread in loaders: thread.join()
print(*loads)
"""


def check_forks(run: Runner, receiver: Receiver, env: dict[str, str], by: dict[str, Any]) -> None:
    command = [run.python, "-W", "ignore", "-c", FORKS_FROM_THREADS, str(FORKS)]
    process = run.run(command, env=receiver.env | BUSY | env, timeout=60 + FORKS, **by)
    assert (process.status, process.stderr) == (0, ""), process.describe()
    expected = Counter(
        f"/items/{thread}-{number}{whose}"
        for thread in range(4)
        for number in range(FORKS // 4)
        for whose in ("", "-parent")
    )
    for thread, load in enumerate(process.stdout.split()):
        expected.update(f"/items/load-{thread}-{number}" for number in range(int(load)))
    found = paths(receiver.spans)
    assert found == expected, f"lost {expected - found}, not expected {found - expected}"
    children = Counter(
        s.resource["process.pid"]
        for s in receiver.spans
        if str(s.attributes["url.path"]).count("-") == 1
    )
    assert sum(children.values()) == FORKS  # A number may come again, of course.


@BY
def test_forks_from_threads(run: Runner, any_receiver: Receiver, by: dict[str, Any]) -> None:
    check_forks(run, any_receiver, {}, by)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_forks_while_tls_is_spoken(run: Runner, tmp_path: Path, kind: str) -> None:
    """The libraries beneath the exporter have locks, too."""
    authority = Authority(tmp_path)
    receiver: Receiver
    if kind == "http":
        receiver = HttpReceiver(tls=authority.server_context("127.0.0.1"))
    else:
        receiver = GrpcReceiver(tls=authority.grpc_credentials("127.0.0.1"))
    try:
        env = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.file)}
        check_forks(run, receiver, env, ALONE)
        receiver.check()
    finally:
        receiver.stop()


# Under a server


def ask(server: Server, path: str) -> tuple[str, Any]:
    """Returns the trace of a request, and what it was answered; None where it was not."""
    context = new_context()
    try:
        return context.trace_id, server.get(path, headers=context.headers).json()
    except httpx.TransportError:
        return context.trace_id, None


def ask_many(server: Server, path: str, count: int) -> dict[str, Any]:
    """Asks from several threads; returns the answers by trace."""
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        return dict(threads.map(lambda _: ask(server, path), range(count)))


def family(spans: list[Span]) -> dict[str, list[Span]]:
    """The spans of each trace."""
    found: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        found[span.trace_id].append(span)
    return found


@BY
def test_forks_in_requests(run: Runner, receiver: HttpReceiver, by: dict[str, Any]) -> None:
    """From the server's worker threads, each of which is in the midst of a request."""
    server = run.uvicorn("life:app", env=receiver.env | BUSY, **by)
    answers = ask_many(server, "/fork", FORKS // 2)
    assert [answer for answer in answers.values() if not answer or answer["status"] != 0] == []
    server.stop()
    families = family(receiver.spans)
    assert set(families) == set(answers)
    for trace, answer in answers.items():
        request = one(families[trace], kind="SERVER")
        assert request.resource["process.pid"] == answer["pid"]
        found = Counter(
            (str(s.attributes["url.full"]).rpartition("/")[2], s.resource["process.pid"])
            for s in families[trace]
            if s.kind == "CLIENT" and s.parent_id == request.span_id
        )
        parent, child = answer["pid"], answer["child"]
        assert found == Counter([("before", parent), ("parent", parent), ("child", child)])


@BY
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_commands_of_the_event_loop(
    run: Runner, receiver: HttpReceiver, by: dict[str, Any], loop: str
) -> None:
    """By a fork of CPython's, and of libuv's."""
    server = run.uvicorn("life:app", "--loop", loop, env=receiver.env | BUSY, **by)
    answers = ask_many(server, "/spawn", FORKS // 2)
    assert [answer for answer in answers.values() if answer != {"status": 3}] == []
    server.stop()
    families = family(receiver.spans)
    assert set(families) == set(answers)
    for spans in families.values():
        assert (one(spans).name, one(spans).kind) == ("GET /spawn", "SERVER")


@BY
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["no-preload", "preload"])
def test_workers_that_are_replaced_all_the_time(
    run: Runner, receiver: HttpReceiver, by: dict[str, Any], preload: list[str]
) -> None:
    """What was answered has come, of each of them."""
    options = ["--workers", "3", "--max-requests", "2", *preload]
    server = run.gunicorn("life:app", *options, env=receiver.env | BUSY, **by)
    answers: dict[str, Any] = {}
    pids: set[int] = set()
    while len(pids) < FORKS // 20:
        answers.update(ask_many(server, "/ping", 12))
        pids.update(answer["pid"] for answer in answers.values() if answer)
    assert server.stop() == 0
    found = {s.trace_id: s.resource["process.pid"] for s in receiver.spans}
    assert len(found) == len(receiver.spans)
    served = {trace: answer["pid"] for trace, answer in answers.items() if answer}
    assert served.items() <= found.items()


# multiprocessing

POOL = """
import life, multiprocessing, sys
if __name__ == "__main__":
    method, count, end = sys.argv[1:]
    pool = multiprocessing.get_context(method).Pool(4, maxtasksperchild=2)
    life.work("first")
    pool.map(life.work, [f"{method}-{number}" for number in range(int(count))], chunksize=1)
    if end == "join":
        pool.close()
        pool.join()
    else:
        pool.terminate()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize(("by", "end"), [(ALONE, "join"), (GUARD, "join"), (GUARD, "terminate")])
def test_pools_whose_workers_are_replaced(
    run: Runner, receiver: HttpReceiver, tmp_path: Path, method: str, by: dict[str, Any], end: str
) -> None:
    """Pool.terminate kills its workers: what they have told is lost where nobody guards them."""
    count = FORKS if method == "fork" else FORKS // 12
    (tmp_path / "pool.py").write_text(POOL)
    command = [run.python, tmp_path / "pool.py", method, str(count), end]
    env = receiver.env | BUSY | {"PYTHONPATH": str(APPS)}
    process = run.run(command, env=env, timeout=60 + FORKS, **by)
    assert (process.status, process.stderr) == (0, ""), process.describe()
    tags = Counter(str(s.attributes["url.full"]).rpartition("/")[2] for s in receiver.spans)
    assert tags == Counter(["first", *(f"{method}-{number}" for number in range(count))])
    assert len({s.resource["process.pid"] for s in receiver.spans}) > count // 4
