# SPDX-License-Identifier: MIT
"""Sets of libraries, and tests that need more than some of them have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import libraries
from harness.process import TOP

PROBE = """
import pytest

@pytest.mark.needs("fastapi", "0.1")
def test_old(packages):
    assert packages.has("FastAPI".lower()) and not packages.has("fastapi", "1000")
    assert packages.has("python", "3.9") and not packages.has("python", "4")

@pytest.mark.needs("fastapi", "1000")
def test_newer():
    raise AssertionError("runs")

@pytest.mark.needs("no-such-package")
def test_missing():
    raise AssertionError("runs")
"""


@pytest.mark.parametrize("chosen", [False, True], ids=["own interpreter", "chosen one"])
def test_needs_of_a_test_are_skipped_only_for_a_chosen_interpreter(
    chosen: bool, tmp_path: Path
) -> None:
    """Else a pin in tests/requirements.txt could quietly end a test."""
    shutil.copy2(TOP / "tests" / "e2e" / "conftest.py", tmp_path)
    (tmp_path / "test_probe.py").write_text(PROBE)
    link = tmp_path / "python"
    link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    link.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("FAA_TEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", TOP / "tests" / "e2e" / "pytest.ini", "-q"]
        + ["--rootdir", tmp_path, tmp_path / "test_probe.py"],
        env=env | {"PYTHONPATH": str(TOP / "tests" / "e2e")}
        | ({"FAA_TEST_PYTHON": str(link)} if chosen else {}),
        capture_output=True,
        text=True,
    )
    wanted = "1 passed, 2 skipped" if chosen else "1 passed, 2 errors"
    assert wanted in done.stdout, done.stdout
    assert (done.returncode == 0) is chosen


def test_sets_of_clients_are_no_sets_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAA_TEST_MATRIX", "all")
    names = libraries.chosen()
    assert "fastapi-0.95" in names and not any("clients" in name for name in names)
    monkeypatch.setenv("FAA_TEST_MATRIX", "clients-2024-python-3.11")
    with pytest.raises(ValueError, match="has no clients-2024"):
        libraries.chosen()
