# SPDX-License-Identifier: MIT
"""make install, make uninstall, and what lies there then."""

import re
import subprocess
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.process import TOP, Runner
from harness.receiver import HttpReceiver

TREE = {
    "bin/fastapi-auto-agent": 0o755,
    "lib/libfaa.so": 0o755,
    "lib/libfaa-agent.so": 0o755,
    "libexec/fastapi-auto-agent-guard": 0o755,
    "libexec/fastapi-auto-agent-probe": 0o755,
    "share/man/man1/fastapi-auto-agent.1": 0o644,
}


def make(build: Path, *words: str) -> str:
    """Runs make in the source tree, and builds nothing."""
    command = ["make", "-s", "-C", str(TOP), "-o", "all", f"BUILD={build}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> dict[str, int]:
    """Returns the path and mode of each file below a folder."""
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o7777
        for path in folder.rglob("*")
        if not path.is_dir()
    }


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local", "/opt/faa"])
def test_install_and_uninstall(build: Path, tmp_path: Path, prefix: str) -> None:
    words = [f"DESTDIR={tmp_path}", f"PREFIX={prefix}"]
    make(build, "install", *words)
    top = prefix.lstrip("/")
    assert files(tmp_path) == {f"{top}/{name}": mode for name, mode in TREE.items()}
    for name in (name for name, mode in TREE.items() if mode == 0o755):
        assert (tmp_path / top / name).read_bytes() == (build / name).read_bytes()
    make(build, "install", *words)  # Over itself.
    foreign = tmp_path / top / "lib" / "other.so"
    foreign.write_text("")
    make(build, "uninstall", *words)
    assert list(files(tmp_path)) == [f"{top}/lib/other.so"]
    make(build, "uninstall", *words)  # When nothing is there.


def test_default_prefix_is_usr_local(build: Path, tmp_path: Path) -> None:
    make(build, "install", f"DESTDIR={tmp_path}")
    assert set(files(tmp_path)) == {f"usr/local/{name}" for name in TREE}


@pytest.fixture
def installed(build: Path, tmp_path: Path) -> Path:
    """An installation in a folder with an odd name."""
    make(build, "install", f"DESTDIR={tmp_path}", "PREFIX=/Läden")
    return tmp_path / "Läden"


def test_installed_launcher_works(
    installed: Path, tmp_path: Path, python: str, receiver: HttpReceiver
) -> None:
    run = Runner(tmp_path, installed, python)
    process = run.run([python, "selfcall.py", "3"], agent="launcher", env=receiver.env)
    assert (process.status, process.stdout, process.stderr) == (0, "served 3\n", "")
    assert len(receiver.spans) == 3


def test_installed_launcher_works_through_a_link(
    installed: Path, tmp_path: Path, run: Runner, receiver: HttpReceiver
) -> None:
    link = tmp_path / "faa"
    link.symlink_to(installed / "bin" / "fastapi-auto-agent")
    command = [link, "--", run.python, "selfcall.py", "3"]
    process = run.run(command, agent="none", env=receiver.env)
    assert (process.status, process.stdout, process.stderr) == (0, "served 3\n", "")
    assert len(receiver.spans) == 3


def test_bare_name_is_found_where_the_dynamic_linker_looks(
    installed: Path, run: Runner, receiver: HttpReceiver
) -> None:
    env = {"LD_PRELOAD": "libfaa.so", "LD_LIBRARY_PATH": str(installed / "lib")} | receiver.env
    process = run.run([run.python, "selfcall.py", "3"], agent="none", env=env)
    assert (process.status, process.stdout, process.stderr) == (0, "served 3\n", "")
    assert len(receiver.spans) == 3


def test_missing_agent_is_said_and_harms_nobody(
    installed: Path, run: Runner, receiver: HttpReceiver
) -> None:
    (installed / "lib" / "libfaa-agent.so").unlink()
    env = {"LD_PRELOAD": str(installed / "lib" / "libfaa.so")} | receiver.env
    process = run.run([run.python, "selfcall.py", "3"], agent="none", env=env)
    assert (process.status, process.stdout) == (0, "served 3\n")
    (line,) = process.stderr.splitlines()
    assert "cannot load the agent" in line and "libfaa-agent.so" in line
    assert run.run(["/bin/true"], agent="none", env=env).stderr == ""


def test_build_has_the_shape_of_an_installation(build: Path) -> None:
    for name in (name for name, mode in TREE.items() if mode == 0o755):
        assert (build / name).stat().st_mode & 0o111


def test_help_lists_every_target_of_the_readme(build: Path) -> None:
    text = make(build, "help")
    listed = set(re.findall(r"^  ([a-z][a-z0-9-]*) ", text, re.MULTILINE))
    code = r"(?:`|^    |&& )(?:sudo )?make ([a-z][a-z0-9-]*)"
    mentioned = set(re.findall(code, (TOP / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test", "install", "uninstall"} <= mentioned
    assert mentioned <= listed
    assert {"all", "test-unit", "test-e2e", "bench", "clean", "help"} <= listed
    assert all(re.fullmatch(r"  [a-z0-9-]+ +\S.*", line) for line in text.splitlines())
