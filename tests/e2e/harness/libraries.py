# SPDX-License-Identifier: MIT
"""The sets of pinned packages in tests/matrix, each an environment for traced applications.

FAA_TEST_MATRIX names the sets that the tests of the matrix folder run with, separated by commas:
`all`, or `quick` (the default). FAA_TEST_LIBRARIES names one set for all other tests: their
applications run with its interpreter. Sets of the clients' versions are for those; their names
begin with "clients-".
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .process import TOP

SETUP = TOP / "tests" / "setup"
FOLDER = TOP / "tests" / "matrix"
QUICK = ("fastapi-0.95", "fastapi-0.165")
_PYTHON = re.compile(r"-python-(\d+\.\d+)$")


@dataclass(frozen=True)
class Libraries:
    """One set: its name, what it pins, and the interpreter that has it."""

    name: str
    versions: dict[str, str]
    python: str

    def has(self, package: str, at_least: str = "0") -> bool:
        """True when the set has the package, of this version or a later one."""
        version = self.versions.get(package)
        return version is not None and _order(version) >= _order(at_least)


def chosen() -> list[str]:
    """Returns the servers' sets to test with. Raises ValueError for an unknown one."""
    everything = [path.stem for path in FOLDER.glob("*.txt") if _is_of_servers(path)]
    everything.sort(key=lambda name: (_order(name), name))
    words = (os.environ.get("FAA_TEST_MATRIX") or "quick").split(",")
    if words == ["all"]:
        return everything
    names = list(QUICK) if words == ["quick"] else words
    unknown = sorted(set(names) - set(everything))
    if unknown:
        raise ValueError(f"FAA_TEST_MATRIX: {FOLDER} has no {', '.join(unknown)}")
    return names


def made(name: str) -> Libraries:
    """Returns a set, whose environment is made on first use."""
    requirements = FOLDER / f"{name}.txt"
    wanted = _PYTHON.search(name)
    interpreter = _run(SETUP / "interpreter", wanted[1]) if wanted else _distribution()
    venv = _run(SETUP / "venv", f"matrix-{name}", requirements, interpreter)
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", requirements.read_text())
    return Libraries(name, dict(pins), f"{venv}/bin/python")


def of_tests() -> str | None:
    """Returns the applications' interpreter of FAA_TEST_LIBRARIES, or None."""
    name = os.environ.get("FAA_TEST_LIBRARIES")
    return made(name).python if name else None


def python() -> str:
    """The applications' interpreter: FAA_TEST_PYTHON, or that of these tests."""
    return os.environ.get("FAA_TEST_PYTHON") or sys.executable


@cache
def installed(python: str) -> Libraries:
    """Returns what an interpreter has; its own version is that of "python"."""
    code = (
        "from importlib.metadata import distributions\n"
        "from platform import python_version\n"
        "print('python', python_version())\n"
        "for one in distributions(): print(one.metadata['Name'], one.version)"
    )
    words = (line.split() for line in _run(python, "-c", code).splitlines())
    return Libraries("installed", {name: version for name, version in words}, python)


def _is_of_servers(requirements: Path) -> bool:
    return not requirements.stem.startswith("clients-")


def _distribution() -> str:
    """The interpreter under the environment of these tests."""
    return str(Path(sys.base_prefix) / "bin" / "python3")


def _run(*command: str | Path) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _order(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
