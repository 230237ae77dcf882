# SPDX-License-Identifier: MIT
"""Steps of a request that hold the event loop: an event on its span, with the stack that held it.

What blocks does so by sleeping for several thresholds: how long is a lower limit, and the watch has
the rest of it to look.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import libraries
from harness.deadline import until
from harness.otlp import Event, Span
from harness.process import APPS, Runner
from harness.receiver import HttpReceiver
from harness.traced import Traced, traced
from harness.tree import one

APP = APPS / "slow_cases.py"
BLOCKED = "event loop blocked"
BLOCKED_US = "faa.event_loop.blocked_us"
STACK = "code.stacktrace"
LONG_US = 500_000
DEFAULT = {"FAA_BLOCKED_THRESHOLD": ""}  # Of the agent; the harness sets another.

# request() makes one in this process.
SCRIPT = """\
import asyncio, os, threading, slow_cases
def request():
    assert asyncio.run(slow_cases.call("/sleep")) == 200
"""


@pytest.fixture(scope="module")
def python() -> str:
    """The applications' interpreter, for a whole module."""
    return libraries.python()


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def slow(
    tmp_path_factory: pytest.TempPathFactory,
    build: Path,
    python: str,
    request: pytest.FixtureRequest,
) -> Iterator[Traced]:
    """apps/slow_cases.py with the default threshold."""
    directory = tmp_path_factory.mktemp("slow")
    env = {"DATABASE": str(directory / "slow.db"), **DEFAULT}
    args = ("slow_cases:app", "--loop", request.param)
    with traced(directory, build, python, *args, env=env) as server:
        yield server


@pytest.fixture(scope="module")
def patient(
    tmp_path_factory: pytest.TempPathFactory, build: Path, python: str
) -> Iterator[Traced]:
    """The same with a threshold that no honest step reaches on a busy machine."""
    directory = tmp_path_factory.mktemp("patient")
    env = {"DATABASE": str(directory / "slow.db"), "FAA_BLOCKED_THRESHOLD": "2000"}
    with traced(directory, build, python, "slow_cases:app", env=env) as server:
        yield server


def line_of(name: str) -> int:
    """Returns the number of the application's line that ends in "# line: name"."""
    lines = APP.read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# line: {name}")]
    return number


def blocked(span: Span) -> list[Event]:
    return [event for event in span.events if event.name == BLOCKED]


def only(span: Span) -> Event:
    events = blocked(span)
    assert len(events) == 1, events
    return events[0]


def frames(event: Event) -> list[str]:
    """Returns the lines of the stack, the innermost first."""
    stack: str = event.attributes[STACK]
    assert stack.endswith("\n")
    return stack.splitlines()[::-1]


def frame(name: str, function: str) -> str:
    return f'  File "{APP}", line {line_of(name)}, in {function}'


# Where it blocks.


@pytest.mark.parametrize(
    ("path", "innermost"),
    [
        ("/sleep", [("sleep", "sleep")]),
        ("/nested", [("blocks", "blocks"), ("nested", "nested.<locals>.inner")]),
        ("/cancelled", [("blocks", "blocks")]),
    ],
)
def test_the_stack_names_the_line_that_blocks(
    slow: Traced, path: str, innermost: list[tuple[str, str]]
) -> None:
    call = slow.get(path)
    assert call.response.status_code == 200
    event = only(call.server)
    assert event.attributes.keys() == {BLOCKED_US, STACK}
    took = (call.server.end_ns - call.server.start_ns) / 1000
    assert LONG_US <= event.attributes[BLOCKED_US] <= took + 1
    assert call.server.start_ns <= event.time_ns <= call.server.end_ns
    lines = frames(event)
    expected = [frame(name, function) for name, function in innermost]
    bare = [line.replace("nested.<locals>.", "") for line in expected]  # Before 3.11.
    assert lines[: len(expected)] in (expected, bare)
    assert any("/uvicorn/" in line for line in lines)


def test_a_busy_loop_is_seen_at_work(slow: Traced) -> None:
    event = only(slow.get("/busy").server)
    assert event.attributes[BLOCKED_US] >= LONG_US
    innermost = frames(event)[0]
    assert innermost.startswith(f'  File "{APP}", line ') and innermost.endswith(", in busy")


def test_a_deep_stack_keeps_its_innermost_frames(slow: Traced) -> None:
    lines = frames(only(slow.get("/deep").server))
    assert lines[0] == frame("blocks", "blocks")
    assert len(lines) == 65
    assert lines[-1] == "  [outer frames left out]"
    assert all("down" in line for line in lines[1:-1])


def test_an_exception_leaves_its_own_event_beside_it(slow: Traced) -> None:
    server = slow.get("/raises").server
    assert [event.name for event in server.events] == [BLOCKED, "exception"]
    assert frames(server.events[0])[0] == frame("blocks", "blocks")
    assert server.attributes["error.type"] == "ValueError"


@pytest.mark.parametrize(("count", "told"), [(1, 1), (3, 3), (12, 8)])
def test_each_step_is_an_event_up_to_a_limit(slow: Traced, count: int, told: int) -> None:
    server = slow.get(f"/steps/{count}").server
    events = blocked(server)
    assert len(events) == told
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    for event in events:
        assert event.attributes[BLOCKED_US] >= 150_000


def test_what_runs_after_the_response_is_not_told(slow: Traced) -> None:
    assert blocked(slow.get("/after").server) == []


# Where it does not.


@pytest.mark.parametrize("path", ["/waits?seconds=2.2", "/in-thread?seconds=2.2"])
def test_a_request_that_lets_others_run_blocks_nothing(patient: Traced, path: str) -> None:
    server = patient.get(path).server
    assert server.end_ns - server.start_ns >= 2.2e9
    assert server.events == []


def test_fast_requests_block_nothing(patient: Traced) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5 or len(patient.receiver.spans) < 200:
        for _ in range(20):
            assert patient.server.get("/fast").json() == 1
    fast = patient.receiver.wait(
        lambda spans: len(found := [s for s in spans if s.name == "GET /fast"]) >= 200 and found
    )
    assert [span for span in fast if span.events] == []


def test_the_threshold_is_the_one_that_is_set(patient: Traced) -> None:
    assert blocked(patient.get("/sleep?seconds=1").server) == []
    event = only(patient.get("/sleep?seconds=2.5").server)
    assert event.attributes[BLOCKED_US] >= 2_500_000
    assert frames(event)[0] == frame("sleep", "sleep")


def test_a_threshold_of_zero_turns_it_off(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    env = {"DATABASE": str(tmp_path / "off.db"), "FAA_BLOCKED_THRESHOLD": "0", **receiver.env}
    server = run.uvicorn("slow_cases:app", env=env)
    assert server.get("/sleep").status_code == 200
    assert "faa-watch" not in threads(server.pid)
    server.stop()
    assert one(receiver.spans, name="GET /sleep").events == []


# Loops, threads, processes.


def script(run: Runner, receiver: HttpReceiver, tmp_path: Path, code: str) -> list[Event | None]:
    """Runs it; returns for each request of /sleep its only event, or None."""
    env = {"DATABASE": str(tmp_path / "script.db"), **DEFAULT, **receiver.env}
    # Since 3.12 a fork in a process with threads, ours too, is warned of.
    options = ["-W", "ignore::DeprecationWarning"]
    process = run.run([run.python, *options, "-c", SCRIPT + code], env=env)
    assert (process.status, process.stderr) == (0, ""), process.describe()
    spans = [span for span in receiver.spans if span.name == "GET /sleep"]
    return [only(span) for span in spans]


def test_a_loop_in_another_thread_has_a_duration_and_no_stack(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    code = "t = threading.Thread(target=request); t.start(); t.join(); request()"
    other, main = script(run, receiver, tmp_path, code)
    assert other and other.attributes.keys() == {BLOCKED_US}
    assert other.attributes[BLOCKED_US] >= LONG_US
    assert main and frames(main)[0] == frame("sleep", "sleep")


def test_loops_in_several_threads_keep_apart(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    code = (
        "ts = [threading.Thread(target=request) for _ in range(3)]\n"
        "for t in ts: t.start()\n"
        "request()\n"
        "for t in ts: t.join()\n"
    )
    events = script(run, receiver, tmp_path, code)
    stacks = [event.attributes[STACK] for event in events if event and STACK in event.attributes]
    assert len(events) == 4
    assert len(stacks) == 1 and frame("sleep", "sleep") in stacks[0]


def test_a_forked_child_has_a_watch_of_its_own(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    code = (
        "request()\n"
        "pid = os.fork()\n"
        "request()\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0\n"
    )
    events = script(run, receiver, tmp_path, code)
    assert len(events) == 3
    assert [frames(event)[0] for event in events if event] == [frame("sleep", "sleep")] * 3


def test_a_step_inside_a_step_is_told_by_both(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    env = {"DATABASE": str(tmp_path / "inside.db"), **DEFAULT, **receiver.env}
    server = run.uvicorn("slow_cases:app", env=env)
    assert server.get("/inside").json() == 200
    server.stop()
    for name in ("GET /inside", "GET /sleep"):
        event = only(one(receiver.spans, name=name))
        assert frames(event)[0] == frame("sleep", "sleep")


def test_a_process_that_ends_while_it_is_blocked_ends_as_ever(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    env = {"DATABASE": str(tmp_path / "end.db"), **DEFAULT, **receiver.env}
    code = (
        "threading.Thread(target=request, daemon=True).start()\n"
        "import time; time.sleep(0.2)\n"
        "print('end')"
    )
    process = run.run([run.python, "-c", SCRIPT + code], env=env)
    assert (process.status, process.stdout, process.stderr) == (0, "end\n", "")


# The thread.


def threads(pid: int) -> dict[str, int]:
    """Returns the names of a process's threads, with how often each has gone to sleep."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(
            line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if "\t" in line
        )
        found[fields["Name"]] = int(fields["voluntary_ctxt_switches"])
    return found


def test_the_thread_starts_with_a_request_and_sleeps_when_there_is_none(slow: Traced) -> None:
    assert slow.server.get("/fast").status_code == 200
    assert "faa-watch" in threads(slow.server.pid)

    def is_quiet() -> Any:
        before = threads(slow.server.pid)["faa-watch"]
        time.sleep(0.5)  # Twenty polls.
        return threads(slow.server.pid)["faa-watch"] == before

    until(is_quiet, 20, lambda: "faa-watch wakes up again and again")
    assert frames(only(slow.get("/sleep").server))[0] == frame("sleep", "sleep")


def test_an_idle_process_has_no_such_thread(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    env = {"DATABASE": str(tmp_path / "idle.db"), **DEFAULT, **receiver.env}
    server = run.uvicorn("slow_cases:app", env=env)
    assert "faa-watch" not in threads(server.pid)
