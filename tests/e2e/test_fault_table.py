# SPDX-License-Identifier: MIT
"""Each fault of a collector (harness/faults.py): the spans that an application has sent are those
that were received, each once, and those that were counted as dropped; and it notices nothing."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.counts import counts, guarded_counts
from harness.deadline import scaled, until
from harness.faults import FAULTS, Fault, Stand
from harness.process import Process, Runner
from harness.trouble import assert_same, told

COUNT = 300
QUICK = {"FAA_LOG_LEVEL": "debug", "OTEL_BSP_SCHEDULE_DELAY": "20"}
# What will not be sent is given up soon. MARGIN is for a busy machine.
GIVE_UP = {"FAA_FLUSH_TIMEOUT": "300", "OTEL_EXPORTER_OTLP_TIMEOUT": "250"}
WAIT = {"FAA_FLUSH_TIMEOUT": "20000"}  # For what will be sent.
MARGIN = 4
# What the line may say instead where the machine did not come as far as the fault.
TOO_SLOW = "timed out|no answer in the time left"
# The exporter with its libraries, and not what a collector can make of it.
GROWTH = 24 << 20
# What fits into the buffers of both sides after 4 MiB have been read of an answer.
ANSWERS = 64 << 20


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[dict[str, Any]]:
    """What the application tells without the agent."""
    run = Runner(tmp_path_factory.mktemp("bare"), build)
    yield told(run.run([run.python, "faulty.py", "nothing", "0", str(COUNT)], agent="none"))
    run.kill_all()


def run_against(run: Runner, fault: Fault, stand: Stand, end: Path) -> Process:
    command = [run.python, "faulty.py", "nothing", "0", str(COUNT), str(end)]
    if fault.fate == "lost":
        end.touch()
        return run.run(command, env=stand.env | QUICK | GIVE_UP)
    process: Process = run.start(command, env=stand.env | QUICK | WAIT)
    if fault.fate == "sent":
        received = stand.received
        until(lambda: len(received()) >= COUNT, 40, lambda: f"{len(received())} have come")
    end.touch()
    process.wait()
    return process


@pytest.mark.parametrize("name", FAULTS)
def test_sent_is_received_or_dropped(
    run: Runner, bare: dict[str, Any], tmp_path: Path, name: str
) -> None:
    fault = FAULTS[name]
    with ExitStack() as stack:
        stand = fault.make(stack, tmp_path)
        start = time.monotonic()
        process = run_against(run, fault, stand, tmp_path / "end")
        took = time.monotonic() - start
        received, answered = stand.received(), stand.sent()
    traced = told(process)
    assert_same(traced, bare)
    counted = counts(process)
    assert len(set(received)) == len(received), "spans came twice"
    assert counted.ended == COUNT
    assert counted.exported == len(received)
    assert counted.exported + counted.dropped == COUNT
    assert {"lost": counted.dropped == COUNT, "sent": counted.dropped == 0}.get(
        fault.fate, 0 < counted.dropped < COUNT
    ), counted
    assert traced["grown"] < GROWTH
    assert answered < ANSWERS
    assert not {"\x1b", "\x9b", "\a"} & set(process.stderr)
    if fault.fate == "lost":
        assert took < 0.3 + scaled(MARGIN)
        warnings = [line for line in process.agent_lines if " warning: " in line]
        if not name.startswith("partial"):
            (line,) = warnings
            says = f"{fault.says}|{TOO_SLOW}"
            assert re.search(rf"cannot send traces to \S+: .*({says}).*; they are ", line)
    print(f"{name:28} {counted} in {took:.2f} s, {traced['grown'] >> 10} KiB more")


@pytest.mark.parametrize("count", [COUNT, 6000])
@pytest.mark.parametrize("name", ["tls", "absent", "silent", "503", "400", "grpc-partial-success"])
def test_the_same_under_the_guard(run: Runner, tmp_path: Path, name: str, count: int) -> None:
    """Spans for which the buffer had no room, and those that the guard gives up, are all there
    are; the guard ends in time."""
    with ExitStack() as stack:
        stand = FAULTS[name].make(stack, tmp_path)
        command = [run.python, "faulty.py", "nothing", "0", str(count)]
        env = stand.env | QUICK | (GIVE_UP if FAULTS[name].fate == "lost" else WAIT)
        process = run.run(command, env=env, agent="launcher", options=["--guard"])
        received = stand.received()
    assert told(process)["answers"] == {"200": count}
    counted = guarded_counts(process)
    assert len(set(received)) == len(received) == counted.exported
    assert counted.ended == count == counted.exported + counted.dropped
    if name == "tls" and count == COUNT:
        assert counted.dropped == 0
    elif name != "tls":
        assert counted.dropped > 0
