# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

# The receivers live in this process, which starts others all the time; none of those uses gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import pytest

pytest.register_assert_rewrite("http_client_cases")

from harness import compare, libraries
from harness.databases import MariaDB, PostgreSQL, Redis, served
from harness.deadline import scaled
from harness.jaeger import Jaeger
from harness.libraries import Libraries
from harness.process import TOP, Runner
from harness.raw import RawServer
from harness.receiver import GrpcReceiver, HttpReceiver, Receiver
from harness.target import Target


def pytest_configure() -> None:
    # What nohup and a shell's background have ignored, the applications would ignore, too.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    python = libraries.of_tests()
    if python:
        os.environ["FAA_TEST_PYTHON"] = python


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(scaled(120)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Shows the output of the traced processes with a failure."""
    report = yield
    runner = getattr(item, "funcargs", {}).get("run")
    if report.failed and isinstance(runner, Runner):
        for process in runner.processes:
            report.sections.append((f"process {process.pid}", process.describe()))
    return report


@pytest.fixture(scope="session")
def build() -> Path:
    """The directory of the built agent: FAA_BUILD, else build/ in the source tree."""
    return Path(os.environ.get("FAA_BUILD") or TOP / "build").absolute()


@pytest.fixture
def python() -> str:
    """The applications' interpreter; parametrize it (or set FAA_TEST_PYTHON) for another."""
    return libraries.python()


@pytest.fixture
def packages(python: str) -> Libraries:
    """What the applications' interpreter has: packages.has("httpx", "0.25")."""
    return libraries.installed(python)


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    """@pytest.mark.needs("httpx", "0.25"): skipped where the applications have an older one, or
    none. The interpreter of these tests has everything: there it fails."""
    for mark in request.node.iter_markers("needs"):
        python = request.getfixturevalue("python")
        if not libraries.installed(python).has(*mark.args):
            is_chosen = python != sys.executable
            (pytest.skip if is_chosen else pytest.fail)(f"{python} has no {' '.join(mark.args)}")


@pytest.fixture
def run(tmp_path: Path, build: Path, python: str) -> Iterator[Runner]:
    """Starts processes; all of them are gone when the test ends."""
    runner = Runner(tmp_path, build, python)
    yield runner
    runner.kill_all()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """A recording OTLP/HTTP receiver; fails the test that has sent it something invalid."""
    yield from _checked(HttpReceiver())


@pytest.fixture
def grpc_receiver() -> Iterator[GrpcReceiver]:
    """A recording OTLP/gRPC receiver; fails the test that has sent it something invalid."""
    yield from _checked(GrpcReceiver())


@pytest.fixture(params=[HttpReceiver, GrpcReceiver], ids=["http", "grpc"])
def any_receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """The test runs twice: with an HTTP and with a gRPC receiver."""
    yield from _checked(request.param())


def _checked(receiver: Any) -> Iterator[Any]:
    yield receiver
    receiver.stop()
    receiver.check()


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Makes RawServers, endpoints of any bad manner: raw_server("refuse").endpoint."""
    servers = []

    def make(*args: Any) -> RawServer:
        servers.append(RawServer(*args))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def target() -> Iterator[Target]:
    """A web server for outgoing calls, which records what it saw."""
    server = Target()
    yield server
    server.stop()


@pytest.fixture
def own_mounts() -> list[str]:
    """The command that gives what follows mounts of its own."""
    words = ["unshare", "--mount"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"]).returncode != 0:
        pytest.skip("no mount namespaces for this user")
    return words


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """A real Jaeger for the whole session; without one the test fails, it is not skipped."""
    binary = os.environ.get("FAA_TEST_JAEGER", "")
    if not os.access(binary, os.X_OK):
        pytest.fail(
            f"these tests need a real Jaeger, and FAA_TEST_JAEGER={binary!r} is no executable: "
            "`make test` builds one and sets the variable",
            pytrace=False,
        )
    server = Jaeger(binary, tmp_path_factory.mktemp("jaeger"))
    yield server
    server.stop()


@pytest.fixture
def same_with_and_without(run: Runner) -> Callable[..., Any]:
    """same_with_and_without("odd_asgi:app", fn): see harness.compare."""
    return partial(compare.same_with_and_without, run)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real PostgreSQL for the whole session."""
    with served(PostgreSQL) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A real MariaDB for the whole session."""
    with served(MariaDB) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A real Redis for the whole session."""
    with served(Redis) as server:
        yield server
