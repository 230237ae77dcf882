# SPDX-License-Identifier: MIT
"""Nothing is left behind by a call of any library, whether it succeeds, fails, or is cancelled.

FAA_TEST_LEAK_CALLS: how many calls of each kind, after those that warm it up.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from harness import databases
from harness.databases import Database
from harness.deadline import scaled
from harness.process import Process, Runner
from harness.stub import Stub

CALLS = int(os.environ.get("FAA_TEST_LEAK_CALLS") or 3000)
ROUNDS = 4  # The first one warms up.
BATCH = 50  # Calls in one request, as in apps/leaks_clients.py.
# A leak grows in every round; caches and buffers grow now and then. The smallest allocation of the
# C library is 32 bytes. The heap itself moves a little in a round, however many calls it has.
BYTES, NOISE = 16, 8 << 10
RESIDENT = 6 << 20  # A hundred bytes for each of 100,000 calls are more.

# Kinds: the instrumentation that makes spans of their calls, if there is one, and the database that
# they use.
KINDS = {
    "http_requests": ("requests", ""),
    "http_urllib3": ("urllib3", ""),
    "http_urllib": ("urllib", ""),
    "http_httpx": ("httpx", ""),
    "http_httpx_async": ("httpx", ""),
    "http_aiohttp": ("aiohttp-client", ""),
    "sql_alchemy": ("sqlalchemy", ""),
    "sql_alchemy_async": ("sqlalchemy", "postgresql"),
    "db_sqlite3": ("sqlite3", ""),
    "db_psycopg": ("psycopg", "postgresql"),
    "db_psycopg_async": ("psycopg", "postgresql"),
    "db_psycopg2": ("psycopg2", "postgresql"),
    "db_asyncpg": ("asyncpg", "postgresql"),
    "db_pymysql": ("pymysql", "mariadb"),
    "db_redis": ("redis", "redis_server"),
    "db_redis_async": ("redis", "redis_server"),
    "threads": ("", ""),
    "logs": ("", ""),
}


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    """Answers the calls, and accepts the spans."""
    server = Stub()
    yield server
    server.stop()


def place(database: Database) -> dict[str, Any]:
    """Where a database is and how to enter it, for apps/leaks_clients.py."""
    account = {"user": databases.USER, "password": databases.PASSWORD}
    return {**account, "database": databases.DATABASE, "port": database.port}


class Outcome:
    """What one process has told: the memory after each round, and what lived before and after."""

    def __init__(self, process: Process) -> None:
        assert process.status == 0, process.describe()
        self.before, *self.rounds, self.after = map(json.loads, process.stdout.splitlines())
        assert len(self.rounds) == ROUNDS

    def growth(self, part: str) -> dict[str, int]:
        """By how much the numbers of "references" or "ours" have grown."""
        before, after = self.before[part], self.after[part]
        return {name: after[name] - before[name] for name in before.keys() & after.keys()}

    @property
    def bytes(self) -> int:
        """The least that a round has added to what is allocated."""
        return min(b["bytes"] - a["bytes"] for a, b in itertools.pairwise(self.rounds))


    @property
    def resident(self) -> int:
        """By how much all rounds together have made the process larger."""
        return int(self.rounds[-1]["resident"] - self.rounds[0]["resident"])


def left(traced: Outcome, untraced: Callable[[], Outcome], limit: int) -> dict[str, int]:
    """References that have become more, by at least the limit, than without the agent."""
    grown = {name: n for name, n in traced.growth("references").items() if n >= limit}
    if not grown:
        return {}
    usual = untraced().growth("references")
    return {name: n for name, n in grown.items() if n - usual.get(name, 0) >= limit}


@pytest.mark.timeout(scaled(1800))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_calls(
    request: pytest.FixtureRequest, run: Runner, stub: Stub, kind: str
) -> None:
    instrumentation, database = KINDS[kind]
    places = {database: place(request.getfixturevalue(database))} if database else {}
    size = CALLS // (ROUNDS - 1) // BATCH * BATCH
    assert size >= BATCH
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": stub.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_LOG_LEVEL": "debug",
        "OTEL_PYTHON_LOG_CORRELATION": "true",
        "PYTHONMALLOC": "malloc",
        "TARGET_URL": stub.url,
        "DATABASES": json.dumps(places),
    }

    def start(agent: str) -> Process:
        command = [run.python, "leaks_clients.py", kind, str(size), str(ROUNDS)]
        return run.run(command, env=env, agent=agent, timeout=1600)

    # Libraries leave references, too, and scatter the heap: what they do without the agent is asked
    # for only when something has grown.
    untraced = cache(lambda: Outcome(start("none")))
    process = start("preload")
    outcome = Outcome(process)
    ended = re.search(r"flushed: (\d+) spans ended", process.stderr)
    assert ended and int(ended[1]) >= size * ROUNDS // BATCH
    if re.search(rf"debug: {instrumentation} \S+ instrumented", process.stderr):
        assert int(ended[1]) >= size * ROUNDS * 0.8, "the calls were not traced"

    assert {"references to span", "references to wrapper"} <= outcome.before["ours"].keys()
    requests = size * (ROUNDS - 1) // BATCH
    assert {n: grown for n, grown in outcome.growth("ours").items() if grown >= requests // 2} == {}
    # One for each of the calls that succeed, or of those that fail, or are cancelled.
    limit = size * (ROUNDS - 1) // outcome.rounds[0]["kinds"] // 2
    assert left(outcome, untraced, limit) == {}
    assert outcome.after["objects"] - outcome.before["objects"] < limit
    assert outcome.bytes < size * BYTES + NOISE
    grown = outcome.resident
    assert grown < RESIDENT or grown - untraced().resident < RESIDENT
