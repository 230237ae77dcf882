# SPDX-License-Identifier: MIT
"""The runner of the harness, and the small applications without the agent."""

import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect as websocket

from harness.compare import odd_cases
from harness.compare import same_with_and_without as compare
from harness.process import Runner
from harness.raw import RawServer
from harness.target import Target


def test_process_reports_output_and_status(run: Runner) -> None:
    process = run.run(["sh", "-c", "echo out; echo err >&2; exit 3"], agent="none")
    assert (process.status, process.stdout, process.stderr) == (3, "out\n", "err\n")


def test_process_environment_is_clean(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "FAA_LOG_LEVEL", "LD_PRELOAD_X", "PYTHONPATH"):
        monkeypatch.setenv(name, "leak")
    env = run.run(["env"], agent="none", env={"OTEL_SDK_DISABLED": "true"}).stdout
    names = {line.partition("=")[0] for line in env.splitlines()}
    assert "OTEL_SDK_DISABLED=true" in env.splitlines()
    assert not names & {"OTEL_SERVICE_NAME", "FAA_LOG_LEVEL", "LD_PRELOAD_X", "PYTHONPATH"}


def test_agent_is_put_before_the_command(tmp_path: Path) -> None:
    """With stand-ins for the built files: what the runner does, not what the agent does."""
    for name in ("lib/libfaa.so", "bin/fastapi-auto-agent"):
        path = tmp_path / "build" / name
        path.parent.mkdir(parents=True)
        path.write_text('#!/bin/sh\necho "$@"\n')
        path.chmod(0o755)
    run = Runner(tmp_path, tmp_path / "build")
    try:
        shown = run.run(["env"], agent="preload", env={"LD_PRELOAD": "libc.so.6"})
        assert f"LD_PRELOAD={tmp_path}/build/lib/libfaa.so:libc.so.6" in shown.stdout.splitlines()
        shown = run.run(["env", "-i"], agent="launcher", options=["--debug"])
        assert shown.stdout == "--debug -- env -i\n"
        with pytest.raises(ValueError, match="agent 'other'"):
            run.start(["env"], agent="other")
    finally:
        run.kill_all()


def test_missing_build_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="lib/libfaa.so is missing: run `make`"):
        Runner(tmp_path, tmp_path / "build").start(["true"])


def test_agent_lines_are_told_from_the_applications(run: Runner) -> None:
    line = "2026-11-23T15:00:00.123Z 42 faa debug: hello"
    process = run.run(["sh", "-c", f"echo one >&2; echo '{line}' >&2; echo two >&2"], agent="none")
    assert process.agent_lines == [line]
    assert process.own_stderr == "one\ntwo\n"


def test_signals_status_and_logs(run: Runner) -> None:
    process = run.start(["sh", "-c", "echo ready 7; exec sleep 1000"], agent="none")
    assert process.wait_log(r"^ready (\d)")[1] == "7"
    with pytest.raises(AssertionError, match="still running: sh -c"):
        process.wait(timeout=0.05)
    with pytest.raises(AssertionError, match="no 'nothing' logged"):
        process.wait_log("nothing", timeout=0.05)
    assert process.stop(signal.SIGTERM) == -signal.SIGTERM
    with pytest.raises(AssertionError, match="ended without logging 'nothing'"):
        process.wait_log("nothing")


def test_kill_reaches_every_descendant(run: Runner) -> None:
    script = "(trap '' TERM HUP; sleep 1000 & echo child $!; wait) & sleep 1000"
    process = run.start(["sh", "-c", script], agent="none")
    child = int(process.wait_log(r"^child (\d+)")[1])
    process.stop()
    assert Path(f"/proc/{child}/cmdline").read_text()
    process.kill()
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_server_that_ends_at_once_is_reported_with_its_log(run: Runner) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ended with \d.*no_such_module"):
        run.uvicorn("no_such_module:app", agent="none")


# Applications: each starts without the agent and answers.


@pytest.mark.parametrize(
    "args",
    [(), ("--workers", "2"), ("--reload",), ("--log-level", "critical"), ("--loop", "asyncio")],
    ids=" ".join,
)
def test_uvicorn_serves_and_ends(run: Runner, args: tuple[str, ...]) -> None:
    server = run.uvicorn("plain_starlette:app", *args, agent="none")
    assert server.get("/items/7").json() == {"id": 7}
    assert server.get("/raises").status_code == 500
    if "critical" not in args:
        server.wait_log("^ValueError: on purpose")
    server.stop(signal.SIGINT, group=True)


def test_gunicorn_serves_and_ends(run: Runner) -> None:
    server = run.gunicorn("basic_fastapi:app", "--workers", "2", agent="none")
    assert server.get("/async").json() == {"kind": "async"}
    assert server.stop() == 0


def test_plain_starlette_answers(run: Runner) -> None:
    server = run.uvicorn("plain_starlette:app", agent="none")
    for path, text in {
        "/": "home",
        "/threaded": "threaded",
        "/stream": "".join(f"chunk {number}\n" for number in range(5)),
        "/shop/x/inner/home": "home",
        "/shop/x/items/3": '{"id":"3"}',
        "/sub/": "home",
        "/sub/items/4": '{"id":"4"}',
    }.items():
        assert server.get(path).text == text, path
    assert server.client.post("/echo", content=b"hello").text == "hello"
    assert server.get("/echo").status_code == 405


def test_basic_fastapi_answers(run: Runner) -> None:
    server = run.uvicorn("basic_fastapi:app", agent="none")
    statuses = {
        "/async": 200, "/sync": 200, "/depends": 200, "/items/3": 200, "/items/3/reviews/x": 200,
        "/api/v1/items/3": 200, "/api/v1/items/3/reviews/x": 200, "/items/three": 422,
        "/none": 404, "/missing": 404, "/unavailable": 503, "/raises": 500, "/raises-sync": 500,
        "/sub/things/a": 200, "/sub/none": 404, "/mount/a": 200, "/files/a/b": 200,
        "/stream": 200, "/sleep?seconds=0": 200, "/background": 200, "/headers": 200,
    }  # fmt: skip
    assert {path: server.get(path).status_code for path in statuses} == statuses
    assert server.get("/tasks").json() == [1, 2, 3, 4, 5, 6]
    assert server.client.post("/async").status_code == 405
    item = {"name": "pen", "price": 1.5}
    assert server.client.post("/items", json=item).json() == item
    with pytest.raises(httpx.RemoteProtocolError):
        server.get("/stream-raises")
    with websocket(f"ws://127.0.0.1:{server.port}/ws") as socket_:
        socket_.send("hi")
        assert socket_.recv() == "echo hi"
    server.wait_log("^background done")
    server.wait_log("^websocket closed")
    server.wait_log("^async dependency closed")


def test_db_answers(run: Runner, tmp_path: Path) -> None:
    env = {"DATABASE": str(tmp_path / "test.db")}
    server = run.uvicorn("db:app", agent="none", env=env)
    expected = {
        "/core/sync": ["Ada", "Grace"],
        "/core/async": ["Ada", "Grace"],
        "/core/in-loop": 2,
        "/orm/sync/1": "Ada",
        "/orm/async/2": "Grace",
        "/orm/async/3": None,
        "/several": {"before": 2, "rows": [["Ada", 39], ["Grace", 12]]},
        "/literals": ["Ada", "Grace"],
        "/many": 3,
        "/memory": 1,
        "/fails/caught": {"error": "OperationalError", "original": "no such table: nowhere"},
        "/tasks": ["Ada", "Grace"],
    }
    assert {path: server.get(path).json() for path in expected} == expected
    assert server.get("/fails/sync").status_code == 500
    assert server.get("/fails/async").status_code == 500


def test_client_answers(run: Runner, target: Target, raw_server: Callable[..., RawServer]) -> None:
    server = run.uvicorn("client:app", agent="none", env={"TARGET_URL": target.url})
    for path in ("/sync", "/async", "/pooled", "/headers-none", "/own-traceparent"):
        answer = server.get(path).json()
        assert (answer["status"], answer["saw"]["path"]) == (200, "/echo"), path
    assert server.get("/module").json()["headers"]["x-own"] == "1"
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert server.get(f"/method/{method}").json()["saw"]["method"] == method
    assert server.get("/method/HEAD").json() == {"status": 200, "redirects": 0, "saw": None}
    assert server.get("/status/503").json()["status"] == 503
    redirected = server.get("/redirect/3").json()
    assert (redirected["status"], redirected["redirects"]) == (200, 3)
    assert server.get("/redirect-loop").json() == {"error": "TooManyRedirects"}
    assert server.get("/timeout").json() == {"error": "ReadTimeout"}
    closed = raw_server("refuse").port
    assert server.get(f"/refused?port={closed}").json() == {"error": "ConnectionError"}
    assert server.get(f"/raises?port={closed}").status_code == 500
    assert server.get("/bad-url").json() == {"error": "InvalidURL"}
    saw = server.get("/secrets").json()["saw"]
    assert saw["path"].endswith("AWSAccessKeyId=hush-4")
    assert saw["headers"]["authorization"].startswith("Basic ")
    assert target.seen[-1] == saw


def test_odd_asgi_does_the_same_twice(run: Runner) -> None:
    outcomes = compare(run, "odd_asgi:app", odd_cases, agents=("none", "none"))
    assert len(outcomes) > 30
    assert outcomes["/plain"][2] == b'{"inside":"done"}'
    assert outcomes["/thrown_into"][2] == b'{"caught":"thrown"}'
    assert outcomes["/headers_iterator"][2] == b'["x-odd=1","x-odd=2"]'


def test_compare_shows_the_difference(run: Runner) -> None:
    counted = iter(("without", "with"))
    with pytest.raises(AssertionError, match=r"(?s)-result 'without'.*\+result 'with'"):
        compare(run, "plain_starlette:app", lambda _: next(counted), agents=("none", "none"))
