# SPDX-License-Identifier: MIT
"""The console exporter: traces as trees in the terminal."""

import fcntl
import os
import re
import struct
import subprocess
import termios
import time
import unicodedata
from typing import Any

import pytest

from harness.deadline import scaled
from harness.process import APPS, Process, Runner
from harness.receiver import HttpReceiver

CONSOLE = {"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "shop"}

# Requests that overlap, each with two statements that tell whose they are, one with an error.
NESTED = """\
import asyncio, sys, selfcall, sqlalchemy
from starlette.responses import PlainTextResponse
from starlette.routing import Route
engine = sqlalchemy.create_engine("sqlite://")
async def endpoint(request):
    number = request.path_params["number"]
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT 'hush' AS first_{number}")
        await asyncio.sleep(0)
        connection.exec_driver_sql(f"SELECT 'hush'\\n\\tAS second_{number}")
    await asyncio.sleep(0.001)
    return PlainTextResponse("done", status_code=200 + int(number) % 2)
selfcall.app.router.routes.append(Route("/nested/{number}", endpoint))
async def main():
    for _ in range(int(sys.argv[1])):
        await asyncio.gather(*(selfcall.respond(f"/nested/{number}") for number in range(40)))
asyncio.run(main())
"""
ROOT = re.compile(
    r"shop  GET /nested/\{number\}  (\d+)  (\d+\.\d+) ms  /nested/(\d+)   trace ([0-9a-f]{32})"
)


def console(run: Runner, count: int, path: str = "/items/7", **env: str) -> Process:
    command = [run.python, "selfcall.py", str(count), path]
    process = run.run(command, env=CONSOLE | env)
    assert (process.status, process.stdout) == (0, f"served {count}\n"), process.describe()
    return process


def test_one_request_is_one_line_on_standard_error(run: Runner) -> None:
    process = console(run, 1)
    pattern = r"shop  GET /items/\{item_id\}  200  \d+\.\d+ ms  /items/7   trace [0-9a-f]{32}\n"
    assert re.fullmatch(pattern, process.stderr), process.stderr


def test_exception(run: Runner) -> None:
    process = console(run, 1, "/raises")
    pattern = r"shop  GET /raises  500  \d+\.\d+ ms  ERROR ValueError: on purpose   trace \w{32}\n"
    assert re.fullmatch(pattern, process.stderr), process.stderr


def test_request_without_a_route(run: Runner) -> None:
    process = console(run, 1, "/nowhere")
    assert re.fullmatch(r"shop  GET  404  \d+\.\d+ ms  /nowhere   trace \w{32}\n", process.stderr)


def assert_whole_trees(text: str, trees: int) -> None:
    """Each request is three lines side by side, and the children are its own."""
    lines = text.splitlines()
    assert len(lines) == 3 * trees
    traces = set()
    for root, first, second in zip(*(iter(lines),) * 3, strict=True):
        match = ROOT.fullmatch(root)
        assert match, root
        status, _, number, trace = match.groups()
        traces.add(trace)
        assert int(status) == 200 + int(number) % 2
        # They are synchronous, and made on the event loop.
        child = r"─ SELECT  \d+\.\d+ ms  blocks the loop at <string>:\d+  SELECT \? AS "
        assert re.fullmatch(rf"├{child}first_{number}", first), first
        assert re.fullmatch(rf"└{child}second_{number}", second), second
    assert len(traces) == trees


def test_overlapping_requests_are_whole_trees(run: Runner) -> None:
    process = run.run([run.python, "-c", NESTED, "20"], env=CONSOLE)
    assert (process.status, process.stdout) == (0, "")
    assert_whole_trees(process.stderr, 800)


def test_processes_that_share_a_terminal_do_not_mix_their_trees(run: Runner) -> None:
    both = '"$0" -c "$1" 10 & "$0" -c "$1" 10 & wait'
    process = run.run(["bash", "-c", both, run.python, NESTED], env=CONSOLE)
    assert_whole_trees(process.stderr, 800)


def test_console_and_otlp_tell_the_same(run: Runner, receiver: HttpReceiver) -> None:
    env = receiver.env | CONSOLE | {"OTEL_TRACES_EXPORTER": "console,otlp"}
    process = run.run([run.python, "-c", NESTED, "2"], env=env)
    assert_whole_trees(process.stderr, 80)
    servers = {span.trace_id: span for span in receiver.spans if span.kind == "SERVER"}
    assert len(servers) == 80
    assert len(receiver.spans) == 240
    for status, duration, number, trace in ROOT.findall(process.stderr):
        span = servers[trace]
        assert span.attributes["http.response.status_code"] == int(status)
        assert span.attributes["url.path"] == f"/nested/{number}"
        assert abs((span.end_ns - span.start_ns) / 1e6 - float(duration)) <= 0.06


def test_console_works_while_the_collector_does_not(run: Runner, raw_server: Any) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": raw_server("refuse").endpoint}
    process = console(run, 300, OTEL_TRACES_EXPORTER="console,otlp", **env)
    assert len(process.own_stderr.splitlines()) == 300
    assert len(process.agent_lines) == 1


def test_traces_are_shown_at_once(run: Runner) -> None:
    server = run.uvicorn("selfcall:app", env=CONSOLE)
    server.get("/items/7")
    server.wait_log(r"^shop  GET /items/\{item_id\}", timeout=5)
    assert server.stop() == -15
    assert "GET /items/{item_id}" not in server.stdout


def test_files_have_no_colours(run: Runner) -> None:
    assert "\x1b" not in console(run, 1, "/raises", TERM="xterm", COLORTERM="truecolor").stderr


def on_terminal(run: Runner, *words: str, columns: int = 200, **env: str) -> str:
    """Runs a script with standard error on a terminal; returns what that shows."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    preload = {"LD_PRELOAD": str(run.build / "lib" / "libfaa.so")}
    with subprocess.Popen(
        [run.python, *words],
        cwd=APPS,
        env=run.environment(CONSOLE | preload | env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 65536):
                seen += data
        except OSError:
            pass  # EIO: the last one has closed the terminal.
        assert b"\x1b" not in child.stdout.read()
        assert child.wait(scaled(20)) == 0
    os.close(ours)
    return seen.decode()


@pytest.mark.parametrize(
    ("env", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours_on_a_terminal(run: Runner, env: dict[str, str], colours: bool) -> None:
    seen = on_terminal(run, "selfcall.py", "1", "/raises", **env)
    assert ("\x1b[" in seen) == colours
    bare = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert "\x1b" not in bare
    assert "shop  GET /raises  500" in bare
    assert not colours or seen.count("\x1b[0m") == len(re.findall(r"\x1b\[[1-9]", seen))


@pytest.mark.parametrize("columns", [80, 132])
def test_lines_fit_the_terminal(run: Runner, columns: int) -> None:
    path = "/items/" + "long" * 100
    seen = on_terminal(run, "selfcall.py", "1", path, columns=columns, TERM="xterm")
    (line,) = re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines()
    assert len(line) <= columns
    assert re.search(r"trace [0-9a-f]{32}$", line)


HOSTILE = """\
import selfcall
from starlette.routing import Route
text = "\\x1b[2J\\x1b]0;title\\x07\\r\\n\\x00\\x7f\\x9b2J\\u202e\\u2028end"
async def endpoint(request):
    raise ValueError(text)
selfcall.app.router.routes.append(Route("/hostile/{rest:path}", endpoint))
selfcall.request("/hostile/" + text)
selfcall.request("/nowhere" + text)
"""


def test_control_characters_never_reach_the_terminal(run: Runner) -> None:
    env = CONSOLE | {"OTEL_SERVICE_NAME": "sh\x1b[31mop\n\x9b2J"}
    process = run.run([run.python, "-c", HOSTILE], env=env)
    assert process.status == 0, process.describe()
    assert process.stderr.count("\n") == 2, process.stderr
    bad = [c for c in process.stderr if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    assert bad == ["\n", "\n"]
    assert process.stderr.count("end") >= 2


def test_nobody_reads_standard_error(run: Runner) -> None:
    """A full pipe holds up neither the requests nor, beyond the flush's limit, the end."""
    ours, theirs = os.pipe()
    try:
        preload = {"LD_PRELOAD": str(run.build / "lib" / "libfaa.so"), "FAA_FLUSH_TIMEOUT": "300"}
        start = time.monotonic()
        done = subprocess.run(
            [run.python, "selfcall.py", "20000"],
            cwd=APPS,
            env=run.environment(CONSOLE | preload),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=scaled(30),
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, b"served 20000\n")
        assert time.monotonic() - start < scaled(15)
    finally:
        os.close(ours)
        os.close(theirs)


def test_standard_error_is_closed(run: Runner) -> None:
    shell = 'exec "$0" selfcall.py 5 2>&-'
    process = run.run(["sh", "-c", shell, run.python], env=CONSOLE)
    assert (process.status, process.stdout) == (0, "served 5\n")


def test_reader_of_standard_error_goes_away(run: Runner) -> None:
    """SIGPIPE is for who writes: an application that writes nothing must not die of our trees."""
    script = (
        "import signal, selfcall; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "for _ in range(3): selfcall.request()\n"
        "import time; time.sleep(0.5); print('alive')"
    )
    ours, theirs = os.pipe()
    os.close(ours)
    preload = {"LD_PRELOAD": str(run.build / "lib" / "libfaa.so")}
    try:
        done = subprocess.run(
            [run.python, "-c", script],
            cwd=APPS,
            env=run.environment(CONSOLE | preload),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=scaled(20),
            check=False,
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, b"alive\n")
