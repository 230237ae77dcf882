# SPDX-License-Identifier: MIT
"""Nothing is left behind by a driver's statement, of whatever kind and end."""

import itertools
import json

from harness.databases import MariaDB, PostgreSQL
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.statements import environment

ROUND = 60  # Times some thirty statements.
ROUNDS = 10
# A leak grows in every round; caches and buffers grow at first, and now and then. One small allocation for every
# time that the statements were executed is more.
BYTES = ROUND * 64
OBJECTS = ROUND // 2


def test_memory_does_not_grow_with_statements(
    run: Runner, receiver: HttpReceiver, postgresql: PostgreSQL, mariadb: MariaDB
) -> None:
    """Bytes allocated, objects alive, and references to our types, round by round."""
    env = {
        **receiver.env,
        **environment(postgresql),
        "MYSQL_URL": environment(mariadb)["URL"],
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
        "PYTHONMALLOC": "malloc",
    }
    process = run.run([run.python, "driver_leaks.py", str(ROUND), str(ROUNDS)], env=env, timeout=100)
    assert (process.status, process.stderr) == (0, "")
    rounds = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(rounds) == ROUNDS
    kinds = {name for name in rounds[-1]["ours"] if name.startswith("references to")}
    assert kinds == {
        f"references to {name}" for name in ("async_generator", "awaitable", "span", "wrapper")
    }
    assert rounds[1]["ours"] == rounds[-1]["ours"]
    for what, limit in (("objects", OBJECTS), ("bytes", BYTES)):
        growth = [after[what] - before[what] for before, after in itertools.pairwise(rounds)]
        assert min(growth) < limit, (what, growth)
    assert len(receiver.spans) > ROUND * ROUNDS * 20
