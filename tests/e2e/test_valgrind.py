# SPDX-License-Identifier: MIT
"""A whole traced process under valgrind's memcheck."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.process import APPS, Runner
from harness.receiver import HttpReceiver

FRAMES = 16  # The innermost ones: further out is whoever called Python.


def errors(report: Path) -> list[str]:
    """Returns what memcheck says against the agent's libraries, a text for each error or leak."""
    found = []
    for error in ET.parse(report).getroot().findall("error"):
        frames = list(error.iter("frame"))[:FRAMES]
        if any("/libfaa" in frame.findtext("obj", "") for frame in frames):
            lines = [error.findtext("kind", "")]
            lines += [f"{f.findtext('fn')} {f.findtext('file')}:{f.findtext('line')}" for f in frames]
            found.append("\n  ".join(lines))
    return found


@pytest.mark.timeout(scaled(300))
def test_every_hook_is_clean(
    run: Runner, receiver: HttpReceiver, python: str, tmp_path: Path
) -> None:
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind is not installed"
    report = tmp_path / "memcheck.xml"
    memcheck = [valgrind, "--leak-check=full", "--show-leak-kinds=definite", "--xml=yes"]
    result = run.run(
        [*memcheck, f"--xml-file={report}", python, APPS / "direct.py"],
        # Python's own allocator would hide what is behind it.
        # And each step is slow enough for a stack.
        env=receiver.env | {"PYTHONMALLOC": "malloc", "FAA_BLOCKED_THRESHOLD": "1"},
        timeout=250,
    )
    assert (result.status, result.stdout) == (0, "done\n")
    assert errors(report) == []
    assert any(
        "code.stacktrace" in event.attributes for span in receiver.spans for event in span.events
    )
    # 3 requests, a statement and a call in each of ten rounds; and the cancelled one.
    assert len(receiver.spans) >= 50
