# SPDX-License-Identifier: MIT
"""Adding a library: docs/EXTENDING.md exactly as it stands there, and `make new-instrumentor`.

Both happen in a copy of the source tree, which is built and tested with what they add.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.process import TOP

PAGE = (TOP / "docs" / "EXTENDING.md").read_text()
LIBRARY = """
__version__ = "2.1"

def draw():
    return "drawn"
"""
HEADER = "preload/instrumentors/instrumentor.h"

pytestmark = pytest.mark.timeout(scaled(400))


def block(language: str, first_lines: str) -> str:
    """Returns the page's code block that starts like this; raises AssertionError without one."""
    for indent, code in re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.DOTALL | re.MULTILINE
    ):
        code = re.sub(rf"(?m)^{indent}", "", code)
        if code.startswith(first_lines):
            return str(code)
    raise AssertionError(f"docs/EXTENDING.md has no {language} block starting {first_lines!r}")


def called(tree: Path, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the tree, as a developer would: nothing of this run is in its environment."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FAA_", "MAKE"))}
    return subprocess.run(
        [str(word) for word in command],
        cwd=tree,
        env=inherited | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_tests(tree: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs tests of the tree over its build."""
    command = ["-m", "pytest", "-c", "tests/e2e/pytest.ini", "--rootdir", "tests/e2e", "-q"]
    return called(tree, sys.executable, *command, *args, FAA_BUILD=f"{tree}/build")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The source tree, without what was built."""
    tree = tmp_path_factory.mktemp("extended") / "tree"
    unwanted = shutil.ignore_patterns("build", ".git", "__pycache__")
    shutil.copytree(TOP, tree, ignore=unwanted, symlinks=True)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def extended(copy: Path) -> Path:
    """The copy with the page's library and with the skeleton of another one, built."""
    made = called(copy, "make", "new-instrumentor", "NAME=sketches", "MODULE=sketches", "FUNCTION=draw")
    assert made.returncode == 0, made.stdout
    assert "preload/instrumentors/sketches.c" in made.stdout and "make docs" in made.stdout
    (copy / "tests/e2e/apps/sketches.py").write_text(LIBRARY)

    made = called(copy, *shlex.split(block("", "make new-instrumentor")))
    assert made.returncode == 0, made.stdout
    for path, first_lines in (
        ("preload/instrumentors/jinja2.c", "// SPDX-License-Identifier: MIT\n// Jinja2: "),
        ("tests/e2e/apps/jinja2_cases.py", '# SPDX-License-Identifier: MIT\n"""Jinja2 in all'),
        ("tests/e2e/test_jinja2.py", '# SPDX-License-Identifier: MIT\n"""Jinja2: one'),
    ):
        assert (copy / path).is_file()  # What the skeleton has made is filled in.
        language = "c" if path.endswith(".c") else "python"
        (copy / path).write_text(block(language, first_lines))
    names = copy / "preload/span/semconv.h"
    last = '    X(HTTP_ROUTE, "http.route")'
    line = block("c", "    X(JINJA2")
    names.write_text(re.sub(rf"(?m)^{re.escape(last)}.*\n", rf"\g<0>{line}", names.read_text()))
    with (copy / "tests/e2e/apps/uses.py").open("a") as uses:
        uses.write("\n\n" + block("python", "def jinja2()"))
    built = called(copy, "make", "-s", "-j2", "CFLAGS=-O1")
    assert built.returncode == 0, built.stdout
    docs = called(copy, "make", "-s", "docs", "CFLAGS=-O1")
    assert docs.returncode == 0, docs.stdout
    return copy


# The page


def test_the_test_of_the_page_passes(extended: Path) -> None:
    done = run_tests(extended, "tests/e2e/test_jinja2.py")
    assert re.search(r"^9 passed", done.stdout, re.MULTILINE), done.stdout


def test_the_library_of_the_page_stands_down_and_is_documented(extended: Path) -> None:
    files = ["tests/e2e/test_stand_down.py", "tests/e2e/test_libraries_page.py"]
    done = run_tests(extended, *files, "-k", "jinja2 or up_to_date")
    assert re.search(r"^8 passed", done.stdout, re.MULTILINE), done.stdout


# make new-instrumentor


def test_a_skeleton_is_in_the_list_at_its_place(extended: Path) -> None:
    text = (extended / HEADER).read_text()
    define = re.search(r"#define FAA_INSTRUMENTORS\(X\)((?:.*\\\n)+.*)\n", text)
    assert define
    names = re.findall(r"X\((\w+)\)", define[1])
    old = re.findall(r"(?m)^    X\((\w+)\)", (TOP / HEADER).read_text())
    assert names == sorted([*old, "jinja2", "sketches"])
    continued = define[0].splitlines()[:-1]
    assert {len(line) for line in continued} == {100}


def test_a_skeleton_passes_its_own_test(extended: Path) -> None:
    done = run_tests(extended, "tests/e2e/test_sketches.py")
    assert re.search(r"^2 passed", done.stdout, re.MULTILINE), done.stdout


def test_a_skeleton_whose_function_is_not_there_says_so(extended: Path) -> None:
    library = extended / "tests/e2e/apps/sketches.py"
    library.write_text(LIBRARY.replace("draw", "paint"))
    done = run_tests(extended, "tests/e2e/test_sketches.py")
    library.write_text(LIBRARY)
    assert re.search(r"^2 failed", done.stdout, re.MULTILINE), done.stdout
    assert "sketches:draw is not there, or no function" in done.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "usage: make new-instrumentor NAME="),
        ("NAME=x", "usage: make new-instrumentor NAME="),
        ("MODULE=x", "usage: make new-instrumentor NAME="),
        ("NAME=Upper MODULE=x", "NAME=Upper: lower-case"),
        ("NAME=1x MODULE=x", "NAME=1x: "),
        ("NAME=a--b MODULE=x", "NAME=a--b: "),
        ("NAME=../x MODULE=x", r"NAME=\.\./x: "),
        ("""NAME="a'b" MODULE=x""", "NAME=a'b: "),
        ("NAME='a\";id' MODULE=x", 'NAME=a";id: '),
        ("NAME=x MODULE=x..y", r"MODULE=x\.\.y is not the name of a Python module"),
        ("NAME=x MODULE=x.", "MODULE=x. is not"),
        ("NAME=x MODULE='x y'", "MODULE=x y is not"),
        ("NAME=x MODULE=x FUNCTION='f()'", r"FUNCTION=f\(\): "),
        ("NAME=requests MODULE=requests", r"preload/instrumentors/requests\.c is there already"),
        ("NAME=asgi MODULE=asgi", r"preload/instrumentors/asgi\.c is there already"),
        ("NAME=sql MODULE=sql", r"tests/e2e/apps/sql_cases\.py is there already"),
        ("NAME=server MODULE=server", r"tests/e2e/apps/server_cases\.py is there already"),
    ],
)
def test_bad_names_and_files_that_are_there_are_refused(
    copy: Path, words: str, complaint: str
) -> None:
    def state() -> tuple[str, list[str]]:
        return (copy / HEADER).read_text(), sorted(str(path) for path in copy.rglob("*.[chp]*"))

    before = state()
    done = called(copy, "make", "-s", "new-instrumentor", *shlex.split(words))
    assert done.returncode == 2
    line = done.stdout.splitlines()[0]
    assert re.match(f"new-instrumentor: {complaint}", line), done.stdout
    assert state() == before
