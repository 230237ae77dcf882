# SPDX-License-Identifier: MIT
"""The application's own behaviour is the same with the agent and without."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect as websocket

from harness import libraries
from harness.compare import odd_cases, quiet, seen
from harness.deadline import scaled
from harness.process import APPS, Runner, Server
from harness.receiver import HttpReceiver
from harness.target import Target
from harness.tree import where

Compare = Callable[..., Any]

LOOPS = {
    "asyncio": ("--loop", "asyncio", "--http", "h11"),
    "uvloop": ("--loop", "uvloop", "--http", "httptools"),
}
each_loop = pytest.mark.parametrize("loop", LOOPS)

# Of asyncio's log only what is an error: how long a step took is another matter.
QUIET_ASYNCIO = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {"asyncio": {"level": "ERROR"}},
}


# An iteration over a set of strings (as in an Allow header) is the same in every process.
SEED = {"PYTHONHASHSEED": "0"}


# Odd callers.


@each_loop
def test_odd_calls(same_with_and_without: Compare, receiver: HttpReceiver, loop: str) -> None:
    env = {**SEED, **receiver.env}
    cases = same_with_and_without("odd_asgi:app", odd_cases, *LOOPS[loop], env=env)
    assert len(cases) > 40
    assert len(receiver.spans) > 38


def test_odd_calls_in_development_mode(
    same_with_and_without: Compare, receiver: HttpReceiver, tmp_path: Path
) -> None:
    """python -X dev -W error, which includes asyncio's debug mode."""
    config = tmp_path / "log.json"
    config.write_text(json.dumps(QUIET_ASYNCIO))
    env = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", **SEED, **receiver.env}
    args = (*LOOPS["asyncio"], "--log-config", str(config))
    same_with_and_without("odd_asgi:app", odd_cases, *args, env=env)
    assert len(receiver.spans) > 38


# Ordinary callers.


def ask(server: Server, *requests: str) -> list[Any]:
    """Returns what a client sees of "METHOD path" requests."""
    answers: list[Any] = []
    for request in requests:
        method, path = request.split()
        try:
            answer = server.client.request(method, path, headers={"Host": "shop.example"})
            answers.append((request, seen(answer)))
        except httpx.HTTPError as error:
            answers.append((request, type(error).__name__))
    return answers


def echo(server: Server) -> list[Any]:
    """What a WebSocket client sees."""
    url = server.url.replace("http", "ws") + "/ws"
    with websocket(url, additional_headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}) as ws:
        ws.send("one")
        ws.send("ünï")
        answers = [ws.recv(timeout=scaled(10)), ws.recv(timeout=scaled(10))]
    server.wait_log("^websocket closed")
    return answers


def test_fastapi(same_with_and_without: Compare, receiver: HttpReceiver) -> None:
    def use(server: Server) -> Any:
        first = ask(server, "GET /depends")
        server.wait_log("^async dependency closed")
        answers = ask(
            server,
            "GET /async",
            "HEAD /async",
            "GET /sync",
            "GET /items/1?verbose=1",
            "GET /items/x",
            "GET /items/1/reviews/2",
            "GET /api/v1/items/1/reviews/2",
            "POST /items",
            "DELETE /items/1",
            "OPTIONS /async",
            "GET /async/",
            "GET /files/a%20b/c",
            "GET /headers",
            "GET /raises",
            "GET /raises-sync",
            "GET /missing",
            "GET /unavailable",
            "GET /nowhere",
            "GET /stream",
            "GET /stream-raises",
            "GET /sleep?seconds=0",
            "GET /tasks",
            "GET /sub/things/x",
            "GET /mount/x",
            "GET /openapi.json",
            "GET /docs",
            "GET /background",
        )
        server.wait_log("^background done")
        return first, answers, echo(server)

    same_with_and_without("basic_fastapi:app", use, *LOOPS["uvloop"], env={**SEED, **receiver.env})
    assert len(where(receiver.spans, kind="SERVER")) >= 28


def test_starlette(same_with_and_without: Compare, receiver: HttpReceiver) -> None:
    def use(server: Server) -> Any:
        paths = ["/", "/items/3", "/items/x", "/threaded", "/raises", "/stream", "/nowhere"]
        paths += ["/shop/a/items/b", "/shop/a/inner/home", "/sub/", "/sub", "/sub/items/b"]
        return ask(server, *(f"GET {path}" for path in paths), "POST /echo", "GET /echo")

    same_with_and_without("plain_starlette:app", use, env={**SEED, **receiver.env})
    assert len(receiver.spans) == 14


def test_failures(same_with_and_without: Compare, receiver: HttpReceiver) -> None:
    """The same answers, and the same tracebacks in the log."""
    kinds = ["qualified", "handled", "unavailable", "mute", "surrogate", "deep", "empty"]
    kinds.append("database")

    def use(server: Server) -> Any:
        paths = [f"/fails/{how}/{kind}" for how in ("sync", "async") for kind in kinds]
        paths += ["/fails-in-dependency", "/fails/sync/database-wrapped", "/status/204", "/file"]
        paths += ["/sub/a/fails/qualified", "/sub/a/statement", "/raw", "/background-fails"]
        answers = ask(server, *(f"GET {path}" for path in paths), "HEAD /coffee", "POST /swallow")
        server.wait_log("^ValueError: behind the response")
        return answers

    same_with_and_without("server_cases:app", use, *LOOPS["asyncio"], env={**SEED, **receiver.env})
    assert len(where(receiver.spans, kind="SERVER")) == 26


def test_database(
    same_with_and_without: Compare, receiver: HttpReceiver, tmp_path: Path
) -> None:
    paths = ["/core/sync", "/core/async", "/core/in-loop", "/orm/sync/1", "/orm/async/2"]
    paths += ["/orm/sync/99", "/several", "/literals", "/many", "/memory", "/fails/caught"]
    paths += ["/fails/sync", "/fails/async", "/tasks"]
    env = {"DATABASE": str(tmp_path / "db.sqlite"), **SEED, **receiver.env}
    same_with_and_without(
        "db:app", lambda server: ask(server, *(f"GET {path}" for path in paths)), env=env
    )
    assert len(where(receiver.spans, kind="SERVER")) == len(paths)
    assert len(where(receiver.spans, kind="CLIENT")) > len(paths)


def test_outgoing_calls(
    same_with_and_without: Compare, receiver: HttpReceiver, target: Target, raw_server: Any
) -> None:
    """Nothing but the traceparent header is added to what the target sees."""
    closed = raw_server("refuse").port

    def use(server: Server) -> Any:
        paths = ["/sync", "/async", "/pooled", "/module", "/method/POST", "/method/HEAD"]
        paths += ["/status/503", "/redirect/2", "/redirect-loop", "/timeout", "/secrets"]
        paths += ["/headers-none", "/own-traceparent", "/bad-url"]
        paths += [f"/refused?port={closed}", f"/raises?port={closed}"]
        del target.seen[:]
        answers = [
            (path, without_context(server.get(path).text), server.get(path).status_code)
            for path in paths
        ]
        return answers, [
            (request["method"], request["path"], without_context(str(request["headers"])))
            for request in target.seen
        ]

    same_with_and_without("client:app", use, env={"TARGET_URL": target.url, **SEED, **receiver.env})
    assert len(where(receiver.spans, kind="CLIENT")) > 20


def without_context(text: str) -> str:
    return re.sub(r""",? ?["'](traceparent|tracestate)["']: ?["'][^"']*["']""", "", text)


# Hostile clients.

HOSTILE = {
    "bytes in the path": b"GET /files/\xff\xfe\x80 HTTP/1.1\r\n",
    "encoded bytes in the path": b"GET /files/%ff%fe%80%00%0a HTTP/1.1\r\n",
    "bad escapes": b"GET /files/%zz%1%%% HTTP/1.1\r\n",
    "surrogates in the path": b"GET /files/%ed%a0%80%f5%80 HTTP/1.1\r\n",
    "bytes in the query": b"GET /items/1?a=\xff\xfe&sig=\x80 HTTP/1.1\r\n",
    "encoded bytes in the query": b"GET /items/1?a=%ff&%00=%ed%a0%80&sig=%ff HTTP/1.1\r\n",
    "strange query": b"GET /items/1?&&&=&=&a&?sig=1?sig=2;sig=3 HTTP/1.1\r\n",
    "long path": b"GET /files/" + b"a" * 30_000 + b" HTTP/1.1\r\n",
    "long query": b"GET /items/1?sig=" + b"b" * 30_000 + b" HTTP/1.1\r\n",
    "dots": b"GET /files/../../etc/passwd HTTP/1.1\r\n",
    "slashes": b"GET //items//1 HTTP/1.1\r\n",
    "whole URL": b"GET http://user:word@example.org:81/async?sig=1 HTTP/1.1\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n",
    "fragment": b"GET /async#part HTTP/1.1\r\n",
    "lower-case method": b"get /async HTTP/1.1\r\n",
    "other method": b"BREW /async HTTP/1.1\r\n",
    "long method": b"M" * 5_000 + b" /async HTTP/1.1\r\n",
    "HTTP/1.0": b"GET /async HTTP/1.0\r\n",
    "HTTP/1.2": b"GET /async HTTP/1.2\r\n",
    "large header": b"GET /headers HTTP/1.1\r\nX-Large: " + b"c" * 50_000 + b"\r\n",
    "large user agent": b"GET /async HTTP/1.1\r\nUser-Agent: " + b"\xc3\xa4" * 25_000 + b"\r\n",
    "many headers": b"GET /headers HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 3_000,
    "bytes in headers": b"GET /headers HTTP/1.1\r\nUser-Agent: \xff\xfe\xed\xa0\x80\r\nX: \x80\r\n",
    "controls in headers": b"GET /headers HTTP/1.1\r\nUser-Agent: a\x01\x7f\tb\r\n",
    "empty headers": b"GET /headers HTTP/1.1\r\nUser-Agent:\r\ntraceparent:\r\ntracestate:\r\n",
    "many traceparents": b"GET /async HTTP/1.1\r\n" + b"traceparent: 00-0-0-0\r\n" * 100,
    "bytes in traceparent": b"GET /async HTTP/1.1\r\ntraceparent: \xff" + b"\x80" * 54 + b"\r\n",
    "large traceparent": b"GET /async HTTP/1.1\r\ntraceparent: " + b"0" * 40_000 + b"\r\n",
    "signed traceparent": b"GET /async HTTP/1.1\r\n"
    b"traceparent: 00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    "bytes in tracestate": b"GET /async HTTP/1.1\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    b"tracestate: \xff=\xfe,a=\xed\xa0\x80\r\n",
    "many tracestates": b"GET /async HTTP/1.1\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    + b"tracestate: a=1\r\n" * 500,
    "two hosts": b"GET /async HTTP/1.1\r\nHost: b\r\n",
    "strange host": b"GET /async HTTP/1.1\r\nX: y\r\n",
    "no length": b"POST /items HTTP/1.1\r\nContent-Length: -1\r\n",
    "bad chunks": b"POST /items HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
}
HOSTS = [b"a:b:c", b":", b"[", b"[]:", b"h:99999999999999999999", b"\xff\xfe:80", b"h:-1", b"]:1"]


def hostile_requests() -> dict[str, bytes]:
    ends = b"Host: a\r\nConnection: close\r\n\r\n"
    requests = {name: start + ends for name, start in HOSTILE.items()}
    for host in HOSTS:
        line = b"GET /async HTTP/1.1\r\nConnection: close\r\nHost: " + host
        requests[f"host {host!r}"] = line + b"\r\n\r\n"
    requests["no host"] = b"GET /async HTTP/1.0\r\n\r\n"
    requests["bad chunks"] += b"zz\r\n"
    return requests


def converse(server: Server, request: bytes) -> bytes:
    """Returns all that the server answers, but for the date."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=scaled(20)) as connection:
        answer = b""
        try:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError as error:
            answer += type(error).__name__.encode()
    return re.sub(rb"(?im)^date: .*\r\n", b"", answer)


@each_loop
def test_hostile_requests(
    same_with_and_without: Compare, receiver: HttpReceiver, loop: str
) -> None:
    """The same answers; and what is sent on is valid, which the receiver checks."""
    requests = hostile_requests()

    def use(server: Server) -> Any:
        return {name: converse(server, request) for name, request in requests.items()}

    env = {**SEED, **receiver.env}
    answers = same_with_and_without("basic_fastapi:app", use, *LOOPS[loop], env=env)
    reached = [answer for answer in answers.values() if b" 400 Bad Request" not in answer]
    assert len(reached) > 25
    assert len(receiver.spans) >= len(reached) - 1
    assert all(len(str(span)) < 100_000 for span in receiver.spans)


# Introspection.

SCRIPTS = ("introspect_modules", "introspect_functions", "introspect_coroutines")
PROBES = [
    (script, probe)
    for script in SCRIPTS
    for probe in re.findall(r"(?m)^@probe\ndef (\w+)", (APPS / f"{script}.py").read_text())
]


@pytest.fixture(scope="module")
def introspection(
    tmp_path_factory: pytest.TempPathFactory, build: Path
) -> dict[tuple[str, str], dict[str, Any]]:
    """What the probes of a script see without the agent ("none"), and with it ("preload")."""
    python = libraries.python()
    runner = Runner(tmp_path_factory.mktemp("introspection"), build, python)
    receiver = HttpReceiver()
    env = {**SEED, **receiver.env}
    found = {}
    try:
        for script in SCRIPTS:
            for agent in ("none", "preload"):
                process = runner.run([python, f"{script}.py"], agent=agent, env=env)
                assert (process.status, process.stderr) == (0, "")
                text = re.sub(r"0x[0-9a-f]{6,}", "0x", process.stdout)
                found[script, agent] = json.loads(text)
            receiver.wait(lambda spans: where(spans, kind="SERVER"))  # The agent was at work.
            receiver.clear()
        receiver.check()
    finally:
        runner.kill_all()
        receiver.stop()
    return found


@pytest.mark.parametrize(("script", "probe"), PROBES)
def test_introspection(
    introspection: dict[tuple[str, str], dict[str, Any]], script: str, probe: str
) -> None:
    without = introspection[script, "none"][probe]
    assert introspection[script, "preload"][probe] == without
    assert without not in (None, [], {}, "")


def test_one_finder_is_added_and_nothing_else(run: Runner) -> None:
    script = "import sys; print([type(it).__module__ for it in sys.meta_path].count('faa'))"
    for options in ([], ["-I", "-S", "-E"]):
        process = run.run([run.python, *options, "-c", script])
        assert (process.stdout, process.stderr) == ("1\n", "")


# Libraries that are not as expected. A directory of the test's own goes before the real ones.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sqlalchemy", "raise ValueError('cannot be imported')"),
        ("sqlalchemy", "import no_such_thing"),
        ("sqlalchemy", "def broken(:\n"),
        ("sqlalchemy", "import sys; sys.exit(3)"),
        ("sqlalchemy", "__version__ = '99'"),
        ("sqlalchemy", "import sys; del sys.modules['sqlalchemy']"),
        ("sqlalchemy", "import sys; sys.modules['sqlalchemy'] = sys"),
        ("sqlalchemy", "__loader__ = __spec__ = None"),
        ("starlette.applications", "class Starlette: pass"),
        ("starlette.applications", "Starlette = 7"),
        ("fastapi.applications", "class FastAPI:\n    __call__ = property(lambda self: 1 / 0)"),
        ("requests.adapters", "class HTTPAdapter:\n    __slots__ = ('send',)"),
        ("requests.adapters", "class HTTPAdapter:\n    send = staticmethod(len)"),
        ("requests.adapters", "class HTTPAdapter:\n    send = classmethod(lambda cls, x: x)"),
    ],
    ids=lambda text: text.replace("\n", " ")[:60],
)
def test_library_of_another_shape(
    run: Runner, receiver: HttpReceiver, tmp_path: Path, module: str, source: str
) -> None:
    *packages, name = module.split(".")
    directory = tmp_path.joinpath("site", *packages)
    directory.mkdir(parents=True)
    for package in packages:
        (tmp_path / "site" / package / "__init__.py").write_text("")
    (directory / f"{name}.py").write_text(source)
    uses = [
        f"import {module} as it",
        "print(it, it.__spec__, it.__loader__.__class__)",
        f"print(sorted(vars(__import__('sys').modules.get({module!r}, it))))",
        "print(it.HTTPAdapter.send, it.HTTPAdapter.__dict__['send'].__class__)",
        "print(it.HTTPAdapter().send('abc'))",
    ]
    outcomes = []
    for agent in ("none", "preload"):
        process = run.run(
            [run.python, "-c", "\n".join(uses)],
            agent=agent,
            env={"PYTHONPATH": str(tmp_path / "site"), **SEED, **receiver.env},
        )
        outcomes.append((process.status, quiet(process.stdout), quiet(process.stderr)))
    assert outcomes[1] == outcomes[0]


@pytest.mark.parametrize("options", [["-X", "dev"], ["-X", "dev", "-W", "error"]], ids=" ".join)
def test_imports_warn_as_before(run: Runner, options: list[str]) -> None:
    script = "import fastapi, starlette.applications, sqlalchemy, requests; print('done')"
    outcomes = []
    for agent in ("none", "preload"):
        process = run.run([run.python, *options, "-c", script], agent=agent)
        outcomes.append((process.status, process.stdout, process.stderr))
    assert outcomes[1] == outcomes[0]
