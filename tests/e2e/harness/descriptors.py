# SPDX-License-Identifier: MIT
"""What the instrumentors say about themselves, as docs/LIBRARIES.md shows it."""

import re
import subprocess
from dataclasses import dataclass

from .process import TOP

PAGE = TOP / "docs" / "LIBRARIES.md"
TABLE = TOP / "launcher" / "doctor" / "libraries.inc"


@dataclass(frozen=True)
class Descriptor:
    """One library's section of the page."""

    library: str
    name: str
    versions: str
    spans: str
    attributes: tuple[str, ...]
    switches: tuple[str, ...]


def printed(*words: str) -> str:
    """The page as the compiled descriptors make it now; with "table", the doctor's list.

    The program is that of a plain build, also where the tests run with a sanitized one. Raises
    CalledProcessError where a descriptor is not complete; its standard error says which.
    """
    program = TOP / "build" / "obj" / "docs" / "libraries"
    make = ["make", "-s", "-C", TOP, "BUILD=build", "SAN=", program.relative_to(TOP)]
    subprocess.run(make, check=True, timeout=300)
    return subprocess.run([program, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def told() -> list[Descriptor]:
    """The sections of the page as it lies in the source tree."""
    return [_section(text) for text in PAGE.read_text().split("\n## ")[1:]]


def _section(text: str) -> Descriptor:
    rows = dict(re.findall(r"(?m)^\| ([a-z ]+) \| (.*) \|$", text))

    def words(label: str) -> tuple[str, ...]:
        return tuple(re.findall(r"`([^`]+)`", rows.get(label, "")))

    return Descriptor(
        library=text.split("\n", 1)[0],
        name=words("name")[0],
        versions=rows["tested versions"],
        spans=rows["spans"],
        attributes=words("attributes"),
        switches=words("switches"),
    )
