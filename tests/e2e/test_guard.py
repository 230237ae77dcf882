# SPDX-License-Identifier: MIT
"""The launcher as a parent: what killed processes leave behind arrives, and it is a good parent."""

import concurrent.futures
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.deadline import scaled
from harness.deadline import until as until_or
from harness.otlp import Span, describe
from harness.process import Runner, Server
from harness.receiver import HANG, HttpReceiver
from harness.served import new_context
from harness.tree import one, where

GUARD = {"agent": "launcher", "options": ["--guard"]}
NEVER = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}  # Only the end sends.


def until(probe: Callable[[], Any], timeout: float) -> Any:
    """Waits until the probe is true, and returns what it returned. Raises AssertionError else."""
    return until_or(probe, timeout, lambda: "time is over")


def ask(server: Server, path: str, context: Any = None) -> int | None:
    """GETs a path; returns the status, or None when the connection broke."""
    try:
        return server.get(path, headers=context.headers if context else {}).status_code
    except httpx.TransportError:
        return None


def background(server: Server, path: str) -> Any:
    """Sends a request that will not be answered; returns its context once it is in progress."""
    context = new_context()
    threads = concurrent.futures.ThreadPoolExecutor(1)
    threads.submit(ask, server, path, context)
    threads.shutdown(wait=False)
    return context


def request_of(spans: list[Span], context: Any) -> Span:
    return one(spans, trace_id=context.trace_id, kind="SERVER")


# Deaths


@pytest.mark.parametrize(
    ("how", "cause", "status"),
    [
        ("SIGKILL", "SIGKILL", 137),
        ("segfault", "SIGSEGV", 139),
        ("abort", "SIGABRT", 134),
        ("SIGUSR2", "SIGUSR2", 140),
        ("exit", "exit", 7),
    ],
)
def test_the_request_that_kills_its_process_is_told(
    run: Runner, receiver: HttpReceiver, how: str, cause: str, status: int
) -> None:
    server = run.uvicorn("guarded:app", env=receiver.env | NEVER, **GUARD)
    before = new_context()
    assert ask(server, "/items/1", before) == 200
    waits = background(server, "/waits/long")
    time.sleep(scaled(0.3))
    dies = new_context()
    assert ask(server, f"/dies/{how}", dies) is None
    assert server.wait() == status
    spans = receiver.wait(3)
    assert len(spans) == 3, describe(spans)
    done = request_of(spans, before)
    assert (done.name, done.status) == ("GET /items/{item_id}", "UNSET")
    for context, name in ((waits, "GET /waits/{name}"), (dies, "GET /dies/{how}")):
        span = request_of(spans, context)
        assert (span.name, span.status, span.parent_id) == (name, "ERROR", context.parent_id)
        assert span.attributes["error.type"] == cause
        assert cause in span.status_message
        assert span.attributes["url.path"].startswith(name.partition(" ")[2].partition("{")[0])
        assert span.resource["process.pid"] == done.resource["process.pid"]
    held = request_of(spans, waits)
    assert held.end_ns - held.start_ns >= 0.2e9


def test_a_worker_of_gunicorn_that_is_killed(run: Runner, receiver: HttpReceiver) -> None:
    """It is no child of the guard's."""
    server = run.gunicorn("guarded:app", "--workers", "2", env=receiver.env, **GUARD)
    for _ in range(3):
        worker = int(server.get("/pid").text)
        waits = background(server, "/waits/long")
        until(lambda: ask(server, "/pid") == 200, 10)
        time.sleep(scaled(0.2))
        for pid in {int(server.get("/pid").text) for _ in range(20)} | {worker}:
            os.kill(pid, signal.SIGKILL)
        receiver.wait(lambda spans: where(spans, trace_id=waits.trace_id))
        span = request_of(receiver.spans, waits)
        assert (span.status, span.attributes["error.type"]) == ("ERROR", "SIGKILL")
        until(lambda: ask(server, "/pid") == 200, 20)
    assert server.stop() == 0


class Journal:
    """What the requests of guarded.py's /works have noted, by trace."""

    def __init__(self, path: Path) -> None:
        self.notes: dict[str, set[str]] = defaultdict(set)
        self.process: dict[str, int] = {}
        for line in path.read_text().splitlines():
            word, pid, trace = line.split()
            self.notes[trace].add(word)
            self.process[trace] = int(pid)


def kill_one(master: int, journal: Path) -> int:
    """Kills some worker that serves requests; returns its number when it is gone."""

    def serving() -> list[int]:
        served = {int(line.split()[1]) for line in journal.read_text().splitlines()[-200:]}
        return sorted(served & set(children(master)))

    pid = random.choice(until(serving, 60))
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in children(master), 10)
    return pid


# make kill-check has 200 of them.
KILLS = int(os.environ.get("FAA_TEST_KILLS", "15"))


@pytest.mark.timeout(scaled(120 + 10 * KILLS))
def test_workers_killed_at_random_lose_nothing(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """The application itself says which requests were in progress when it was killed."""
    path = tmp_path / "journal"
    env = receiver.env | {"JOURNAL": str(path)}
    server = run.gunicorn("guarded:app", "--workers", "3", env=env, **GUARD)
    (master,) = children(server.pid)
    answers: dict[str, int | None] = {}
    over = False

    def work() -> None:
        while not over:
            context = new_context()
            answers[context.trace_id] = ask(server, "/works/30", context)

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(work)
        try:
            until(path.exists, 20)
            killed = []
            for _ in range(KILLS):
                time.sleep(random.uniform(0, 0.5))
                killed.append(kill_one(master, path))
        finally:
            over = True
    assert server.stop() == 0
    journal = Journal(path)
    spans = {s.trace_id: s for s in receiver.spans if s.kind == "SERVER"}
    statements = {s.trace_id: s for s in receiver.spans if s.kind == "CLIENT"}
    # The receiver knows that no span came twice; no request has two of one kind.
    assert len(spans) + len(statements) == len(receiver.spans)

    answered = {trace for trace, status in answers.items() if status == 200}
    assert answered and all("end" in journal.notes[trace] for trace in answered)
    assert set(journal.notes) <= set(spans)  # Also those whose answer was lost with the process.
    for trace, span in spans.items():
        notes = journal.notes.get(trace, set())
        pid = span.resource["process.pid"]
        assert pid == journal.process.get(trace, pid)
        if "told" in notes:
            assert statements[trace].parent_id == span.span_id
        if "end" in notes and span.status != "ERROR":
            assert span.attributes["http.response.status_code"] == 200
        else:
            assert pid in killed, describe([span])
            assert (span.status, span.attributes["error.type"]) == ("ERROR", "SIGKILL")
            assert notes == set() or span.name == "GET /works/{most}"
    in_flight = [trace for trace in spans if "end" not in journal.notes.get(trace, "")]
    late = [t for t in spans if t not in in_flight and spans[t].status == "ERROR"]
    # Between its answer and its end is a process with one request at a time.
    assert len(late) <= len(killed) == KILLS
    assert len(in_flight) >= KILLS / 3, "hardly a kill has met a request"
    print(
        f"{len(killed)} workers killed, {len(answers)} requests, {len(answered)} answered, "
        f"{len(in_flight)} in progress when killed, {len(late)} killed between answer and end: "
        f"{len(spans)} spans of requests, {len(statements)} of statements"
    )


def test_spans_of_a_killed_process_wait_for_the_collector(
    run: Runner, receiver: HttpReceiver
) -> None:
    receiver.refuse()
    server = run.gunicorn("guarded:app", env=receiver.env, **GUARD)
    contexts = [new_context() for _ in range(5)]
    for context in contexts:
        assert ask(server, "/items/1", context) == 200
    assert ask(server, "/dies/SIGKILL") is None
    until(lambda: ask(server, "/pid") == 200, 20)
    receiver.accept()
    receiver.wait(lambda spans: all(any(s.trace_id == c.trace_id for s in spans) for c in contexts))
    assert server.stop() == 0


# Ends


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["/nonexistent"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_status_is_the_commands(run: Runner, command: list[str], status: int) -> None:
    process = run.run(command, **GUARD)
    assert process.status == status
    if status not in (126, 127):
        assert process.stderr == ""


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_stopped_server_flushes_and_has_its_own_status(
    run: Runner, receiver: HttpReceiver, signum: signal.Signals, status: int
) -> None:
    server = run.uvicorn("guarded:app", env=receiver.env | NEVER, **GUARD)
    contexts = [new_context() for _ in range(20)]
    for context in contexts:
        assert ask(server, "/items/1", context) == 200
    assert server.stop(signum) == status
    assert {s.trace_id for s in receiver.spans} == {c.trace_id for c in contexts}


def test_the_end_is_bounded_when_the_collector_hangs(run: Runner, receiver: HttpReceiver) -> None:
    receiver.behave(HANG)
    env = receiver.env | {"FAA_FLUSH_TIMEOUT": "300"}
    server = run.uvicorn("guarded:app", env=env, **GUARD)
    assert ask(server, "/items/1") == 200
    receiver.wait_requests(1)
    begin = time.monotonic()
    assert server.stop() == 143
    assert time.monotonic() - begin < scaled(8)


# A parent


def test_signals_are_passed_on(run: Runner) -> None:
    names = ["HUP", "USR1", "USR2", "WINCH", "ALRM", "TERM"]
    traps = "; ".join(f"trap 'echo {name}' {name}" for name in names)
    script = f"{traps}; echo ready; while :; do sleep 0.01; done"
    process = run.start(["sh", "-c", script], **GUARD)
    process.wait_log("^ready$")
    for name in names:
        process.send_signal(getattr(signal, f"SIG{name}"))
        process.wait_log(f"^{name}$")
    assert process.stdout.split() == ["ready", *names]


def test_the_terminals_interrupt_comes_once(run: Runner, receiver: HttpReceiver, tmp_path: Path) -> None:
    """By a pseudo-terminal: Ctrl-C, and Ctrl-Z with the shell's job control around it."""
    launcher = run.build / "bin" / "fastapi-auto-agent"
    counter = "trap 'echo got' INT; echo ready; while :; do sleep 0.05; done"
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(launcher, [str(launcher), "--guard", "sh", "-c", counter])
    seen = b""

    def read_until(pattern: bytes) -> bytes:
        nonlocal seen
        while not re.search(pattern, seen):
            seen += os.read(terminal, 1000)
        return seen

    try:
        read_until(b"ready")
        os.write(terminal, b"\x03")
        read_until(b"got")
        os.write(terminal, b"\x03")
        read_until(b"got[^g]*got")
        time.sleep(scaled(0.3))
        os.set_blocking(terminal, False)
        try:
            seen += os.read(terminal, 1000)
        except BlockingIOError:
            pass
        assert seen.count(b"got") == 2
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


JOB = """
import os, signal, sys
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
print("job", pid, flush=True)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED | os.WCONTINUED)
    print("status", hex(status), flush=True)
    if not os.WIFSTOPPED(status) and not os.WIFCONTINUED(status):
        break
"""


def test_a_stopped_job_is_seen_to_be_stopped(run: Runner) -> None:
    """As a shell with job control sees it: its jobs are process groups of their own."""
    launcher = run.build / "bin" / "fastapi-auto-agent"
    command = [run.python, "-c", JOB, str(launcher), "--guard", "sleep", "300"]
    process = run.start(command, agent="none")
    guard = int(process.wait_log(r"^job (\d+)$").group(1))
    child = until(lambda: children(guard), 10)[0]
    until(lambda: "sleep" in Path(f"/proc/{child}/comm").read_text(), 10)
    os.kill(guard, signal.SIGTSTP)
    process.wait_log(f"^status {hex(signal.SIGSTOP << 8 | 0x7F)}$")
    assert state(child) == "T"
    os.killpg(guard, signal.SIGCONT)
    until(lambda: state(guard) == "S" and state(child) == "S", 10)
    os.kill(guard, signal.SIGTERM)
    process.wait_log(f"^status {hex(143 << 8)}$")


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    """The letter of /proc for the state of a process, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_it_dies_with_its_parent_when_asked(run: Runner) -> None:
    launcher = run.build / "bin" / "fastapi-auto-agent"
    script = f"'{launcher}' --guard --die-with-parent sleep 300 & echo $!; exec sleep 300"
    process = run.start(["sh", "-c", script], agent="none")
    guard = int(process.wait_log(r"^\d+$").group())
    command = until(lambda: children(guard), 10)[0]
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: state(command) in ("", "Z") and state(guard) in ("", "Z"), 10)


def test_die_with_parent_needs_the_guard(run: Runner) -> None:
    launcher = run.build / "bin" / "fastapi-auto-agent"
    process = run.run([str(launcher), "--die-with-parent", "true"], agent="none")
    assert process.status == 2
    assert "--die-with-parent needs --guard" in process.stderr


@pytest.fixture
def namespace() -> list[str]:
    """The command that makes what follows PID 1 of its own namespace."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"]).returncode != 0:
        pytest.skip("no PID namespaces for this user")
    return words


def test_as_pid_1_it_guards_by_default_and_reaps_orphans(
    run: Runner, receiver: HttpReceiver, namespace: list[str]
) -> None:
    launcher = run.build / "bin" / "fastapi-auto-agent"
    script = (
        "echo parent $PPID; (sleep 0.1 & ) ; (true &) ; sleep 0.5; "
        "grep -l '(zombie)\\|Z (' /proc/[0-9]*/status; exit 3"
    )
    command = [*namespace, str(launcher), "sh", "-c", script]
    process = run.run(command, agent="none", env=receiver.env)
    assert process.status == 3, process.describe()
    assert process.stdout.split() == ["parent", "1"], process.describe()


def test_no_guard_as_pid_1(run: Runner, namespace: list[str]) -> None:
    launcher = run.build / "bin" / "fastapi-auto-agent"
    command = [*namespace, str(launcher), "--no-guard", "sh", "-c", "echo $$"]
    assert run.run(command, agent="none").stdout == "1\n"


# Without it


def test_processes_go_on_when_the_guard_is_killed(run: Runner, receiver: HttpReceiver) -> None:
    """Those that outlive it export by themselves once there is much to say, or new ones come."""
    server = run.uvicorn("guarded:app", env=receiver.env, **GUARD)
    assert ask(server, "/items/1") == 200
    receiver.wait(1)
    os.kill(server.pid, signal.SIGKILL)
    pid = server.get("/pid").json()
    until(lambda: state(server.pid) == "Z", 10)
    for _ in range(6000):
        if len(receiver.spans) > 100:
            break
        assert server.get("/items/1").status_code == 200
    receiver.wait(100)
    os.kill(pid, signal.SIGTERM)
    until(lambda: state(pid) == "", 20)


def test_a_guard_that_is_not_there_is_none(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | {"FAA_GUARD_SOCKET": "faa-guard-1-0000000000000000"}
    server = run.uvicorn("guarded:app", env=env)
    assert ask(server, "/items/1") == 200
    receiver.wait(1)
    assert server.stop() == -15


def test_an_application_that_closes_descriptors(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("guarded:app", env=receiver.env, **GUARD)
    assert ask(server, "/items/1") == 200
    assert ask(server, "/closes") == 200
    assert ask(server, "/items/2") == 200
    receiver.wait(3)
    assert server.stop() == 143


def test_its_memory(run: Runner, receiver: HttpReceiver) -> None:
    """What it adds to the machine: its own pages, and its part of those that others use, too."""
    server = run.uvicorn("guarded:app", env=receiver.env, **GUARD)
    for _ in range(300):
        assert ask(server, "/items/1") == 200
    receiver.wait(300)
    rollup = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    private = sum(int(n) for n in re.findall(r"Private_\w+:\s+(\d+) kB", rollup))
    assert private < 3 * 1024, rollup
    assert server.stop() == 143
