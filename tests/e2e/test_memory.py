# SPDX-License-Identifier: MIT
"""Nothing is left behind by a request, of whatever kind and end."""

import json

from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.target import Target

ROUND = 150  # Times eleven requests.
ROUNDS = 4  # The first two fill caches and the ring.
# The libraries' own caches come and go by as much; eight bytes for each span are more.
BYTES = 2 * ROUND * 133
OBJECTS = 2 * ROUND * 2 // 3


def test_memory_does_not_grow_with_requests(
    run: Runner, receiver: HttpReceiver, target: Target
) -> None:
    """Bytes allocated, objects alive, and references to our types, round by round."""
    env = {**receiver.env, "PYTHONMALLOC": "malloc", "TARGET_URL": target.url}
    process = run.run([run.python, "leaks.py", str(ROUND), str(ROUNDS)], env=env, timeout=60)
    assert (process.status, process.stderr) == (0, "")
    rounds = [json.loads(line) for line in process.stdout.splitlines()]
    assert len(rounds) == ROUNDS
    first, warm, _, last = rounds
    assert any(name.startswith("references to") for name in last["ours"]), "no type was found"
    assert first["ours"] == last["ours"]
    assert last["objects"] - warm["objects"] < OBJECTS, rounds
    assert last["bytes"] - warm["bytes"] < BYTES, rounds
    assert len(receiver.spans) > ROUND * ROUNDS * 11
