# SPDX-License-Identifier: MIT
"""Every test of this folder runs once for each set of libraries: see harness.libraries."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import libraries
from harness.deadline import scaled
from harness.libraries import Libraries
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.served import Served

# The pair of loop and HTTP implementation that serves an application when a test names none.
SERVERS = {
    "matrix_fastapi:app": ("asyncio", "h11"),
    "matrix_starlette:app": ("uvloop", "httptools"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first run makes an environment."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(scaled(600)))


@pytest.fixture(scope="module", params=libraries.chosen())
def packages(request: pytest.FixtureRequest) -> Libraries:
    """The set of libraries that the application has."""
    return libraries.made(request.param)


@pytest.fixture
def python(packages: Libraries) -> str:
    """The interpreter of the set: what `run` starts."""
    return packages.python


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(
    packages: Libraries, tmp_path_factory: pytest.TempPathFactory, build: Path
) -> Iterator[Serve]:
    """serve("module:app", *options): one server for all tests with a set of libraries."""
    runner = Runner(tmp_path_factory.mktemp(packages.name), build, packages.python)
    receiver = HttpReceiver()
    served: dict[tuple[str, ...], Served] = {}

    def start(app: str, *options: str, env: dict[str, str] | None = None) -> Served:
        key = (app, *options, str(env))
        if key not in served:
            loop, http = SERVERS[app]
            words = ("--loop", loop, "--http", http, *options)
            environment = {**receiver.env, **(env or {})}
            served[key] = Served(runner.uvicorn(app, *words, env=environment), receiver)
        return served[key]

    yield start
    try:
        for one in served.values():
            # uvicorn raises the signal again since 0.29.
            assert one.server.stop() in (0, -15), one.server.describe()
            assert one.server.agent_lines == []
        receiver.check()
        traces = [span.trace_id for span in receiver.spans if span.kind == "SERVER"]
        assert len(traces) == len(set(traces)), "a request has two SERVER spans"
    finally:
        runner.kill_all()
        receiver.stop()
