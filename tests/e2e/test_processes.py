# SPDX-License-Identifier: MIT
"""The life of processes: servers' workers, forks, children, descriptors, signals, every ending."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.compare import quiet
from harness.deadline import scaled, until
from harness.otlp import Span, describe
from harness.process import APPS, Process, Runner, Server
from harness.receiver import HttpReceiver
from harness.tree import one, where

PING = "GET /ping"
NEVER = {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}  # Only a flush sends.


def pids(spans: Iterable[Span]) -> set[Any]:
    return {span.resource["process.pid"] for span in spans}


def tags(spans: Iterable[Span]) -> list[str]:
    """The tags of life.work, in no order."""
    urls = [str(span.attributes.get("url.full", "")) for span in spans if span.kind == "CLIENT"]
    return sorted(url.rpartition("/")[2] for url in urls)


def tagged(spans: list[Span], tag: str) -> Span:
    found = [span for span in spans if str(span.attributes.get("url.full")).endswith(f"/{tag}")]
    assert len(found) == 1, f"{len(found)} spans of {tag!r} among\n{describe(spans)}"
    return found[0]


def tasks(process: Process) -> dict[str, list[Path]]:
    """The process's threads by name."""
    found: dict[str, list[Path]] = {}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        found.setdefault((task / "comm").read_text().strip(), []).append(task)
    return found


# Servers


@pytest.mark.parametrize(
    "options",
    [
        ["--loop", "asyncio", "--http", "h11"],
        ["--loop", "asyncio", "--http", "httptools"],
        ["--loop", "uvloop", "--http", "h11"],
        ["--loop", "uvloop", "--http", "httptools"],
    ],
    ids=lambda options: "-".join(options[1::2]),
)
def test_uvicorn_loops(run: Runner, receiver: HttpReceiver, options: list[str]) -> None:
    server = run.uvicorn("life:app", *options, env={**receiver.env, **NEVER})
    for _ in range(3):
        assert server.get("/ping").status_code == 200
    assert server.stop() == -signal.SIGTERM
    assert len(where(receiver.spans, name=PING, kind="SERVER")) == 3
    assert pids(receiver.spans) == {server.pid}


def ask_until_two_workers(server: Server) -> Counter[int]:
    """Asks until two processes have answered; returns how often each did."""
    answers: Counter[int] = Counter()

    def probe() -> bool:
        answers[server.get("/ping").json()["pid"]] += 1
        return len(answers) >= 2

    until(probe, 20, lambda: f"only {answers} answer")
    return answers


SERVERS = {
    "uvicorn-workers": ("uvicorn", ["--workers", "2"]),
    "gunicorn": ("gunicorn", ["--workers", "2"]),
    "gunicorn-preload": ("gunicorn", ["--workers", "2", "--preload"]),
}


@pytest.mark.parametrize("name", SERVERS)
def test_workers(run: Runner, receiver: HttpReceiver, name: str) -> None:
    kind, options = SERVERS[name]
    env = {**receiver.env, **NEVER}
    server = getattr(run, kind)("life:app", *options, env=env)
    answers = ask_until_two_workers(server)
    assert server.stop() == 0
    spans = receiver.spans
    assert Counter(span.resource["process.pid"] for span in spans) == answers, describe(spans)
    assert server.pid not in answers


def test_gunicorn_replaces_its_workers(run: Runner, receiver: HttpReceiver) -> None:
    """By SIGHUP, as a deployment does; the old worker's spans arrive as the new one's."""
    server = run.gunicorn("life:app", env={**receiver.env, **NEVER})
    first = server.get("/ping").json()["pid"]
    server.send_signal(signal.SIGHUP)
    until(lambda: not Path(f"/proc/{first}").exists(), 20, server.describe)
    answers = Counter({first: 1})
    answers[server.get("/ping").json()["pid"]] += 1
    assert len(answers) == 2
    assert server.stop() == 0
    assert Counter(span.resource["process.pid"] for span in receiver.spans) == answers


RELOADED = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
async def version(request): return PlainTextResponse("VERSION")
app = Starlette(routes=[Route("/VERSION", version)])
"""


def test_reload(run: Runner, receiver: HttpReceiver, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file = source / "reloaded.py"
    file.write_text(RELOADED.replace("VERSION", "one"))
    options = ["--reload", "--reload-dir", str(source), "--app-dir", str(source)]
    env = {**receiver.env, **NEVER}
    server = run.uvicorn("reloaded:app", *options, env=env, cwd=source)
    assert server.get("/one").text == "one"
    written = 0.0

    def answered() -> bool:
        nonlocal written
        if time.monotonic() - written > 3:  # The watcher may start later than the server.
            written = time.monotonic()
            file.write_text(RELOADED.replace("VERSION", "two"))
        try:
            return server.get("/two").text == "two"
        except httpx.TransportError:
            return False  # It came while the old process went.

    until(answered, 20, server.describe)
    server.stop()
    old, new = (one(receiver.spans, name=name) for name in ("GET /one", "GET /two"))
    assert len(pids([old, new])) == 2
    assert server.pid not in pids([old, new])


# Endings

REPEATS = 10


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stop_right_after_a_request_loses_nothing(
    run: Runner, receiver: HttpReceiver, signum: signal.Signals
) -> None:
    plain = run.uvicorn("life:app", agent="none")
    plain.get("/ping")
    status = plain.stop(signum)
    env = {**receiver.env, **NEVER}
    command = [run.python, "-m", "uvicorn", "life:app", "--host", "127.0.0.1", "--port", "0"]
    for _ in range(REPEATS // 5):
        servers = [run.start(command, env=env, kind=Server) for _ in range(5)]
        for server in servers:
            server.wait_ready()
        for server in servers:
            assert server.get("/ping").status_code == 200
            server.send_signal(signum)
        for server in servers:
            assert server.wait() == status
    assert len(receiver.spans) == REPEATS
    assert len(pids(receiver.spans)) == REPEATS


def test_signals_to_the_group_as_a_terminal_sends_them(run: Runner, receiver: HttpReceiver) -> None:
    """Ctrl-C reaches the workers and their parent at once."""
    server = run.uvicorn("life:app", "--workers", "2", env={**receiver.env, **NEVER})
    answers = ask_until_two_workers(server)
    server.stop(signal.SIGINT, group=True)
    assert Counter(span.resource["process.pid"] for span in receiver.spans) == answers


LINGERING = """
import atexit, time
from life import app
atexit.register(time.sleep, 600)
"""


def test_shutdown_of_the_application_sends(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """What comes after it may not be: a parent's SIGTERM hits a worker that is already ending."""
    (tmp_path / "lingering.py").write_text(LINGERING)
    env = {**receiver.env, **NEVER, "PYTHONPATH": str(APPS)}
    server = run.uvicorn("lingering:app", "--app-dir", str(tmp_path), env=env)
    assert server.get("/ping").status_code == 200
    server.send_signal(signal.SIGINT)
    server.wait_log("Application shutdown complete")
    assert one(receiver.wait(1)).name == PING
    assert server.status is None


ENDINGS = {
    "return": ("", 0),
    "sys-exit": ("sys.exit(3)", 3),
    "sys-exit-text": ("sys.exit('text')", 1),
    "os-exit": ("os._exit(4)", 4),
    "uncaught": ("raise ValueError('on purpose')", 1),
    "keyboard-interrupt": ("raise KeyboardInterrupt", -2),
    "raise-signal": ("signal.raise_signal(signal.SIGTERM)", -15),
    "kill-self": ("os.kill(os.getpid(), signal.SIGHUP)", -1),
    "kill-zero": ("os.kill(0, signal.SIGTERM)", -15),
    "kill-group": ("os.killpg(os.getpgid(0), signal.SIGTERM)", -15),
    "kill-thread": ("signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)", -15),
    "abort": ("os.abort()", -6),
    "exit-in-thread": ("threading.Thread(target=os._exit, args=[5]).start(); time.sleep(60)", 5),
    "sys-exit-in-thread": ("threading.Thread(target=sys.exit, args=[5]).start()", 0),
    "raise-in-thread": (
        "threading.Thread(target=signal.raise_signal, args=[15]).start(); time.sleep(60)",
        -15,
    ),
    "daemon-thread": (
        "threading.Thread(target=lambda: [time.sleep(0) for _ in iter(int, 1)], daemon=True)"
        ".start(); sys.exit(6)",
        6,
    ),
    "atexit": ("atexit.register(life.work, 'late')", 0),
    "exception-in-atexit": ("atexit.register(lambda: 1 / 0)", 0),
    "handled-signal": ("signal.signal(15, lambda *_: None); os.kill(os.getpid(), 15)", 0),
    "exit-in-handler": ("signal.signal(15, lambda *_: sys.exit(7)); signal.raise_signal(15)", 7),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_ending_sends_what_has_ended(run: Runner, receiver: HttpReceiver, name: str) -> None:
    end, status = ENDINGS[name]
    code = f"import atexit, life, os, signal, sys, threading, time\nlife.work('done')\n{end}"
    process = run.run([run.python, "-c", code], env={**receiver.env, **NEVER})
    assert process.status == status, process.describe()
    assert tags(receiver.spans) == (["done", "late"] if name == "atexit" else ["done"])


def test_ending_is_the_same_to_the_shell(run: Runner) -> None:
    """Text, status and traceback of all the endings, without a span."""
    for name, (end, status) in ENDINGS.items():
        if "life" in end:
            continue
        code = f"import atexit, os, signal, sys, threading, time\n{end}"
        command = [run.python, "-c", code]
        plain, traced = run.run(command, agent="none"), run.run(command)
        assert plain.status == traced.status == status, name
        assert plain.stdout == traced.stdout == ""
        assert quiet(plain.stderr) == quiet(traced.stderr), name


# Children


def test_fork_in_a_request(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("life:app", env={**receiver.env, **NEVER})
    answer = server.get("/fork").json()
    assert answer["status"] == 0
    assert server.stop() == -signal.SIGTERM
    spans = receiver.spans
    assert tags(spans) == ["before", "child", "parent"]
    request = one(spans, kind="SERVER")
    for tag in ("before", "parent", "child"):
        span = tagged(spans, tag)
        assert (span.trace_id, span.parent_id) == (request.trace_id, request.span_id)
        assert span.resource["process.pid"] == answer["child" if tag == "child" else "pid"]
    assert request.resource["process.pid"] == answer["pid"] == server.pid


FORK_THAT_LEAVES = """
import life, os, selfcall, sys
from starlette.routing import Route
async def forks(request):
    child = os.fork()
    if child == 0:
        life.work("child")
        LEAVE
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == STATUS
    life.work("parent")
    return selfcall.PlainTextResponse("", 201)
selfcall.app.routes.append(Route("/forks", forks))
print(selfcall.request("/forks"))
"""


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        ("sys.exit(202)", 202),
        ("os._exit(202)", 202),
        ("return selfcall.PlainTextResponse('', 202)", 0),  # And goes on as its parent does.
    ],
)
@pytest.mark.parametrize("guard", [[], ["--guard"]], ids=["alone", "guard"])
def test_a_fork_that_leaves_through_the_request(
    run: Runner, receiver: HttpReceiver, leave: str, status: int, guard: list[str]
) -> None:
    """The request in which it was made ends in the child, too, where it is not the child's."""
    code = FORK_THAT_LEAVES.replace("LEAVE", leave).replace("STATUS", str(status))
    agent = "launcher" if guard else "preload"
    process = run.run([run.python, "-c", code], env=receiver.env, agent=agent, options=guard)
    assert process.status == 0, process.describe()
    assert process.stdout.split() == (["202", "201"] if status == 0 else ["201"])
    spans = receiver.spans
    assert tags(spans) == ["child", "parent"]
    request = one(spans, kind="SERVER")
    assert request.attributes["http.response.status_code"] == 201
    parent, child = tagged(spans, "parent"), tagged(spans, "child")
    assert parent.parent_id == child.parent_id == request.span_id
    assert parent.resource["process.pid"] == request.resource["process.pid"]
    assert child.resource["process.pid"] != request.resource["process.pid"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_in_a_request(run: Runner, receiver: HttpReceiver, method: str) -> None:
    server = run.uvicorn("life:app", env={**receiver.env, **NEVER})
    answer = server.get(f"/process/{method}").json()
    assert answer["status"] == 0, server.describe()
    assert server.stop() == -signal.SIGTERM
    spans = receiver.spans
    child = tagged(spans, method)
    assert child.resource["process.pid"] == answer["child"]
    request = one(spans, kind="SERVER")
    assert request.resource["process.pid"] == server.pid
    assert len(spans) == 2
    assert (child.trace_id, child.parent_id) == (request.trace_id, request.span_id)


def test_command_in_a_request(run: Runner, receiver: HttpReceiver) -> None:
    env = {**receiver.env, **NEVER}
    plain = run.uvicorn("life:app", agent="none", env=env)
    server = run.uvicorn("life:app", env=env)
    assert server.get("/ping").status_code == plain.get("/ping").status_code  # The thread runs.
    answer = server.get("/command").json()
    assert answer["inherited"] == plain.get("/command").json()["inherited"]
    assert server.stop() == -signal.SIGTERM
    assert tagged(receiver.spans, "command").resource["process.pid"] == answer["child"]


SLOW_INIT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <time.h>
int OPENSSL_init_ssl(uint64_t options, const void *settings)
{
    void *library = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
    int (*real)(uint64_t, const void *) =
        (int (*)(uint64_t, const void *))dlsym(library, "OPENSSL_init_ssl");
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, 0);
    return real(options, settings);
}
"""


def test_fork_while_the_exporter_starts(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """The libraries of the exporter prepare themselves under locks that a child must not inherit.

    Their first start takes a while, here for certain (if they are shared libraries).
    """
    (tmp_path / "slow.c").write_text(SLOW_INIT)
    slow = tmp_path / "slow.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", slow, tmp_path / "slow.c"], check=True)
    code = (
        "import life, os, time\n"
        "life.work('before')\n"
        "time.sleep(0.02)\n"
        "if os.fork() == 0:\n"
        "    life.work('child')\n"
        "    os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
    )
    env = {**receiver.env, **NEVER, "LD_PRELOAD": str(slow)}
    process = run.run([run.python, "-c", code], env=env)
    assert (process.status, process.stderr) == (0, "")
    assert tags(receiver.spans) == ["before", "child"]


MANY_FORKS = """
import life, os, threading
life.work("first")
def forks(thread):
    for number in range(5):
        child = os.fork()
        if child == 0:
            life.work(f"{thread}-{number}")
            os._exit(0)
        life.work(f"{thread}-{number}-parent")
        assert os.waitpid(child, 0)[1] == 0
threads = [threading.Thread(target=forks, args=[number]) for number in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if os.fork() == 0:
    if os.fork() == 0:
        life.work("grandchild")
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert os.wait()[1] == 0
"""


def test_many_forks_from_threads(run: Runner, receiver: HttpReceiver) -> None:
    process = run.run([run.python, "-W", "ignore", "-c", MANY_FORKS], env=receiver.env)
    assert (process.status, process.stderr) == (0, "")
    numbers = [f"{thread}-{number}" for thread in range(3) for number in range(5)]
    expected = ["first", "grandchild", *numbers, *(f"{number}-parent" for number in numbers)]
    assert tags(receiver.spans) == sorted(expected)
    by_process = Counter(span.resource["process.pid"] for span in receiver.spans)
    assert by_process.pop(process.pid) == 16
    assert sorted(by_process.values()) == [1] * 16


def test_child_that_has_no_span_starts_nothing(run: Runner, receiver: HttpReceiver) -> None:
    code = (
        "import life, os\n"
        "life.work('parent')\n"
        "if os.fork() == 0:\n"
        "    tasks = os.listdir('/proc/self/task')\n"
        "    names = [open(f'/proc/self/task/{task}/comm').read() for task in tasks]\n"
        "    os._exit('faa-export\\n' in names)\n"
        "assert os.wait()[1] == 0\n"
    )
    process = run.run([run.python, "-c", code], env={**receiver.env, **NEVER})
    assert (process.status, process.stderr) == (0, "")
    assert tags(receiver.spans) == ["parent"]


# Threads, signals and descriptors


def test_thread_comes_with_the_first_span(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("life:app", env=receiver.env)
    assert "faa-export" not in tasks(server)
    server.get("/ping")
    receiver.wait(1)
    (task,) = tasks(server)["faa-export"]
    blocked = re.search(r"^SigBlk:\s*(\w+)$", (task / "status").read_text(), re.MULTILINE)
    assert blocked
    mask = int(blocked[1], 16)
    # Two numbers are libc's own; nobody blocks the two that cannot be caught.
    free = {number for number in range(1, 65) if not mask >> (number - 1) & 1}
    assert free <= {signal.SIGKILL, signal.SIGSTOP, 32, 33}
    main = Path(f"/proc/{server.pid}/status").read_text()
    assert re.search(r"^SigBlk:\s*0+$", main, re.MULTILINE)


def links(folder: Path) -> Counter[str]:
    """What descriptors point to, without what differs between processes."""
    found: Counter[str] = Counter()
    for link in folder.iterdir():
        try:
            found[re.sub(r"\[\d+\]|^/.*/(\d\d-)?|-(none|preload)", "", os.readlink(link))] += 1
        except OSError:
            continue  # Closed while we looked.
    return found


def descriptors(process: Process) -> Counter[str]:
    return links(Path(f"/proc/{process.pid}/fd"))


def test_descriptors_of_the_agent_are_not_the_process_s(
    run: Runner, receiver: HttpReceiver
) -> None:
    plain, server = (
        run.uvicorn("life:app", agent=agent, env=receiver.env) for agent in ("none", "preload")
    )
    for one_of_them in (plain, server):
        one_of_them.get("/ping")
    receiver.wait(1)
    (task,) = tasks(server)["faa-export"]
    assert links(task / "fd") != descriptors(server)
    # A server closes a connection some time after its client.
    until(
        lambda: descriptors(plain) == descriptors(server),
        10,
        lambda: f"{descriptors(plain)} without and {descriptors(server)} with the agent",
    )


CLOSE_ALL = """
import life, os
{first}
os.closerange(3, 4096)
life.work("after")
mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
time.sleep(0.2)  # The exporter works meanwhile.
for fd in mine: os.fstat(fd)
os.closerange(3, 4096)
life.work("again")
"""


@pytest.mark.parametrize("first", ["", "life.work('before')"], ids=["idle", "running"])
def test_closing_every_descriptor_changes_nothing(
    run: Runner, receiver: HttpReceiver, first: str
) -> None:
    code = "import time\n" + CLOSE_ALL.replace("{first}", first)
    process = run.run([run.python, "-c", code], env=receiver.env)
    assert (process.status, process.stderr) == (0, "")
    assert tags(receiver.spans) == sorted(["after", "again"] + (["before"] if first else []))


DAEMON = """
import life, os
life.work("before")
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
os.closerange(0, 4096)
for fd in range(3):
    os.open("/dev/null", os.O_RDWR)
life.work("daemon")
"""


def test_daemon_is_traced(run: Runner, receiver: HttpReceiver) -> None:
    process = run.run([run.python, "-c", DAEMON], env={**receiver.env, **NEVER})
    assert process.status == 0
    spans = receiver.wait(2)
    assert tags(spans) == ["before", "daemon"]
    assert tagged(spans, "daemon").resource["process.pid"] != process.pid


PEERS = """
import fcntl, life, os, socket, sys, time
port, lock, held, fifo = sys.argv[1:]
connection = socket.create_connection(("127.0.0.1", int(port)))
os.dup2(os.open(fifo, os.O_WRONLY), 1)
locked = open(lock, "w")
fcntl.flock(locked, fcntl.LOCK_EX)
kept = open(held, "w")
fcntl.lockf(kept, fcntl.LOCK_EX)
life.work("start")
def runs(): return "faa-export\\n" in [
    open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
while not runs(): time.sleep(0.01)
life.work("exported")
time.sleep(0.3)
connection.close()
locked.close()
os.closerange(3, kept.fileno())
os.close(1)
print("closed", file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_what_the_application_closes_is_closed(
    run: Runner, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """A peer sees EOF, a lock is free, and a POSIX lock stays, while the exporter lives."""
    lock, held, fifo = tmp_path / "lock", tmp_path / "held", tmp_path / "fifo"
    os.mkfifo(fifo)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        process = run.start(
            [run.python, "-c", PEERS, port, lock, held, fifo], env=receiver.env, cwd=APPS
        )
        listener.settimeout(scaled(20))
        peer, _ = listener.accept()
        output = os.open(fifo, os.O_RDONLY)
        process.wait_log("^closed$")
        peer.settimeout(scaled(5))
        assert peer.recv(1) == b""
        assert os.read(output, 1) == b""
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with held.open("w") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(output)
        peer.close()
    receiver.wait(2)


def test_exit_while_the_exporter_starts(run: Runner, receiver: HttpReceiver) -> None:
    """A host leaves by exit(), without finalizing Python, right after its first span; with ssl
    loaded before, whose OpenSSL then cleans up at exit, and without."""
    for count, first in enumerate(["", "import ssl; "] * 5, start=1):
        script = f"{first}import ctypes, selfcall; selfcall.request(); ctypes.CDLL(None).exit(3)"
        process = run.run([run.python, "-c", script], env=receiver.env)
        assert (process.status, process.stderr) == (3, ""), process.describe()
        assert len(receiver.spans) == count
