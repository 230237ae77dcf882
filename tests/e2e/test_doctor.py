# SPDX-License-Identifier: MIT
"""The doctor and the command: which interpreter runs, whether the agent gets into it, what it
traces there, and who else wants to."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.deadline import scaled
from harness.doctor import Diagnosis, diagnose, start, strict
from harness.process import TOP, Runner

# What the collector says is told elsewhere.
QUIET = {"OTEL_TRACES_EXPORTER": "console"}
SYSTEM = "/usr/bin/python3"
SETUP = TOP / "tests" / "setup" / "interpreter"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives files away")

# Other interpreters are fetched once.
pytestmark = pytest.mark.timeout(scaled(600))


def script(path: Path, text: str) -> Path:
    """Writes an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def compiled(path: Path, source: str, *flags: str) -> Path:
    """Compiles C; returns the program."""
    command = ["cc", "-x", "c", "-", "-x", "none", "-o", path, *flags]
    subprocess.run(command, input=source, text=True, check=True, timeout=scaled(60))
    return path


def failed(found: Diagnosis, check: str, summary: str, advice: str) -> None:
    """Asserts that this alone is wrong, and is told with these words."""
    assert (found.status, found.problems()) == (1, {check}), found.text
    (finding,) = (one for one in found.all(check) if one["status"] == "problem")
    assert summary in finding["summary"], finding
    assert advice in (finding["advice"] or ""), finding


# Interpreters


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn"])
def test_scripts_of_an_environment_are_followed(run: Runner, name: str) -> None:
    folder = Path(sys.executable).parent
    env = QUIET | {"PATH": f"{folder}:{os.environ['PATH']}"}
    found = diagnose(run, name, "app:app", env=env)
    assert found.status == 0, found.text
    facts = found.one("command.found", "ok")["facts"]
    assert facts["path"] == str(folder / name)
    assert Path(facts["program"]).resolve() == Path(sys.executable).resolve()
    assert f"ok {folder / name} is a script of {facts['program']}" in found.text
    version = "%d.%d.%d" % sys.version_info[:3]
    assert f"CPython {version} (libpython built in, glibc) in the virtual environment" in found.text
    assert found.one("trial.start", "ok")["facts"] == {"road": "the audit hook"}
    for library in ("fastapi", "starlette", "uvicorn", "sqlalchemy", "requests"):
        told = found.library(library)
        assert (told["state"], told["is_tested_version"]) == ("instrumented", True), told
        summary = found.one("trial.libraries", "ok")["summary"]
        assert f"{told['library']} {told['version']}" in summary


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.14"])
def test_other_interpreters_are_known(run: Runner, version: str) -> None:
    made = subprocess.run([SETUP, version], check=True, stdout=subprocess.PIPE, text=True)
    python = made.stdout.strip()
    found = diagnose(run, python, "-m", "uvicorn", env=QUIET)
    failed(found, "trial.server", "no request will be traced", "environment of the application?")
    facts = found.one("command.found", "ok")["facts"]
    needed = subprocess.check_output(["readelf", "-d", python], text=True)
    shared = "libpython3" in needed
    assert facts["linkage"] == ("shared" if shared else "static")
    assert facts["libc"] == "glibc"
    assert found.one("python.version", "ok")["facts"]["version"].startswith(f"{version}.")
    assert found.one("trial.start", "ok")["facts"] == {"road": "the audit hook"}
    assert found.library("fastapi")["state"] == "absent"


def test_runners_are_looked_behind(run: Runner) -> None:
    words = ["env", "-u", "A", "B=c", "nice", "-n", "5", sys.executable, "-m", "uvicorn"]
    found = diagnose(run, *words, env=QUIET)
    assert found.status == 0, found.text
    assert f"note env is not Python: this is about {sys.executable}, which follows it" in found.text


def test_no_command_leaves_the_interpreter_out(run: Runner) -> None:
    found = diagnose(run, env=QUIET)
    assert found.status == 0
    assert found.report["command"] is None
    assert "no command was given" in found.one("command.found", "note")["summary"]
    assert found.all("python.version") == found.report["libraries"] == []


def test_a_program_that_embeds_python(run: Runner, tmp_path: Path) -> None:
    source = "void Py_Initialize(void); int main(void) { Py_Initialize(); return 0; }"
    libdir, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    libs = shlex.split(sysconfig.get_config_var("LIBS") or "")
    flags = [f"-L{libdir}", f"-lpython{version}", f"-Wl,-rpath,{libdir}", *libs]
    host = compiled(tmp_path / "host", source, *flags)
    found = diagnose(run, host, env=QUIET)
    assert found.status == 0, found.text
    road = found.one("trial.road", "warning")
    assert "embeds Python" in road["summary"] and "--debug" in road["advice"]
    assert road["facts"] == {"road": "symbols"}


IMPOSTOR = (
    "#include <stdio.h>\n#include <unistd.h>\n"
    "int Py_BytesMain(void) {{ {} }}\nint main(void) {{ return Py_BytesMain(); }}\n"
)


def test_an_interpreter_that_does_not_work(run: Runner, tmp_path: Path) -> None:
    source = IMPOSTOR.format('fputs("no encodings\\n", stderr); return 1;')
    python = compiled(tmp_path / "python", source, "-rdynamic")
    found = diagnose(run, python, env=QUIET)
    failed(found, "python.answer", "failed: no encodings", "work by itself")


def test_an_interpreter_that_does_not_end(run: Runner, tmp_path: Path) -> None:
    python = compiled(tmp_path / "python", IMPOSTOR.format("pause(); return 0;"), "-rdynamic")
    process = start(run, ["doctor", "--json", python], env=QUIET)
    assert process.status == 1
    findings = strict(process.stdout)["findings"]
    (problem,) = (one for one in findings if one["status"] == "problem")
    assert problem["check"] == "python.answer"
    assert "did not end within 15 seconds" in problem["summary"]


def stand_in(path: Path, version: str, implementation: str, more: str = "") -> Path:
    """Makes a program that answers as an interpreter which is not here would."""
    answer = f"version\\t{version}\\nimplementation\\t{implementation}\\nprefix\\t/x\\n{more}"
    source = IMPOSTOR.format(f'fputs("{answer}end\\n", stdout); return 0;')
    return compiled(path, source, "-rdynamic")


@pytest.mark.parametrize(
    "version, implementation, words",
    [
        ("3.8.20", "cpython", "CPython 3.8.20"),
        ("3.11.13", "pypy", "pypy 3.11.13"),
    ],
)
def test_interpreters_that_are_not_traced(
    run: Runner, tmp_path: Path, version: str, implementation: str, words: str
) -> None:
    python = stand_in(tmp_path / "python", version, implementation)
    failed(diagnose(run, python, env=QUIET), "python.version", words, "CPython 3.9 or newer")


def test_a_free_threaded_interpreter(run: Runner, tmp_path: Path) -> None:
    python = stand_in(tmp_path / "python", "3.14.1", "cpython", "free_threaded\\t1\\n")
    found = diagnose(run, python, env=QUIET)
    assert found.one("python.version", "ok")["facts"]["free_threaded"] == "true"
    assert "CPython 3.14.1 free-threaded (" in found.text
    # The agent does not start in what only says that it is Python.
    failed(found, "trial.start", "does not start in this interpreter: nothing", "LD_DEBUG")


def test_an_interpreter_that_is_too_new_to_be_tested(run: Runner, tmp_path: Path) -> None:
    python = stand_in(tmp_path / "python", "3.99.0", "cpython")
    warning = diagnose(run, python, env=QUIET).one("python.version", "warning")
    assert "is the newest that is tested" in warning["advice"]


def test_another_libc_is_noticed(run: Runner, tmp_path: Path) -> None:
    flags = ["-rdynamic", "-Wl,--dynamic-linker=/nowhere/ld-musl-x86_64.so.1"]
    python = compiled(tmp_path / "python", IMPOSTOR.format("return 0;"), *flags)
    found = diagnose(run, python, env=QUIET)
    assert found.one("command.found", "ok")["facts"]["libc"] == "musl"
    failed(found, "python.answer", "No such file or directory", "work by itself")


# Commands into which nothing can be preloaded, or of which nobody knows


def test_a_command_that_is_not_there(run: Runner) -> None:
    found = diagnose(run, "uvicorn-of-nobody", env=QUIET)
    failed(found, "command.found", "uvicorn-of-nobody: not found in PATH", "virtual environment")


def test_a_script_whose_environment_is_gone(run: Runner, tmp_path: Path) -> None:
    uvicorn = script(tmp_path / "uvicorn", "#!/gone/venv/bin/python\n")
    found = diagnose(run, uvicorn, env=QUIET)
    failed(found, "command.found", "/gone/venv/bin/python: no such file", f"line of {uvicorn}")


def test_a_file_that_may_not_be_run(run: Runner, tmp_path: Path) -> None:
    path = script(tmp_path / "uvicorn", "#!/bin/sh\n")
    path.chmod(0o644)
    found = diagnose(run, path, env=QUIET)
    failed(found, "command.found", "cannot be run: Permission denied", "permissions")


def test_a_shell_script(run: Runner, tmp_path: Path) -> None:
    path = script(tmp_path / "start.sh", "#!/bin/sh\nexec uvicorn app:app\n")
    found = diagnose(run, path, env=QUIET)
    failed(found, "command.found", "is a shell script", "the command that the script ends in")


def test_scripts_that_run_one_another(run: Runner, tmp_path: Path) -> None:
    path = script(tmp_path / "loop", f"#!{tmp_path}/loop\n")
    failed(diagnose(run, path, env=QUIET), "command.found", "without an end", "")


def test_a_program_without_python(run: Runner) -> None:
    found = diagnose(run, "sleep", "1", env=QUIET)
    failed(found, "command.found", "is no Python", "give doctor the command that it starts")


def test_a_static_program(run: Runner, tmp_path: Path) -> None:
    program = compiled(tmp_path / "static", "int main(void) { return 0; }", "-static")
    found = diagnose(run, program, env=QUIET)
    failed(found, "command.preload", "is statically linked", "linked dynamically")


def test_a_program_for_another_processor(run: Runner, tmp_path: Path) -> None:
    program = tmp_path / "foreign"
    image = bytearray(Path("/bin/true").read_bytes())
    image[18] ^= 0x7F  # e_machine
    program.write_bytes(image)
    program.chmod(0o755)
    found = diagnose(run, program, env=QUIET)
    failed(found, "command.preload", "for another processor", "built for it")


@needs_root
@pytest.mark.parametrize("mode, words", [(0o4755, "is set-user-ID"), (0o2755, "is set-group-ID")])
def test_a_privileged_program(run: Runner, tmp_path: Path, mode: int, words: str) -> None:
    program = Path(shutil.copy(os.path.realpath(SYSTEM), tmp_path / "python"))
    os.chown(program, 1, 1)
    program.chmod(mode)
    found = diagnose(run, program, env=QUIET)
    failed(found, "command.preload", words, "in front of the Python command")


def test_what_cleans_the_environment(run: Runner, tmp_path: Path) -> None:
    sudo = compiled(tmp_path / "sudo", "int main(void) { return 0; }")
    found = diagnose(run, sudo, sys.executable, env=QUIET)
    failed(found, "command.preload", "gives its command another environment", "sudo fastapi-auto-")


# Libraries


def package(folder: Path, name: str, version: str, **modules: str) -> None:
    """Makes a package that is installed, as far as one can see."""
    for module, text in {"__init__": "", **modules}.items():
        script(folder / name / f"{module}.py", text)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    script(folder / f"{name}-{version}.dist-info" / "METADATA", metadata)


def test_a_library_of_another_shape(run: Runner, tmp_path: Path) -> None:
    package(tmp_path, "starlette", "99.1", applications="x = 1")
    found = diagnose(run, SYSTEM, env=QUIET | {"PYTHONPATH": str(tmp_path)})
    assert found.problems() == {"trial.server"}
    told = found.library("starlette")
    assert (told["state"], told["version"]) == ("unknown shape", "99.1")
    assert told["is_tested_version"] is False
    (warning,) = (one for one in found.all("trial.library") if one["status"] == "warning")
    assert "Starlette 99.1 is not traced: its shape is not one that is known" in warning["summary"]
    assert warning["advice"] == f"Tested are the versions {told['tested_versions']}"


def test_a_library_that_cannot_be_imported(run: Runner, tmp_path: Path) -> None:
    package(tmp_path, "fastapi", "0.120.0", applications="raise RuntimeError('no \\x1b[31m')")
    found = diagnose(run, SYSTEM, env=QUIET | {"PYTHONPATH": str(tmp_path)})
    told = found.library("fastapi")
    assert told["state"] == "broken"
    assert told["reason"].startswith("RuntimeError: no ?[31m")
    assert "FastAPI 0.120.0 cannot be imported: RuntimeError" in found.text


def test_a_library_that_ends_the_interpreter(run: Runner, tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    package(tmp_path, "fastapi", "0.120.0", applications=code)
    found = diagnose(run, SYSTEM, env=QUIET | {"PYTHONPATH": str(tmp_path)})
    assert found.library("fastapi")["state"] == "not tried"
    assert found.problems() == {"trial.end", "trial.server"}
    assert "ended by signal 11" in found.one("trial.end", "problem")["summary"]


def test_a_library_that_is_turned_off(run: Runner) -> None:
    env = QUIET | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "requests,fastapi"}
    found = diagnose(run, sys.executable, env=env)
    assert found.status == 0, found.text
    assert found.library("requests")["state"] == "disabled"
    assert found.library("starlette")["state"] == "instrumented"
    assert "is not traced: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names it" in found.text


def test_all_libraries_turned_off(run: Runner) -> None:
    env = QUIET | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}
    found = diagnose(run, sys.executable, env=env)
    assert found.problems() == {"trial.server"}


def test_the_application_is_not_imported(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("open('imported', 'w')")
    (tmp_path / "sitecustomize.py").write_text("open('imported', 'w')")
    (tmp_path / "fastapi.py").write_text("open('imported', 'w')")
    command = [Path(sys.executable).with_name("uvicorn"), "app:app"]
    assert diagnose(run, *command, env=QUIET, cwd=tmp_path).status == 0
    assert not (tmp_path / "imported").exists()


# Other agents


OPENTELEMETRY = "opentelemetry/instrumentation/auto_instrumentation"


@pytest.mark.parametrize(
    "env, tool, status",
    [
        ({"PYTHONPATH": f"/x/{OPENTELEMETRY}:/y"}, "OpenTelemetry's auto", "problem"),
        ({"PYTHONPATH": "/x/ddtrace/bootstrap"}, "Datadog's tracer", "problem"),
        ({"PYTHONPATH": "/x/newrelic/bootstrap"}, "New Relic", "warning"),
        ({"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}, "FastAPI's own", "warning"),
        ({"SENTRY_TRACES_SAMPLE_RATE": "0.5"}, "Sentry", "warning"),
    ],
)
def test_other_agents_are_noticed(run: Runner, env: dict[str, str], tool: str, status: str) -> None:
    found = diagnose(run, env=QUIET | env)
    finding = found.one("others.agent", status)
    assert finding["facts"]["tool"].startswith(tool)
    assert next(iter(env)) in finding["summary"] and finding["advice"]
    assert found.status == (1 if status == "problem" else 0)


@pytest.mark.parametrize("env", [{"FASTAPI_OTEL_AUTO_CONFIGURE": "false"}, {"PYTHONPATH": "/x"}])
def test_what_is_no_other_agent(run: Runner, env: dict[str, str]) -> None:
    diagnose(run, env=QUIET | env).one("others.agent", "ok")


def test_a_launcher_of_another_agent(run: Runner, tmp_path: Path) -> None:
    ddtrace = script(tmp_path / "ddtrace-run", f"#!{sys.executable}\n")
    found = diagnose(run, ddtrace, "uvicorn", env=QUIET)
    failed(found, "others.agent", "Datadog's tracer is there (in the command)", "ddtrace-run")


@pytest.mark.parametrize("name", ["libjemalloc.so.2", "liboneagentproc.so"])
def test_other_preloads_are_told(run: Runner, tmp_path: Path, name: str) -> None:
    library = str(compiled(tmp_path / name, "int nothing;", "-shared"))
    found = diagnose(run, sys.executable, env=QUIET | {"LD_PRELOAD": library})
    assert found.status == 0, found.text
    assert found.one("others.preload", "note")["facts"] == {"preload": library}
    if name.startswith("libone"):
        assert "Dynatrace" in found.one("others.agent", "warning")["summary"]


# The installation


@pytest.fixture
def installed(build: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the build to a folder; returns the launcher there."""

    def copy(name: str = "here") -> Path:
        for part in ("bin", "lib", "libexec"):
            shutil.copytree(build / part, tmp_path / name / part)
        return tmp_path / name / "bin" / "fastapi-auto-agent"

    return copy


def test_a_whole_installation(run: Runner, installed: Callable[..., Path]) -> None:
    launcher = installed()
    found = diagnose(run, sys.executable, env=QUIET, launcher=launcher)
    assert found.status == 0, found.text
    facts = found.one("installation.files", "ok")["facts"]
    assert facts["library"] == str(launcher.parents[1] / "lib" / "libfaa.so")
    assert "libcurl.so.4" in found.one("installation.libraries", "ok")["summary"]


@pytest.mark.parametrize("name", ["libfaa.so", "libfaa-agent.so"])
def test_a_missing_file(run: Runner, installed: Callable[..., Path], name: str) -> None:
    launcher = installed()
    (launcher.parents[1] / "lib" / name).unlink()
    found = diagnose(run, sys.executable, env=QUIET, launcher=launcher)
    assert found.problems() == {"installation.files", "collector.probe"}
    assert "libfaa.so and libfaa-agent.so are not both in" in found.text
    assert "Install the agent again" in found.text


def test_a_file_that_was_cut(run: Runner, installed: Callable[..., Path]) -> None:
    launcher = installed()
    agent = launcher.parents[1] / "lib" / "libfaa-agent.so"
    os.truncate(agent, agent.stat().st_size // 2)
    found = diagnose(run, sys.executable, env=QUIET, launcher=launcher)
    assert found.problems() == {"installation.files", "trial.start"}
    assert f"{agent} cannot be used: it is not whole" in found.text


def test_a_folder_without_a_preload(run: Runner, installed: Callable[..., Path]) -> None:
    found = diagnose(run, sys.executable, env=QUIET, launcher=installed("the agent"))
    failed(found, "installation.files", "cannot be preloaded", "a folder without them")


@pytest.mark.parametrize("name", ["guard", "probe"])
def test_a_missing_program(run: Runner, installed: Callable[..., Path], name: str) -> None:
    launcher = installed()
    (launcher.parents[1] / "libexec" / f"fastapi-auto-agent-{name}").unlink()
    found = diagnose(run, env=QUIET, launcher=launcher)
    status = "note" if name == "guard" else "problem"
    assert f"fastapi-auto-agent-{name}" in found.one("installation.programs", status)["summary"]
    if name == "guard":
        assert found.status == 0
        found = diagnose(run, env=QUIET, launcher=launcher, options=["--guard"])
        found.one("installation.programs", "problem")
    assert found.status == 1


def test_a_library_of_the_agent_that_is_broken(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "libcurl.so.4").write_text("no library")
    env = QUIET | {"LD_LIBRARY_PATH": str(tmp_path)}
    found = diagnose(run, sys.executable, env=env)
    assert found.problems() == {"installation.libraries", "trial.start", "collector.probe"}
    problem = found.one("installation.libraries", "problem")
    assert problem["summary"].startswith("libcurl.so.4 cannot be loaded: ")
    assert "libcurl4 (Debian" in problem["advice"]
    start_problem = found.one("trial.start", "problem")
    assert "cannot load the agent" in start_problem["summary"]
    assert "libcurl.so.4" in start_problem["summary"]
