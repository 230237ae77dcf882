# SPDX-License-Identifier: MIT
"""The example of docs/EXTENDING.md, built and run exactly as it stands there."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.process import TOP, Runner
from harness.receiver import HttpReceiver
from harness.tree import one, where

PAGE = (TOP / "docs" / "EXTENDING.md").read_text()
SCRIPT = """
import invoices
print(invoices.render(7, layout="a5"))
try:
    invoices.render(-1)
except ValueError as error:
    print("refused:", error)
"""


def block(language: str, first_line: str) -> str:
    """Returns the page's code block that starts like this; raises AssertionError without one."""
    for code in re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        if code.startswith(first_line):
            return code
    raise AssertionError(f"docs/EXTENDING.md has no {language} block starting with {first_line!r}")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A build of a copy of the source tree with the page's file and line added."""
    tree = tmp_path_factory.mktemp("extended")
    for name in ("Makefile", "preload", "launcher", "proto"):
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, tree / name)
        else:
            shutil.copy2(source, tree / name)
    (tree / "tests").mkdir()
    shutil.copy2(TOP / "tests" / "layers", tree / "tests" / "layers")
    folder = tree / "preload" / "instrumentors"
    (folder / "invoices.c").write_text(block("c", "// SPDX-License-Identifier: MIT\n// invoices:"))
    header = folder / "instrumentor.h"
    line = block("c", "    X(invoices)")
    head = re.search(r"^#define FAA_INSTRUMENTORS\(X\).*\n", header.read_text(), re.MULTILINE)
    assert head
    header.write_text(header.read_text().replace(head[0], head[0] + line, 1))
    subprocess.run(
        ["make", "-s", "-j2", "-C", str(tree), "BUILD=build", "CFLAGS=-O1"],
        check=True,
        timeout=300,
    )
    yield tree / "build"
    shutil.rmtree(tree)


@pytest.mark.timeout(400)
def test_the_example_of_the_page_traces_its_library(
    extended: Path, tmp_path: Path, python: str, receiver: HttpReceiver
) -> None:
    (tmp_path / "invoices.py").write_text(block("python", "# invoices.py"))
    run = Runner(tmp_path, extended, python)
    env = receiver.env | {"FAA_LOG_LEVEL": "debug"}
    result = run.run([python, "-c", SCRIPT], env=env, cwd=tmp_path)
    assert result.stdout == "invoice 7 on a5\nrefused: no such order\n"
    assert "invoices 2.1 instrumented" in result.stderr
    good = one(where(receiver.wait(2), status="UNSET"))
    assert (good.name, good.kind, good.scope_name) == ("invoices.render", "INTERNAL", "invoices")
    bad = one(where(receiver.spans, status="ERROR"))
    assert bad.attributes["error.type"] == "ValueError"
    assert bad.status_message == "no such order"
