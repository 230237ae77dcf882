# SPDX-License-Identifier: MIT
"""A library whose shape is not the expected one works on as if nothing were there, and one debug
line names what is missing; and every instrumentor can be turned off.

What is hooked is read from the debug log, and how a library is used from apps/uses.py, so a new
instrumentor is covered when it has a use there.
"""

import os
import re
import signal
import sys
from dataclasses import dataclass

import pytest

from harness import descriptors
from harness.compare import quiet
from harness.databases import DATABASE, PASSWORD, USER, Database
from harness.deadline import scaled
from harness.process import APPS, Process, Runner
from harness.receiver import HttpReceiver
from harness.target import Target

NAMES = [one.name for one in descriptors.told()]
# Each attribute is taken away, and one of those that are hooked together is wrapped by another tool.
# FAA_TEST_CHANGES=all, as in `make test-matrix`, makes all changes to all.
CHANGES = ("removed", "renamed", "outer_renamed", "number", "some_class", "partial", "static")
TOLERATED = ("foreign", "old_foreign")
IMPOSSIBLE = 3  # The exit status where a class is written in C.
# What a use needs besides: a database server (a fixture), and settings.
SERVERS = {
    "aiomysql": "mariadb",
    "asyncpg": "postgresql",
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "pymysql": "mariadb",
    "redis": "redis_server",
}
SETTINGS = {"logging": {"OTEL_PYTHON_LOG_CORRELATION": "true"}}
ALL = os.environ.get("FAA_TEST_CHANGES") == "all"

pytestmark = pytest.mark.timeout(scaled(300))


@dataclass(frozen=True)
class Use:
    """How a library is used as it is: the targets with the modules after which they are hooked, and
    those that are hooked or left alone together."""

    name: str
    targets: dict[str, str]
    groups: list[list[str]]


class Bench:
    """Runs the uses of libraries."""

    def __init__(self, run: Runner, env: dict[str, str]) -> None:
        self.run = run
        self.env = env

    def start(self, name: str, *change: str, agent: str = "preload", **env: str) -> Process:
        command = [self.run.python, "-W", "ignore", "changed_library.py", name, *change]
        environment = {
            "FAA_LOG_LEVEL": "debug",
            "OTEL_TRACES_EXPORTER": "none",
            "PYTHONHASHSEED": "0",
            "PATIENCE": str(round(scaled(10))),
            **self.env,
            **env,
        }
        process: Process = self.run.start(command, agent=agent, env=environment)
        return process

    def done(self, name: str, *change: str, **options: str) -> Process:
        process = self.start(name, *change, **options)
        process.wait()
        return process


@pytest.fixture
def bench(run: Runner, target: Target, name: str, request: pytest.FixtureRequest) -> Bench:
    env = {"TARGET_URL": target.url, **SETTINGS.get(name, {})}
    if name in SERVERS:
        server: Database = request.getfixturevalue(SERVERS[name])
        env |= {"SERVER_PORT": str(server.port), "SERVER_USER": USER}
        env |= {"SERVER_PASSWORD": PASSWORD, "SERVER_DATABASE": DATABASE}
    return Bench(run, env)


def hooked(process: Process) -> list[list[str]]:
    """The targets that its log lists as hooked, line by line; of the processes that it starts, which
    change nothing, none."""
    own = rf" {process.pid} faa debug: hooked (.+)"
    lines = (re.search(own, line) for line in process.agent_lines)
    return [match[1].split(", ") for match in lines if match]


def others_than(name: str) -> str:
    return ",".join(sorted(set(NAMES) - {name}))


def used(bench: Bench, name: str) -> Use:
    """Uses a library with its own instrumentor alone. Skips where a chosen interpreter lacks it."""
    assert f"\ndef {name.replace('-', '_')}() -> None:" in (APPS / "uses.py").read_text(), (
        f"{name} has no use in tests/e2e/apps/uses.py"
    )
    process = bench.done(name, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=others_than(name))
    if "ModuleNotFoundError" in process.stdout and bench.run.python != sys.executable:
        pytest.skip(f"{bench.run.python} has no {name}")
    assert process.status == 0 and "failed: " not in process.stdout, process.describe()
    targets: dict[str, str] = {}
    module = ""
    for line in process.agent_lines:
        if match := re.search(r" module (\S+) (intercepted|was imported before)$", line):
            module = match[1]
        if match := re.search(r" hooked (.+)", line):
            targets.update((target, module) for target in match[1].split(", "))
    assert targets, f"{name} hooks nothing that its log tells:\n{process.describe()}"
    return Use(name, targets, hooked(process))


def compared(bench: Bench, use: Use, change: str, target: str) -> Process:
    """Runs a use with a change, with and without the agent, and wants no difference. Returns the
    process with the agent, which has the status IMPOSSIBLE where the change cannot be made."""
    words = (use.name, change, target, use.targets[target])
    traced = bench.start(*words)
    plain = bench.start(*words, agent="none")
    for process in (traced, plain):
        process.wait()
    # Workers print beside each other.
    outcomes = [
        (p.status, sorted(quiet(p.stdout).splitlines()), quiet(p.own_stderr))
        for p in (plain, traced)
    ]
    assert outcomes[0] == outcomes[1], f"{change} {target}:\n{traced.describe()}"
    is_hung = plain.status == -signal.SIGALRM
    assert is_hung or plain.status == IMPOSSIBLE or re.search(
        r"(?m)^(done$|failed: )", plain.stdout
    ), plain.describe()
    return traced


def assert_names_what_is_missing(process: Process, use: Use, change: str, target: str) -> None:
    """One line names the target (or its class or what is first wanted of it, or the same method of a
    base class, where that went with it), and of those that go with it none is hooked."""
    lines = (re.search(r" faa debug: (\S+) is not there", line) for line in process.agent_lines)
    missing = {match[1] for match in lines if match}
    if change == "outer_renamed":
        outer = target.rpartition(".")[0]
        assert any(f"{name}.".startswith(f"{outer}.") for name in missing), process.describe()
    else:
        last = re.split(r"[.:]", target)[-1]
        assert any(re.split(r"[.:]", name)[-1] == last for name in missing), process.describe()
    together = next(group for group in use.groups if target in group)
    assert together not in hooked(process), process.describe()


@pytest.mark.parametrize("name", NAMES)
def test_a_library_without_one_of_its_hooked_attributes_works_on(bench: Bench, name: str) -> None:
    """The methods of a class that is written in C go with the class."""
    use = used(bench, name)
    for target in use.targets:
        for change in CHANGES if ALL else ["removed"]:
            if change == "outer_renamed" and "." not in target.partition(":")[2]:
                continue  # A function of a module.
            process = compared(bench, use, change, target)
            if process.status == IMPOSSIBLE:
                change = "outer_renamed"
                process = compared(bench, use, change, target)
            assert_names_what_is_missing(process, use, change, target)


@pytest.mark.parametrize("name", NAMES)
def test_a_library_that_another_tool_has_wrapped_works_on(bench: Bench, name: str) -> None:
    """Its wrapper of a method is told the object, and is traced as the method itself."""
    use = used(bench, name)
    targets = list(use.targets) if ALL else [group[0] for group in use.groups]
    for target in dict.fromkeys(targets):
        for change in TOLERATED if ALL else ["foreign"]:
            process = compared(bench, use, change, target)
            assert process.status == IMPOSSIBLE or any(
                target in group for group in hooked(process)
            ), process.describe()


@pytest.mark.parametrize("name", NAMES)
def test_each_instrumentor_can_be_turned_off(
    bench: Bench, name: str, receiver: HttpReceiver
) -> None:
    use = used(bench, name)
    env = {**receiver.env, "OTEL_TRACES_EXPORTER": "otlp"}
    plain = bench.done(name, agent="none")
    alone = bench.done(name, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=others_than(name), **env)
    scopes = {span.scope_name for span in receiver.spans}
    about = next(one for one in descriptors.told() if one.name == name)
    makes_none = about.spans.startswith(("none", "those of"))
    assert bool(scopes) is not makes_none, (scopes, about)
    receiver.clear()
    off = bench.done(name, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=f" {name} ,other", **env)
    assert f" faa debug: {name} not instrumented: OTEL_PYTHON_DISABLED_" in off.stderr
    assert not re.search(rf" faa debug: {name} \S+ instrumented$", off.stderr, re.MULTILINE)
    assert not scopes & {span.scope_name for span in receiver.spans}
    nothing = bench.done(name, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=",".join(NAMES), **env)
    assert hooked(nothing) == [] and use.groups
    ran = (plain, alone, off, nothing)
    assert len({(p.status, quiet(p.stdout), quiet(p.own_stderr)) for p in ran}) == 1, [
        process.describe() for process in ran
    ]
