# SPDX-License-Identifier: MIT
"""libfaa.so in processes that have nothing to trace: they behave as if it were not there."""

import json
import os
import re
import shutil
import subprocess
import zipapp
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import scaled
from harness.process import Process, Runner
from harness.receiver import HttpReceiver
from harness.tree import assert_tree

GOLDEN = Path(__file__).parent / "golden" / "libfaa.symbols"
DEBUG = {"FAA_LOG_LEVEL": "debug"}
PLT = ("JMPREL", "PLTGOT", "PLTREL", "PLTRELSZ")  # Depends on -fno-plt.
COMPILERS_OWN = {"needs memcpy", "needs memset", "needs memmove", "needs memcmp", "needs strlen"}

# Everything that the agent could have changed in an interpreter which imports no traced library.
REPORT = """\
import os, sys
names = sorted(sys.modules)
environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
finders = [finder for finder in sys.meta_path if type(finder).__module__ != "faa"]
descriptors = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
threads = len(os.listdir("/proc/self/task"))
masks = [line for line in open("/proc/self/status") if line.startswith(("Sig", "Shd"))]
writes = [line for line in open("/proc/self/io") if line.startswith("syscw")]
loaded = sorted({line.split()[-1] for line in open("/proc/self/maps") if ".so" in line})
import gc, json
print(json.dumps({
    "names": names, "environment": environment,
    "finders": [repr(f).split(" at ")[0] for f in finders],
    "ours": [f"{type(f).__module__}.{type(f).__name__}" for f in sys.meta_path if f not in finders],
    "descriptors": descriptors, "threads": threads, "masks": masks, "writes": writes,
    "loaded": [os.path.basename(path) for path in loaded],
    "argv": sys.argv, "path": sys.path, "flags": repr(sys.flags), "hooks": len(sys.path_hooks),
    "callbacks": len(gc.callbacks), "trace": repr((sys.gettrace(), sys.getprofile())),
    "builtins": sorted(vars(__builtins__) if hasattr(__builtins__, "__dict__") else __builtins__),
}))
"""


def compiled(directory: Path, name: str, source: str, *flags: str) -> Path:
    """Compiles C; returns the binary."""
    code, binary = directory / f"{name}.c", directory / name
    code.write_text(source)
    subprocess.run(["cc", "-o", binary, code, *flags], check=True, timeout=scaled(60))
    return binary


def same(run: Runner, command: Sequence[str | Path], **options: Any) -> tuple[Process, Process]:
    """Runs a command without and with the preload; asserts that nobody can tell the difference."""
    plain = run.run(command, agent="none", **options)
    traced = run.run(command, agent="preload", **options)
    for process in (plain, traced):
        assert process.status is not None
    seen = [(process.status, process.stdout, process.stderr) for process in (plain, traced)]
    assert seen[0] == seen[1]
    return plain, traced


# The library itself


def described(library: Path) -> list[str]:
    """Returns what the golden file lists, of this library."""
    options = ["--wide", "--dyn-syms", "--dynamic", "--program-headers"]
    text = subprocess.run(
        ["readelf", *options, library], check=True, capture_output=True, text=True
    ).stdout
    lines, addresses = [], []
    for entry in re.finditer(r"^ +\d+: \w+ +\d+ \w+ +(\w+) +\w+ +(\w+) (\S+)", text, re.MULTILINE):
        bind, index, name = entry.groups()
        weak = " W" if bind == "WEAK" else ""
        lines.append(f"needs {name}{weak}" if index == "UND" else f"exports {name}{weak}")
    for entry in re.finditer(r"^ 0x\w+ \((\w+)\) +(.*)$", text, re.MULTILINE):
        tag, value = entry.groups()
        if re.fullmatch(r"0x\w+|\d+ \(bytes\)|\d+|RELA", value):
            addresses += [tag] if tag not in ("NULL", *PLT) else []
        else:
            lines.append(f"dynamic {tag} {re.split('[][ ]+', value.rstrip(']'))[-1]}")
    segments = re.findall(r"^  ([A-Z_]+) +0x\w+ 0x\w+ 0x\w+ 0x\w+ 0x\w+ (.{3})", text, re.MULTILINE)
    lines.append(f"dynamic addresses: {' '.join(sorted(addresses))}")
    lines.append(f"segments {' '.join(sorted({name for name, _ in segments}))}")
    lines += [f"stack {flags.strip()}" for name, flags in segments if name == "GNU_STACK"]
    return lines


def test_library_needs_and_exports_what_the_golden_file_says(build: Path) -> None:
    lines = [line for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    have = described(build / "lib" / "libfaa.so")
    # Which of these appear depends on the compiler and its options.
    assert sorted(set(have) - COMPILERS_OWN) == sorted(set(lines) - COMPILERS_OWN)
    assert len(set(have)) == len(have)


# Foreign programs

JOBS = """
set -m
sleep 60 &
kill -STOP %1
until grep -q 'State:.T' /proc/$!/status; do sleep 0.01; done
jobs
kill -CONT %1
kill -TERM %1
wait %1
echo "status $?"
trap 'echo trapped' USR1
kill -USR1 $$
{ (kill -KILL $BASHPID); } 2>/dev/null
echo "status $?"
kill -0 0 && kill -0 $$ && echo alive
kill -TERM 0 2>&1 || true
echo "not reached"
"""

FOREIGN = {
    "true": ["/bin/true"],
    "false": ["/bin/false"],
    "echo": ["/bin/echo", "a", "\xe9", ""],
    "sh": ["sh", "-c", "echo out; echo err >&2; (exit 3); echo $?; exit 7"],
    "sh-kills-itself": ["sh", "-c", "kill -TERM $$"],
    "sh-environment": ["sh", "-c", "unset LD_PRELOAD; env | grep -v ^_= | sort"],
    "sh-descriptors": ["sh", "-c", "echo /proc/self/fd/*; ls /proc/self/fd"],
    "pipeline": ["sh", "-c", "seq 100000 | head -1; yes | head -2; cat /proc/self/stat | wc -w"],
    "bash-jobs": ["bash", "-c", JOBS],
    "perl": ["perl", "-e", 'fork or do { kill 9, $$ }; wait; print $?, "\\n"; kill "INT", $$'],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_program_is_the_same(run: Runner, name: str) -> None:
    command = FOREIGN[name]
    if not shutil.which(command[0]):
        assert command[0] == "perl", "only perl may be missing on a small system"
        pytest.skip("no perl here")
    same(run, command, env=DEBUG)


def test_static_program_is_the_same(run: Runner, tmp_path: Path) -> None:
    source = '#include <stdio.h>\n#include <signal.h>\nint main(void) { puts("x"); raise(15); }'
    plain, _ = same(run, [compiled(tmp_path, "static", source, "-static")], env=DEBUG)
    assert plain.status == -15


CALLS = r"""
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_status(void (*end)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        end();
        _exit(99);
    }
    waitpid(child, &status, 0);
    return status;
}

static volatile sig_atomic_t got;
static void on_signal(int sig) { got = sig; }
static void end_exit(void) { exit(5); }
static void end_fast(void) { _exit(6); }
static void end_Fast(void) { _Exit(7); }
static void end_raise(void) { raise(SIGTERM); }
static void end_kill(void) { kill(getpid(), SIGINT); }
static void end_group(void) { setpgid(0, 0); kill(0, SIGHUP); }
static void end_own(void) { setpgid(0, 0); kill(-getpgrp(), SIGHUP); }
static void end_killpg(void) { setpgid(0, 0); killpg(0, SIGUSR2); }
static void end_thread(void) { pthread_kill(pthread_self(), SIGUSR1); }
static void end_abort(void) { abort(); }
static void end_stop(void) { raise(SIGCHLD); raise(0); _exit(8); }
static void end_vfork(void) { if (vfork() == 0) _exit(3); _exit(9); }

int main(void)
{
    const char *error = dlerror();
    printf("%s\n", error ? error : "no error yet");
    void (*ends[])(void) = {end_exit, end_fast, end_Fast, end_raise, end_kill, end_group, end_abort,
                            end_own, end_killpg, end_thread, end_stop, end_vfork};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        printf("%zu: %x\n", i, wait_status(ends[i]));
    signal(SIGUSR1, on_signal);
    errno = 77;
    int ok = raise(SIGUSR1);
    printf("raise %d %d %d\n", ok, got, errno);
    ok = raise(12345);
    printf("raise %d %s\n", ok, strerror(errno));
    ok = kill(getpid(), -1);
    printf("kill %d %s\n", ok, strerror(errno));
    ok = kill(0x3fffffff, 0);
    printf("kill %d %s\n", ok, strerror(errno));
    ok = kill(-0x3fffffff, SIGTERM);
    printf("kill %d %s\n", ok, strerror(errno));
    ok = killpg(-5, SIGTERM);
    printf("killpg %d %s\n", ok, strerror(errno));
    ok = killpg(0x3fffffff, SIGTERM);
    printf("killpg %d %s\n", ok, strerror(errno));
    printf("pthread_kill %d\n", pthread_kill(pthread_self(), 12345));
    errno = 0;
    ok = kill(getpid(), SIGUSR1);
    printf("kill %d %d\n", ok, errno);
    return 0;
}
"""


@pytest.mark.parametrize("flags", [[], ["-O2"], ["-fno-plt", "-no-pie"]], ids=str)
def test_interposed_calls_keep_results_and_errno(
    run: Runner, tmp_path: Path, flags: list[str]
) -> None:
    same(run, [compiled(tmp_path, "calls", CALLS, *flags)])


def test_foreign_program_makes_no_other_calls(run: Runner, tmp_path: Path) -> None:
    """But for the dynamic linker's own, which maps the library."""
    if not shutil.which("strace"):
        pytest.skip("no strace here")
    counts = []
    for agent in ("none", "preload"):
        log = tmp_path / f"strace-{agent}"
        shell = ["strace", "-f", "-qq", "-c", "-U", "calls,name", "-o", log]
        preload = f"LD_PRELOAD={run.build / 'lib/libfaa.so' if agent == 'preload' else ''}"
        assert run.run([*shell, "-E", preload, "/bin/true"], agent="none").status == 0
        rows = [line.split() for line in log.read_text().splitlines()[2:]]
        counts.append(
            {row[1]: int(row[0]) for row in rows if row[0].isdigit() and row[1] != "total"}
        )
    plain, traced = counts
    more = {name: traced[name] - plain.get(name, 0) for name in traced}
    grown = {name for name, count in more.items() if count}
    linker = {"openat", "read", "fstat", "newfstatat", "mmap", "mprotect", "close", "getcwd"}
    linker |= {"munmap", "access", "pread64"}
    assert grown <= linker, more
    assert set(plain) <= set(traced) | linker


# Python programs that import none of the libraries


def test_python_script_is_the_same_inside(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(REPORT)
    reports = []
    for agent in ("none", "preload"):
        process = run.run([run.python, tmp_path / "script.py", "a", "b"], agent=agent)
        assert (process.status, process.stderr) == (0, "")
        reports.append(json.loads(process.stdout))
    plain, traced = reports
    assert (plain.pop("ours"), traced.pop("ours")) == ([], ["faa.finder"])
    more = set(traced.pop("loaded")) - set(plain.pop("loaded"))
    assert {"libfaa.so", "libfaa-agent.so"} <= more
    assert traced == plain
    assert traced["threads"] == 1


# Every way to start a program. {} is the directory with the files of `programs`.
WAYS: dict[str, tuple[list[str], str]] = {
    "command": (["-c", "{program}"], ""),
    "module": (["-m", "program"], ""),
    "package": (["-m", "package"], ""),
    "script": (["{}/program.py"], ""),
    "compiled": (["{}/program.pyc"], ""),
    "stdin": ([], "{program}"),
    "dash": (["-", "x"], "{program}"),
    "folder": (["{}/folder"], ""),
    "zipapp": (["{}/app.pyz"], ""),
    "isolated": (["-I", "-S", "-E", "-c", "{program}"], ""),
    "isolated-script": (["-I", "-S", "-E", "-B", "{}/program.py"], ""),
    "optimised": (["-OO", "-X", "importtime", "-c", "{program}"], ""),
    "inspect": (["-i", "-c", "{program}"], "print('and more')\n"),
}
PROGRAM = """\
import sys, threading
print(sys.argv[1:], __name__, __doc__, len(threading.enumerate()))
print("error", file=sys.stderr)
sys.exit(9)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name in ("program.py", "package/__main__.py", "folder/__main__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(PROGRAM)
    zipapp.create_archive(folder / "folder", folder / "app.pyz")
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_python(run: Runner, programs: Path, tmp_path: Path, way: str) -> None:
    arguments, text = WAYS[way]
    code = f"import py_compile; py_compile.compile('program.py', '{programs}/program.pyc')"
    if way == "compiled":
        assert run.run([run.python, "-c", code], agent="none", cwd=programs).status == 0
    words = [word.replace("{program}", PROGRAM).replace("{}", str(programs)) for word in arguments]
    standard_input = tmp_path / "input"
    standard_input.write_text(text.replace("{program}", PROGRAM))
    command = ["sh", "-c", f'exec "$0" "$@" <{standard_input}', run.python, *words]
    plain = run.run(command, agent="none", cwd=programs)
    traced = run.run(command, env=DEBUG, cwd=programs)
    assert traced.status == plain.status == (0 if way == "inspect" else 9)
    assert (traced.stdout, "__main__") == (plain.stdout, re.findall("__main__", plain.stdout)[0])
    if way == "optimised":  # Its lines are times.
        modules = [re.findall(r"\| +(\S+)$", p.own_stderr, re.MULTILINE) for p in (plain, traced)]
        assert modules[0] == modules[1]
    else:
        assert traced.own_stderr == plain.stderr
    assert [line for line in traced.agent_lines if "found by the audit hook" in line]


def on_a_terminal(command: list[str], env: dict[str, str], lines: list[str]) -> tuple[int, str]:
    """Types lines, each when the prompt `% ` has come; returns status and what was seen."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    ) as child:
        os.close(theirs)
        seen = b""
        for line in lines:
            while not seen.endswith(b"% "):
                seen += os.read(ours, 4096)
            os.write(ours, line.encode() + b"\n")
            seen += b"|"
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                break  # EIO: the last one has closed the terminal.
            if not data:
                break
            seen += data
        status = child.wait(scaled(20))
    os.close(ours)
    return status, seen.decode()


TERMINALS = {
    "python": (["-i", "-q", "-c", "import sys; sys.ps1 = '% '"], ["1 + 1", "raise SystemExit(4)"]),
    "bash": (["--norc", "--noprofile", "-i"], ["echo $((1+1)); fg", "kill -KILL $$"]),
}


@pytest.mark.parametrize("name", TERMINALS)
def test_on_a_terminal(run: Runner, name: str) -> None:
    arguments, lines = TERMINALS[name]
    program = {"python": run.python, "bash": shutil.which("bash") or "bash"}[name]
    outcomes = []
    for preload in ({}, {"LD_PRELOAD": str(run.build / "lib" / "libfaa.so")}):
        extra = {"PS1": "% ", "TERM": "dumb", "PYTHON_BASIC_REPL": "1", **preload}
        outcomes.append(on_a_terminal([program, *arguments], run.environment(extra), lines))
    assert outcomes[0] == outcomes[1]
    assert "2\r\n" in outcomes[0][1]
    assert outcomes[0][0] == {"python": 4, "bash": -9}[name]


@pytest.mark.parametrize("words", [["--version"], ["list", "--format=json"], ["nonsense"]], ids=str)
def test_pip_is_the_same(run: Runner, words: list[str]) -> None:
    same(run, [run.python, "-m", "pip", "--disable-pip-version-check", *words])


# Standing down


def assert_untouched(process: Process, reason: str) -> None:
    """The process ran, has nothing of the agent in it, and one debug line says why."""
    assert process.status == 0, process.describe()
    assert json.loads(process.stdout)["ours"] == []
    assert len(process.agent_lines) == 1, process.stderr
    assert f"standing down: {reason}" in process.agent_lines[0]


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [
        ("OTEL_SDK_DISABLED", "true", True),
        ("OTEL_SDK_DISABLED", "TRUE", True),
        ("OTEL_SDK_DISABLED", "false", False),
        ("OTEL_SDK_DISABLED", "", False),
        ("FAA_DISABLED", "true", True),
        ("FAA_DISABLED", "", False),
    ],
)
def test_disabled_by_the_environment(run: Runner, name: str, value: str, off: bool) -> None:
    process = run.run([run.python, "-c", REPORT], env={name: value, **DEBUG})
    if off:
        assert_untouched(process, name)
    else:
        assert json.loads(process.stdout)["ours"] == ["faa.finder"]


def test_disabled_says_nothing_without_debug(run: Runner) -> None:
    process = run.run([run.python, "-c", REPORT], env={"OTEL_SDK_DISABLED": "true"})
    assert (process.status, process.stderr) == (0, "")


OTHER_TRACERS = {
    "opentelemetry.instrumentation.auto_instrumentation": "opentelemetry-instrument",
    "ddtrace.bootstrap.preload": "ddtrace-run",
    "ddtrace.auto": "import ddtrace.auto",
}


@pytest.mark.parametrize("module", OTHER_TRACERS)
def test_stands_down_beside_another_tracer(run: Runner, tmp_path: Path, module: str) -> None:
    """Each of them starts from a sitecustomize on PYTHONPATH."""
    folder = tmp_path / "site"
    for part in Path(module.replace(".", "/")).parents[:-1]:
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "__init__.py").touch()
    (folder / f"{module.replace('.', '/')}.py").touch()
    (folder / "sitecustomize.py").write_text(f"import {module}\n")
    process = run.run([run.python, "-c", REPORT], env={"PYTHONPATH": str(folder), **DEBUG})
    assert_untouched(process, module)


FAKE_SECURE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/auxv.h>
unsigned long getauxval(unsigned long type)
{
    unsigned long (*real)(unsigned long) =
        (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
    return type == AT_SECURE ? 1 : real(type);
}
"""


def test_privileged_program_is_untouched(run: Runner, tmp_path: Path) -> None:
    """AT_SECURE, by a library that says so: no line either, as the environment is a stranger's."""
    fake = compiled(tmp_path, "secure.so", FAKE_SECURE, "-shared", "-fPIC")
    process = run.run([run.python, "-c", REPORT], env={"LD_PRELOAD": str(fake), **DEBUG})
    assert (process.status, process.stderr) == (0, "")
    assert json.loads(process.stdout)["ours"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file set-user-ID")
def test_setuid_program_is_the_same(run: Runner, tmp_path: Path) -> None:
    """Run by nobody. Debian's own set-user-ID programs are of that kind."""
    source = "#include <stdio.h>\n#include <unistd.h>\n"
    source += 'int main(void) { printf("%d %d\\n", getuid() != 0, geteuid()); }'
    program = compiled(tmp_path, "privileged", source)
    program.chmod(0o4755)
    for part in program.parents[:3]:
        part.chmod(0o755)
    drop = "import os, sys; os.setuid(65534); os.execv(sys.argv[1], sys.argv[1:])"
    command = [run.python, "-I", "-c", drop, str(program)]
    plain = run.run(command, agent="none")
    traced = run.run(command)
    assert (traced.status, traced.stdout) == (plain.status, plain.stdout) == (0, "1 0\n")


# An interpreter that only looks like one

STAND_IN = r"""
#include <stdio.h>
#include <string.h>
typedef int hook(const char *, void *, void *);
static hook *kept;
static void *kept_data;
const char *Py_GetVersion(void) { return VERSION; }
int Py_IsInitialized(void) { return 1; }
#ifdef HOOKED
int PySys_AddAuditHook(hook *h, void *data) { kept = h; kept_data = data; return 0; }
#endif
void Py_Initialize(void) { puts("initialized"); }
int Py_RunMain(void) { puts("run"); return 3; }
void *PyImport_ImportModule(const char *name) { puts(name); return 0; }
int stand_in(void)
{
    if (kept)
        kept("cpython.run_command", 0, kept_data);
    Py_Initialize();
    PyImport_ImportModule("some.module");
    return Py_RunMain();
}
"""


@pytest.mark.parametrize("hooked", [[], ["-DHOOKED"]], ids=["no-hook", "hook"])
@pytest.mark.parametrize("version", ["2.7.18 (fake)", "3.8.20", "4.0", "", "x", "3.1", "3."])
def test_unknown_interpreter_is_left_alone(
    run: Runner, tmp_path: Path, version: str, hooked: list[str]
) -> None:
    """In the program itself, and in a library that the program links."""
    macro = f'-DVERSION="{version}"'
    flags = [*hooked, macro, "-fPIC"]
    main = "\nint main(void) { return stand_in(); }\n"
    alone = compiled(tmp_path, "alone", STAND_IN + main, "-rdynamic", *flags)
    library = compiled(tmp_path, "libstand.so", STAND_IN, "-shared", *flags)
    user = "int stand_in(void); void Py_Initialize(void); int main(void)"
    user += "{ Py_Initialize(); return stand_in(); }"
    linked = compiled(tmp_path, "linked", user, str(library))
    for program in (alone, linked):
        plain, _ = same(run, [program])
        assert plain.status == 3
        traced = run.run([program], env=DEBUG)
        assert (traced.status, traced.stdout) == (3, plain.stdout)
        reason = r"^.* faa debug: standing down: .*interpreter .*$"
        if program == linked or hooked:
            assert len(re.findall(reason, traced.stderr, re.MULTILINE)) == 1, traced.describe()


def test_symbols_without_an_interpreter_do_nothing(run: Runner, tmp_path: Path) -> None:
    """A program whose Python is not there finds weak symbols to be ours: they must not crash."""
    source = r"""
    #include <stdio.h>
    #pragma weak Py_IsInitialized
    int Py_IsInitialized(void);
    int main(void) { puts(Py_IsInitialized ? "python" : "no python"); return 0; }
    """
    same(run, [compiled(tmp_path, "weak", source)])


# Beside other preloads

OTHER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#define SAY(text) ((void)!write(2, text, sizeof(text) - 1))
void _exit(int status)
{
    SAY("other _exit\n");
    void (*next)(int) = (void (*)(int))dlsym(RTLD_NEXT, "_exit");
    next(status);
    __builtin_unreachable();
}
int raise(int sig)
{
    SAY("other raise\n");
    return ((int (*)(int))dlsym(RTLD_NEXT, "raise"))(sig);
}
"""
ENDS = {"os._exit(5)": 5, "signal.raise_signal(15)": -15, "sys.exit(6)": 6}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("other"), "other.so", OTHER, "-shared", "-fPIC")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_another_preload_gets_its_calls(run: Runner, other: Path, order: str, end: str) -> None:
    shim = run.build / "lib" / "libfaa.so"
    both = f"{other}:{shim}" if order == "before" else f"{shim}:{other}"
    command = [run.python, "-c", f"import os, signal, sys; {end}"]
    plain = run.run(command, agent="none", env={"LD_PRELOAD": str(other)})
    traced = run.run(command, agent="none", env={"LD_PRELOAD": both, **DEBUG})
    assert (plain.status, plain.stderr) == (traced.status, traced.own_stderr)
    assert traced.status == ENDS[end]
    assert [line for line in traced.agent_lines if "found by" in line]


SPAN = """\
import asyncio, sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
async def nothing(*message): pass
async def ping(request): return Response()
app = Starlette(routes=[Route("/ping", ping)])
scope = {"type": "http", "method": "GET", "path": "/ping", "headers": [], "query_string": b""}
asyncio.run(app(scope, nothing, nothing))
"""


def copy_of(run: Runner, tmp_path: Path, *names: str) -> Path:
    """A second installation with these files; returns its libfaa.so."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in names:
        shutil.copy(run.build / "lib" / name, folder)
    return folder / "libfaa.so"


@pytest.mark.parametrize("kind", ["copy", "symlink", "same"])
def test_library_twice_traces_once(
    run: Runner, receiver: HttpReceiver, tmp_path: Path, kind: str
) -> None:
    shim = run.build / "lib" / "libfaa.so"
    if kind == "copy":
        second = copy_of(run, tmp_path, "libfaa.so", "libfaa-agent.so")
    elif kind == "symlink":
        (tmp_path / "link").symlink_to(run.build / "lib")
        second = tmp_path / "link" / "libfaa.so"
    else:
        second = shim
    env = {**receiver.env, **DEBUG, "LD_PRELOAD": str(second)}
    process = run.run([run.python, "-c", SPAN], env=env)
    assert (process.status, process.own_stderr) == (0, ""), process.describe()
    assert_tree(receiver.spans, ("GET /ping", "SERVER"))
    copies = [line for line in process.agent_lines if "another copy of the agent" in line]
    assert len(copies) == (kind == "copy"), process.stderr


# A broken installation


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_text(path: Path) -> None:
    path.write_text("not a library\n" * 100)


def damage_cut(path: Path) -> None:
    os.truncate(path, 100_000)  # In the middle of what is mapped.


def damage_short(path: Path) -> None:
    os.truncate(path, 20)


def damage_machine(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\xf3\x00")


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damage_stranger(path: Path) -> None:
    compiled(path.parent, path.name, "int nothing;", "-shared")


def damage_missing(path: Path) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    name.removeprefix("damage_"): value
    for name, value in globals().items()
    if name.startswith("damage_")
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_agent_is_one_line(run: Runner, tmp_path: Path, damage: str) -> None:
    shim = copy_of(run, tmp_path, "libfaa.so", "libfaa-agent.so")
    DAMAGES[damage](shim.parent / "libfaa-agent.so")
    code = f"{REPORT}\nimport subprocess; subprocess.run(['true'], check=True)\nsys.exit(5)"
    process = run.run([run.python, "-c", code], agent="none", env={"LD_PRELOAD": str(shim)})
    assert process.status == 5, process.describe()
    assert json.loads(process.stdout)["ours"] == []
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    assert re.fullmatch(r".*faa warning: cannot load the agent: .*not traced", lines[0])


def test_command_with_a_missing_agent_is_silent(run: Runner, tmp_path: Path) -> None:
    shim = copy_of(run, tmp_path, "libfaa.so")
    process = run.run(["sh", "-c", "true; exit 3"], agent="none", env={"LD_PRELOAD": str(shim)})
    assert (process.status, process.stdout, process.stderr) == (3, "", "")
