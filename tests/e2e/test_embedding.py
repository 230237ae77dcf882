# SPDX-License-Identifier: MIT
"""Programs in C that embed Python, with the preload: all work as without, and are traced."""

import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.process import Process, Runner
from harness.receiver import HttpReceiver
from harness.tree import assert_tree

HOSTS = Path(__file__).parent / "hosts"

PROGRAM = """\
import os, sys
print("program", __name__)
framework = os.environ.get("FRAMEWORK", "asyncio")

async def call(app):
    sent = []
    async def send(message):
        sent.append(message)
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    scope = {"type": "http", "method": "GET", "path": "/items/7", "headers": [],
             "query_string": b"", "path_params": {}, "http_version": "1.1"}
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]

def run(app):
    import asyncio
    print(*asyncio.run(call(app)))

if framework == "fastapi":
    from fastapi import FastAPI
    app = FastAPI()
    @app.get("/items/{item_id}")
    async def item(item_id: int):
        return item_id
    run(app)
elif framework == "starlette":
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route
    async def item(request):
        return Response(request.path_params["item_id"])
    run(Starlette(routes=[Route("/items/{item_id}", item)]))
elif framework == "asyncio":
    import asyncio
    print(asyncio.run(asyncio.sleep(0, "done")))
else:
    print("done")
"""

# The ways of hosts/linked.c, and the framework that is traced in each.
LINKED = {
    "initialize": "fastapi",
    "initialize-ex": "starlette",
    "no-finalize": "starlette",
    "inittab": "starlette",
    "import": "starlette",
    "thread": "starlette",
    "config": "starlette",
    "config-run-main": "fastapi",
    "bytes-main": "starlette",
    "main": "starlette",
}
PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib")}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled hosts, with the program that they run."""
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "program.py").write_text(PROGRAM)
    includes = [f"-I{sysconfig.get_path('include')}", f"-I{sysconfig.get_path('platinclude')}"]
    version = sysconfig.get_config_var("LDVERSION")
    libdir = sysconfig.get_config_var("LIBDIR")
    python = [*includes, f"-L{libdir}", f"-lpython{version}", f"-Wl,-rpath,{libdir}"]
    python += shlex.split(sysconfig.get_config_var("LIBS") or "")

    def compile_host(name: str, output: str, *flags: str) -> None:
        command = ["cc", "-O1", "-Wall", "-o", folder / output, HOSTS / name, *flags, "-ldl"]
        subprocess.run(command, check=True, timeout=scaled(60))

    compile_host("linked.c", "linked", *python, "-lpthread")
    compile_host("linked.c", "linked-now", *python, "-lpthread", "-Wl,-z,now", "-fno-plt")
    compile_host("plugin.c", "plugin.so", *python, "-shared", "-fPIC")
    compile_host("plugin.c", "plugin-now.so", *python, "-shared", "-fPIC", "-fno-plt")
    compile_host("loader.c", "loader")
    return folder


def libpython() -> str:
    """The shared libpython of the interpreter that runs the tests: python3-dev brings it."""
    return f"libpython{sysconfig.get_config_var('LDVERSION')}.so"


def same(run: Runner, command: list[str | Path], env: dict[str, str] | None = None) -> Process:
    """Runs a host without and with the preload; returns the first run."""
    plain = run.run(command, agent="none", env=env)
    traced = run.run(command, env=env)
    assert (traced.status, traced.stdout, traced.stderr) == (
        plain.status,
        plain.stdout,
        plain.stderr,
    )
    return plain


@pytest.mark.parametrize("way", [*LINKED, "bad-config", "twice"])
def test_linked_host_is_the_same(run: Runner, hosts: Path, way: str) -> None:
    for host in ("linked", "linked-now"):
        plain = same(run, [hosts / host, way, hosts / "program.py", "-x"])
        if way == "bad-config":
            assert plain.status == 97 and "bad config: 1" in plain.stdout
        else:
            assert plain.status == 0, plain.describe()
            assert plain.stdout.count("done") == (3 if way == "twice" else 1)


@pytest.mark.parametrize("way", LINKED)
def test_linked_host_is_traced(run: Runner, receiver: HttpReceiver, hosts: Path, way: str) -> None:
    command = [hosts / "linked", way, hosts / "program.py", "-x"]
    process = run.run(command, env={**receiver.env, **PACKAGES, "FRAMEWORK": LINKED[way]})
    assert process.status == 0, process.describe()
    assert "200 b'7'" in process.stdout
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


AGAIN = """\
import os
if os.environ.get("FRAMEWORK"):
    exec(compile(open(os.environ["PROGRAM"]).read(), "program", "exec"))
    del os.environ["FRAMEWORK"]
else:
    import gc, subprocess, sqlite3, threading
    print("again", subprocess.run(["echo", "child"], capture_output=True).stdout)
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""


def test_interpreter_that_starts_again_goes_on_untraced(
    run: Runner, receiver: HttpReceiver, hosts: Path, tmp_path: Path
) -> None:
    """The agent lives in the first interpreter; what comes after it must not meet its remains."""
    (tmp_path / "again.py").write_text(AGAIN)
    program = {"PROGRAM": str(hosts / "program.py"), "FRAMEWORK": "starlette"}
    command = [hosts / "linked", "twice", tmp_path / "again.py"]
    process = run.run(command, env={**receiver.env, **PACKAGES, **program})
    assert process.status == 0, process.describe()
    assert process.stdout.count("finalize 0\n") == 3
    assert process.stdout.count("again b'child\\n'") == 2
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


# Extension modules look for libpython in the global scope: a plugin that was loaded with RTLD_LOCAL
# has none (but for those that link it), unless the agent is there, which needs the same scope.
PLUGINS = {"local": "builtin", "local-unload": "builtin", "global": "asyncio"}


@pytest.mark.parametrize("way", PLUGINS)
def test_plugin_is_the_same(run: Runner, hosts: Path, way: str) -> None:
    for plugin in ("plugin.so", "plugin-now.so"):
        command: list[str | Path] = [hosts / "loader", way, hosts / plugin, hosts / "program.py"]
        plain = same(run, command, {"FRAMEWORK": PLUGINS[way]})
        assert plain.status == 0, plain.describe()
        assert "done" in plain.stdout


@pytest.mark.parametrize("way", PLUGINS)
def test_plugin_is_traced(run: Runner, receiver: HttpReceiver, hosts: Path, way: str) -> None:
    command = [hosts / "loader", way, hosts / "plugin.so", hosts / "program.py"]
    process = run.run(command, env={**receiver.env, **PACKAGES, "FRAMEWORK": "starlette"})
    assert process.status == 0, process.describe()
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


@pytest.mark.parametrize(
    ("way", "framework"), [("handle-local", "builtin"), ("handle-global", "asyncio")]
)
def test_host_that_asks_the_library_itself_is_the_same(
    run: Runner, hosts: Path, way: str, framework: str
) -> None:
    """None of our names is in its way, and no road leads in: it is not traced."""
    command: list[str | Path] = [hosts / "loader", way, libpython(), hosts / "program.py"]
    plain = same(run, command, {"FRAMEWORK": framework})
    assert plain.status == 0, plain.describe()
    assert "done" in plain.stdout


def test_loader_without_a_library_is_the_same(run: Runner, hosts: Path) -> None:
    plain = same(run, [hosts / "loader", "local", "/no/such/library.so", hosts / "program.py"])
    assert plain.status == 90
