# SPDX-License-Identifier: MIT
"""What apps/faulty.py tells of itself, with and without the agent."""

import json
from pathlib import Path
from typing import Any

from .process import Process

# A hook that waits for anything takes thousands of times what a request does; a busy machine, or
# the first calls of everything, take some times as much.
_SLOWER = 40


def told(process: Process, path: Path | None = None) -> dict[str, Any]:
    """What it has told at its end, in this file or on its standard output.

    Raises AssertionError when it did not end well.
    """
    assert process.status == 0, process.describe()
    answer = json.loads(path.read_text() if path else process.stdout)
    assert isinstance(answer, dict)
    return answer


def assert_same(traced: dict[str, Any], bare: dict[str, Any]) -> None:
    """The same answers, nothing wrong, and no request that waited for something."""
    assert traced["wrong"] == bare["wrong"] == []
    assert traced["answers"] == bare["answers"]
    for with_agent, without in zip(traced["times"], bare["times"], strict=True):
        assert with_agent < _SLOWER * without, (traced["times"], bare["times"])
