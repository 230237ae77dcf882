# SPDX-License-Identifier: MIT
"""Applications in trouble of their own: without descriptors, memory, threads or disk. Each span is
received or counted as dropped, none twice, and the application's answers are what they were."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.counts import Counts, counts
from harness.deadline import until
from harness.process import Process, Runner
from harness.receiver import GrpcReceiver, HttpReceiver, Receiver

DEBUG = {"FAA_LOG_LEVEL": "debug", "OTEL_BSP_SCHEDULE_DELAY": "20"}
AFTER = 900
# A hook that waits for anything takes thousands of times what a request does; a busy machine, or
# the first calls of everything, take some times as much.
SLOWER = 40


def told(process: Process, path: Path | None = None) -> dict[str, Any]:
    """What apps/faulty.py has told of itself at its end."""
    assert process.status == 0, process.describe()
    told = json.loads(path.read_text() if path else process.stdout)
    assert isinstance(told, dict)
    return told


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


def compare(traced: dict[str, Any], bare: dict[str, Any]) -> None:
    """The same answers, nothing wrong, and no request that waited for something."""
    assert traced["wrong"] == bare["wrong"] == []
    assert traced["answers"] == bare["answers"]
    for with_agent, without in zip(traced["times"], bare["times"], strict=True):
        assert with_agent < SLOWER * without, (traced["times"], bare["times"])


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
    compare(told(process), bare(fault, before))
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
    compare(told(process), bare(fault, 0))
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
    compare(told(process, answers), bare("nothing", 0))
    check_counts(counts(process), any_receiver, before + AFTER)
    assert counts(process).dropped == 0


# Threads


@pytest.mark.parametrize("fault", ["no-threads", "no-threads-for-a-while"])
def test_without_threads(run: Runner, any_receiver: Receiver, bare: Any, fault: str) -> None:
    """They are kept while there is memory for it, and sent as soon as a thread can be had."""
    process = faulty(run, fault, 0, any_receiver.env | DEBUG, "preload")
    compare(told(process), bare(fault, 0))
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
    ["no-memory", "memory-64", "memory-256", "memory-1024", "memory-2200", "memory-8000"]
    + ["memory-20000", "memory-20500"],
)
def test_without_memory(
    run: Runner, any_receiver: Receiver, bare: Any, fault: str, before: int
) -> None:
    process = faulty(run, fault, before, any_receiver.env | DEBUG, "preload")
    compare(told(process), bare(fault, before))
    # A batch whose answer could not be read for want of memory is rightly sent again.
    violations = any_receiver.violations
    violations[:] = [line for line in violations if not line.endswith("came twice")]
    counted = counts(process)
    assert counted.ended == before + AFTER
    assert counted.exported == len({span.span_id for span in any_receiver.spans})
    assert counted.ended == counted.exported + counted.dropped
