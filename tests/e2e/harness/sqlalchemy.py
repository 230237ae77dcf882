# SPDX-License-Identifier: MIT
"""The versions of SQLAlchemy that the tests have: the installed one, and 1.4."""

import os
import subprocess
from pathlib import Path

from . import libraries
from .process import TOP

REQUIREMENTS_14 = Path(__file__).parents[1] / "requirements-sqlalchemy14.txt"

# A chosen interpreter has the version to test.
CHOSEN = os.environ.get("FAA_TEST_PYTHON")
VERSIONS = ["installed", "1.4"]
if CHOSEN:
    VERSIONS = ["installed" if libraries.installed(CHOSEN).has("SQLAlchemy", "2") else "1.4"]


def interpreter(version: str) -> str:
    """The path of an interpreter that has the version."""
    default = libraries.python()
    if CHOSEN or version == "installed":
        return default
    command = [TOP / "tests" / "setup" / "venv", "sqlalchemy14", REQUIREMENTS_14, default]
    venv = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return f"{venv.stdout.strip()}/bin/python"
