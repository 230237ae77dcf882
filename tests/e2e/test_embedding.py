# SPDX-License-Identifier: MIT
"""Programs in C that embed Python, with the preload: all work as without, and are traced."""

import ctypes.util
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.process import Process, Runner
from harness.receiver import HttpReceiver
from harness.tree import assert_tree

HOSTS = Path(__file__).parent / "hosts"

PROGRAM = """\
import asyncio, os, sys
print("program", __name__)
if os.environ.get("FRAMEWORK") and not getattr(sys, "second", False):
    from fastapi import FastAPI
    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int):
        return {"id": item_id}

    async def call():
        sent = []
        async def send(message):
            sent.append(message)
        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}
        scope = {"type": "http", "method": "GET", "path": "/items/7", "headers": [],
                 "query_string": b"", "path_params": {}, "http_version": "1.1"}
        await app(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    print(*asyncio.run(call()))
else:
    print(asyncio.run(asyncio.sleep(0, "slept")))
"""

LINKED = {
    "initialize": 0,
    "initialize-ex": 0,
    "no-finalize": 0,
    "inittab": 0,
    "import": 0,
    "thread": 0,
    "config": 0,
    "config-run-main": 0,
    "bytes-main": 0,
    "main": 0,
}


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


@pytest.fixture
def framework() -> dict[str, str]:
    """The environment in which the embedded interpreter finds FastAPI."""
    return {"PYTHONPATH": sysconfig.get_path("purelib"), "FRAMEWORK": "1"}


def libpython() -> str:
    name = ctypes.util.find_library(f"python{sysconfig.get_config_var('LDVERSION')}")
    assert name, "the shared libpython is missing: install python3-dev"
    return name


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


@pytest.mark.parametrize("host", ["linked", "linked-now"])
@pytest.mark.parametrize("way", [*LINKED, "bad-config", "twice"])
def test_linked_host_is_the_same(run: Runner, hosts: Path, way: str, host: str) -> None:
    plain = same(run, [hosts / host, way, hosts / "program.py", "-x"])
    if way == "bad-config":
        assert plain.status == 97 and "bad config: 1" in plain.stdout
    else:
        assert plain.status == 0, plain.describe()
        assert plain.stdout.count("slept") == (3 if way == "twice" else 1)


@pytest.mark.parametrize("way", LINKED)
def test_linked_host_is_traced(
    run: Runner, receiver: HttpReceiver, hosts: Path, framework: dict[str, str], way: str
) -> None:
    command = [hosts / "linked", way, hosts / "program.py", "-x"]
    process = run.run(command, env={**receiver.env, **framework})
    assert process.status == 0, process.describe()
    assert "200 b'{\"id\":7}'" in process.stdout
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


def test_interpreter_that_starts_again_goes_on_untraced(
    run: Runner, receiver: HttpReceiver, hosts: Path, framework: dict[str, str], tmp_path: Path
) -> None:
    """The agent lives in the first interpreter; what comes after it must not meet its remains."""
    (tmp_path / "program.py").write_text(
        "import os\n"
        "if os.environ.pop('FRAMEWORK', ''):\n"
        "    os.environ['FRAMEWORK'] = '1'\n"
        f"    exec({PROGRAM!r})\n"
        "    del os.environ['FRAMEWORK']\n"
        "else:\n"
        "    import gc, threading, json, re, subprocess, http.client, sqlite3\n"
        "    print(subprocess.run(['echo', 'child'], capture_output=True).stdout, gc.collect() < 0)\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "    os.wait()\n"
    )
    command = [hosts / "linked", "twice", tmp_path / "program.py"]
    process = run.run(command, env={**receiver.env, **framework})
    assert process.status == 0, process.describe()
    assert process.stdout.count("finalize 0\n") == 3
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


PLUGINS = ["local", "global", "local-unload"]


@pytest.mark.parametrize("plugin", ["plugin.so", "plugin-now.so"])
@pytest.mark.parametrize("way", PLUGINS)
def test_plugin_is_the_same(run: Runner, hosts: Path, way: str, plugin: str) -> None:
    plain = same(run, [hosts / "loader", way, hosts / plugin, hosts / "program.py"])
    assert plain.status == 0, plain.describe()
    assert "slept" in plain.stdout


@pytest.mark.parametrize("way", PLUGINS)
def test_plugin_is_traced(
    run: Runner, receiver: HttpReceiver, hosts: Path, framework: dict[str, str], way: str
) -> None:
    """Extension modules find libpython only in the global scope, with a plain RTLD_LOCAL host
    nowhere: pydantic's is asked for by the driver, so that one runs where it can."""
    command = [hosts / "loader", way, hosts / "plugin.so", hosts / "program.py"]
    process = run.run(command, env={**receiver.env, **framework})
    assert process.status == 0, process.describe()
    assert process.stderr == ""
    assert_tree(receiver.spans, ("GET /items/{item_id}", "SERVER"))


@pytest.mark.parametrize("way", ["handle-local", "handle-global"])
def test_host_that_asks_the_library_itself_is_the_same(
    run: Runner, hosts: Path, way: str
) -> None:
    """No name of ours is in the way, and no road leads in: it works, untraced or not."""
    plain = same(run, [hosts / "loader", way, libpython(), hosts / "program.py"])
    assert plain.status == 0, plain.describe()
    assert "slept" in plain.stdout


def test_loader_without_a_library_is_the_same(run: Runner, hosts: Path) -> None:
    plain = same(run, [hosts / "loader", "local", "/no/such/library.so", hosts / "program.py"])
    assert plain.status == 90


def test_shared_interpreter_in_these_tests_is_the_debian_one() -> None:
    """The hosts' libpython and the environment's packages must be of one version."""
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in libpython()
