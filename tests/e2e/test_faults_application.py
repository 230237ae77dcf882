# SPDX-License-Identifier: MIT
"""Applications in trouble of their own: without descriptors, memory, threads or disk. Each span is
received or counted as dropped, none twice, and the application's answers are what they were."""

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.counts import Counts, counts
from harness.deadline import scaled, until
from harness.process import Process, Runner
from harness.receiver import HttpReceiver, Receiver
from harness.trouble import assert_same, told

# Time enough for the end on a busy machine: a batch whose answer is not waited for is in no sum.
DEBUG = {
    "FAA_LOG_LEVEL": "debug",
    "OTEL_BSP_SCHEDULE_DELAY": "20",
    "FAA_FLUSH_TIMEOUT": "20000",
}
AFTER = 900
HOSTS = Path(__file__).parent / "hosts"


def faulty(run: Runner, fault: str, before: int, env: dict[str, str], agent: str) -> Process:
    command = [run.python, "faulty.py", fault, str(before), str(AFTER)]
    return run.run(command, env=env, agent=agent, timeout=60)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Callable[..., Any]]:
    """What a faulty application tells without the agent."""
    run = Runner(tmp_path_factory.mktemp("bare"), build)

    @cache
    def tell(fault: str, before: int) -> dict[str, Any]:
        return told(faulty(run, fault, before, {}, "none"))

    yield tell
    run.kill_all()


def check_counts(counted: Counts, receiver: Receiver, sent: int) -> None:
    """Sent is received, each once (the receiver sees to that), and dropped."""
    assert counted.ended == sent
    assert counted.exported == len(receiver.spans)
    assert counted.ended == counted.exported + counted.dropped


RUNNING = pytest.mark.parametrize("before", [0, 60], ids=["idle", "running"])


# Descriptors


@RUNNING
@pytest.mark.parametrize(
    "fault",
    ["nothing", "close-all", "close-and-reuse", "churn", "all-descriptors-used"]
    + ["no-descriptors", "descriptors-3", "descriptors-8"],
)
def test_without_descriptors(
    run: Runner, any_receiver: Receiver, bare: Any, fault: str, before: int
) -> None:
    process = faulty(run, fault, before, any_receiver.env | DEBUG, "preload")
    assert_same(told(process), bare(fault, before))
    check_counts(counts(process), any_receiver, before + AFTER)
    if fault not in ("no-descriptors", "descriptors-3"):
        assert counts(process).dropped == 0, process.describe()
    elif not before:
        assert "no descriptor is left" in process.agent_lines[0] + process.stderr


@pytest.mark.parametrize("limit", range(4, 13))
def test_no_limit_of_descriptors_is_fatal(
    run: Runner, receiver: HttpReceiver, bare: Any, limit: int
) -> None:
    """libuv aborts where it gets some of those that it wants, and not all."""
    fault = f"descriptors-{limit}"
    process = faulty(run, fault, 0, receiver.env | DEBUG, "preload")
    assert_same(told(process), bare(fault, 0))
    check_counts(counts(process), receiver, AFTER)
    assert counts(process).dropped in ((0,) if limit > 6 else (0, AFTER))


@RUNNING
def test_daemon(
    run: Runner, any_receiver: Receiver, bare: Any, tmp_path: Path, before: int
) -> None:
    end = tmp_path / "end"
    end.touch()
    command = [run.python, "faulty.py", "daemon", str(before), str(AFTER), str(end)]
    answers = tmp_path / "end.daemon"
    process = run.run(command, env=any_receiver.env | DEBUG)
    until(lambda: answers.exists() and answers.read_text(), 30, process.describe)
    # Its numbers come when it ends, and nobody waits for a daemon.
    until(lambda: f"flushed: {AFTER} spans ended" in process.stderr, 20, process.describe)
    assert_same(told(process, answers), bare("nothing", 0))
    check_counts(counts(process), any_receiver, before + AFTER)
    assert counts(process).dropped == 0


# Threads


@pytest.mark.parametrize("fault", ["no-threads", "no-threads-for-a-while"])
def test_without_threads(run: Runner, any_receiver: Receiver, bare: Any, fault: str) -> None:
    """They are kept while there is memory for it, and sent as soon as a thread can be had."""
    process = faulty(run, fault, 0, any_receiver.env | DEBUG, "preload")
    assert_same(told(process), bare(fault, 0))
    check_counts(counts(process), any_receiver, AFTER)
    assert counts(process).dropped == (AFTER if fault == "no-threads" else 0)
    lines = [line for line in process.agent_lines if " warning: " in line]
    assert "cannot start the exporter thread: Resource temporarily unavailable" in lines[0]
    assert len(lines) == (1 if fault == "no-threads" else 2)




def test_a_thread_that_can_be_had_later(run: Runner, receiver: HttpReceiver) -> None:
    """More spans than memory holds: those that found no place are counted."""
    code = (
        "import os, resource, selfcall, time\n"
        "if os.getuid() == 0: os.setgid(54321); os.setuid(54321)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))\n"
        "for _ in range(8000): selfcall.request()\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))\n"
        "end = time.monotonic() + 20\n"
        "count = 0\n"
        "def exports(): return any(open(f'/proc/self/task/{t}/comm').read() == 'faa-export\\n'\n"
        "    for t in os.listdir('/proc/self/task'))\n"
        "while not exports() and time.monotonic() < end:\n"
        "    selfcall.request(); count += 1; time.sleep(0.01)\n"
        "time.sleep(0.2)\n"
        "for _ in range(10): selfcall.request()\n"
        "print(count)\n"
    )
    process = run.run([run.python, "-c", code], env=receiver.env | DEBUG)
    assert process.status == 0, process.describe()
    counted = counts(process)
    check_counts(counted, receiver, 8010 + int(process.stdout))
    assert 2048 <= counted.exported < 8000
    assert counted.waiting == 0
    assert f"the exporter thread has started now ({counted.dropped} spans lost)" in process.stderr


# Memory


@RUNNING
@pytest.mark.parametrize(
    "fault",
    ["no-memory", "memory-256", "memory-2200", "memory-20000", "memory-20500"],
)
def test_without_memory(
    run: Runner, any_receiver: Receiver, bare: Any, fault: str, before: int
) -> None:
    process = faulty(run, fault, before, any_receiver.env | DEBUG, "preload")
    assert_same(told(process), bare(fault, before))
    check_short_of_memory(process, any_receiver, before + AFTER)


def check_short_of_memory(process: Process, receiver: Receiver, sent: int) -> None:
    """A batch whose answer cannot be read for want of memory is rightly sent again, or counted as
    dropped at the end, although it was received: one batch, and the log says so."""
    receiver.violations[:] = [v for v in receiver.violations if not v.endswith("came twice")]
    counted = counts(process)
    assert counted.ended == sent == counted.exported + counted.dropped
    surplus = len({span.span_id for span in receiver.spans}) - counted.exported
    if surplus:
        assert 0 < surplus <= 512
        assert re.search("Out of memory|hung up without an answer", process.stderr)


@pytest.fixture(scope="module")
def starving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that lets allocations of the exporter's thread fail."""
    output = tmp_path_factory.mktemp("starving") / "starve.so"
    command = ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-o", output]
    subprocess.run([*command, HOSTS / "starve.c"], check=True, timeout=scaled(60))
    return output


@pytest.mark.parametrize("count", [1, 40, 0], ids=["one", "some", "all"])
@pytest.mark.parametrize("first", [0, 15, 29, 57, 110, 193, 292, 420])
def test_each_allocation_of_the_exporter_may_fail(
    run: Runner, any_receiver: Receiver, bare: Any, starving: Path, first: int, count: int
) -> None:
    """From the `first` one of its thread on, so many."""
    env = any_receiver.env | DEBUG
    env |= {"STARVE_FROM": str(first), "STARVE_COUNT": str(count), "LD_PRELOAD": str(starving)}
    process = faulty(run, "nothing", 0, env, "preload")
    assert_same(told(process), bare("nothing", 0))
    check_short_of_memory(process, any_receiver, AFTER)
    if count == 1:
        assert counts(process).dropped == 0
