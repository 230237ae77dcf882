# SPDX-License-Identifier: MIT
"""Nothing is left behind by a request, of whatever kind and end."""

import itertools
import json

from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target

ROUND = 120  # Times sixteen requests.
ROUNDS = 6
# A leak grows in every round; caches and buffers grow now and then. One small allocation for every
# time that the sixteen requests were served is more.
BYTES = ROUND * 64
OBJECTS = ROUND // 2


def test_memory_does_not_grow_with_requests(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    """Bytes allocated, objects alive, and references to our types, round by round."""
    env = {
        **receiver.env,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
        "PYTHONMALLOC": "malloc",
        "TARGET_URL": target.url,
        "FAA_FASTAPI_SPANS": "all",
        "FAA_SLOW_DEPENDENCY": "0",
    }
    process = run.run([run.python, "leaks.py", str(ROUND), str(ROUNDS)], env=env, timeout=60)
    assert (process.status, process.stderr) == (0, "")
    rounds = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(rounds) == ROUNDS
    assert any(name.startswith("references to") for name in rounds[-1]["ours"]), "no type found"
    assert rounds[0]["ours"] == rounds[-1]["ours"]
    for what, limit in (("objects", OBJECTS), ("bytes", BYTES)):
        growth = [after[what] - before[what] for before, after in itertools.pairwise(rounds)]
        assert min(growth) < limit, (what, growth)
    assert len(receiver.spans) > ROUND * ROUNDS * 16


def test_request_that_nobody_finishes_is_collected(run: Runner, receiver: HttpReceiver) -> None:
    for agent in ("none", "preload"):
        process = run.run([run.python, "abandoned.py"], env=receiver.env, agent=agent)
        assert (process.status, process.stderr) == (0, "")
        assert process.stdout == "http collected\nwebsocket collected\n", agent
    assert {span.attributes["faa.request.outcome"] for span in receiver.spans} == {"cancelled"}
    assert len(receiver.spans) == 2
