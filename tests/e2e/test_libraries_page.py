# SPDX-License-Identifier: MIT
"""docs/LIBRARIES.md: it is what the descriptors say, and what they say is true of the project."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import descriptors
from harness.descriptors import Descriptor
from harness.process import TOP

DESCRIPTORS = descriptors.told()
each = pytest.mark.parametrize("one", DESCRIPTORS, ids=lambda one: one.name)

GOOD = '.about = {"Good", "1 to 2", "one per call", "url.full error.type", "A_SWITCH"}'
# What stands in a list of descriptors, and what is said about it; nothing: it is printed.
LISTS = {
    "complete": ({"good": GOOD}, ""),
    "without switches": ({"good": GOOD.replace("A_SWITCH", "")}, ""),
    "second of a name": ({"good": GOOD, "good_": ""}, ""),
    "first of a name says nothing": ({"good_": "", "good": GOOD}, ""),
    "empty": ({"good": GOOD, "bad": ""}, "descriptor of bad .* says nothing about the library"),
    "without versions": ({"bad": GOOD.replace("1 to 2", "")}, "leaves something out"),
    "without spans": ({"bad": GOOD.replace("one per call", "")}, "leaves something out"),
    "without a last field": ({"bad": GOOD.replace(', "A_SWITCH"', "")}, "leaves something out"),
    "said twice": ({"good": GOOD, "good_": GOOD}, "says again"),
    "line break": ({"bad": GOOD.replace("per call", r"per\ncall")}, "line break"),
    "bar": ({"bad": GOOD.replace("per call", "per|call")}, "a bar"),
    "word twice": ({"bad": GOOD.replace("error.type", "url.full")}, "different words"),
    "comma": ({"bad": GOOD.replace("url.full ", "url.full  ")}, "different words"),
    "space at the end": ({"bad": GOOD.replace("error.type", "error.type ")}, "different words"),
}


def test_the_page_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert descriptors.PAGE.read_text() == descriptors.printed()


def test_the_doctors_table_is_up_to_date() -> None:
    """`make docs` writes it, too."""
    assert descriptors.TABLE.read_text() == descriptors.printed("table")


@pytest.mark.parametrize("case", LISTS)
def test_a_descriptor_that_tells_too_little_is_refused(case: str, tmp_path: Path) -> None:
    entries, complaint = LISTS[case]
    header = (TOP / "preload/instrumentors/instrumentor.h").read_text()
    names = " ".join(f"X({name})" for name in entries)
    listed, count = re.subn(r"(#define FAA_INSTRUMENTORS\(X\)).*\n( .*\n)+", rf"\1 {names}\n", header)
    assert count == 1
    (tmp_path / "instrumentors").mkdir()
    (tmp_path / "instrumentors" / "instrumentor.h").write_text(listed)
    (tmp_path / "entries.c").write_text(
        '#include "instrumentors/instrumentor.h"\n'
        + "".join(
            f"const struct faa_instrumentor faa_instrumentor_{name} = "
            f'{{.name = "{name.rstrip("_")}", .module = "{name}", {about}}};\n'
            for name, about in entries.items()
        )
    )
    subprocess.run(
        ["cc", "-D_GNU_SOURCE", f"-I{tmp_path}", f"-I{TOP}/preload", *python_flags()]
        + [f"{TOP}/docs/libraries.c", "entries.c", "-o", "libraries"],
        cwd=tmp_path,
        check=True,
    )
    done = subprocess.run([tmp_path / "libraries"], capture_output=True, text=True)
    assert (done.returncode != 0) == bool(complaint), done
    assert re.search(complaint, done.stderr)
    assert ("## Good" in done.stdout) is not bool(complaint)


@each
def test_attributes_are_those_that_the_agent_knows(one: Descriptor) -> None:
    known = set(re.findall(r'"([^"]+)"\)', (TOP / "preload/span/semconv.h").read_text()))
    assert {name.removesuffix(".<key>") for name in one.attributes} <= known


@pytest.fixture(scope="module")
def variables() -> set[str]:
    """The names that the agent's sources hold, as the preprocessor leaves them."""
    sources = sorted((TOP / "preload" / "agent").glob("config*.c"))
    command = ["cc", "-E", "-D_GNU_SOURCE", f"-I{TOP}/preload", *python_flags(), *sources]
    text = subprocess.check_output(command, text=True)
    return set(re.findall(r'"((?:OTEL|FAA)_[A-Z0-9_]+)"', re.sub(r'"\s*"', "", text)))


@each
def test_switches_are_variables_that_the_agent_reads(one: Descriptor, variables: set[str]) -> None:
    assert set(one.switches) <= variables


@each
def test_versions_are_the_oldest_and_the_newest_that_are_pinned(one: Descriptor) -> None:
    files = [*(TOP / "tests").glob("*/*.txt"), TOP / "tests" / "requirements.txt"]
    pins: dict[str, set[str]] = {}
    for file in files:
        for package, version in re.findall(r"(?m)^([\w.-]+)==([^;\s]+)", file.read_text()):
            pins.setdefault(package.lower(), set()).add(version)
    names = (one.name, f"{one.name}-binary", one.name.removesuffix("-client"))
    found = next((pins[name] for name in names if name in pins), None)
    if found is None:
        assert one.name in sys.stdlib_module_names, "a package that no test has"
        return
    ordered = sorted(found, key=_numbers)
    oldest, _, newest = one.versions.partition(" to ")
    for claimed, pinned in ((oldest, ordered[0]), (newest or oldest, ordered[-1])):
        wanted = _numbers(claimed)
        assert _numbers(pinned)[: len(wanted)] == wanted, f"{claimed} is claimed, {pinned} pinned"


def python_flags() -> list[str]:
    """Where Python's headers are, for the compiler."""
    return subprocess.check_output(["pkg-config", "--cflags", "python3"], text=True).split()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
