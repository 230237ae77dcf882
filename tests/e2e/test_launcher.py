# SPDX-License-Identifier: MIT
"""Checks that fastapi-auto-agent becomes the command, prepares its environment, refuses misuse."""

import errno
import fcntl
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import termios

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FAA_BUILD") or TOP / "build").resolve()
LAUNCHER = BUILD / "bin" / "fastapi-auto-agent"
LIBRARY = BUILD / "lib" / "libfaa.so"

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
SERVICE = "OTEL_SERVICE_NAME"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
DEFAULTS = {SERVICE: "fastapi-application", ENDPOINT: "http://localhost:4317"}
HINT = "Try 'fastapi-auto-agent --help'."


def run(*args, env=None, launcher=LAUNCHER, **options):
    return subprocess.run(
        [launcher, *args], env=PATH | (env or {}), capture_output=True, timeout=30, **options
    )


def environment_of(*options, env=None, launcher=LAUNCHER):
    """The environment that a command gets, as bytes."""
    result = run(*options, "env", "-0", env=env, launcher=launcher)
    assert (result.returncode, result.stderr) == (0, b"")
    return dict(entry.split(b"=", 1) for entry in result.stdout.split(b"\0")[:-1])


def expected_environment(*changes):
    expected = dict(PATH)
    for change in changes:
        expected |= change
    return {os.fsencode(k): os.fsencode(v) for k, v in expected.items()}


# The environment


def test_defaults_are_set_and_nothing_else():
    assert environment_of() == expected_environment(DEFAULTS, {"LD_PRELOAD": str(LIBRARY)})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_chosen_protocol_keeps_its_own_port(name):
    chosen = {name: "http/protobuf"}
    expected = expected_environment(
        {SERVICE: DEFAULTS[SERVICE], "LD_PRELOAD": str(LIBRARY)}, chosen
    )
    assert environment_of(env=chosen) == expected
    assert environment_of("--jaeger-endpoint", "http://j:1", env=chosen) == expected | {
        ENDPOINT.encode(): b"http://j:1"
    }


@pytest.mark.parametrize(
    "options",
    [
        ["--service-name", "shop", "--jaeger-endpoint", "https://[::1]:14317/a", "--debug"],
        ["--debug", "--jaeger-endpoint=https://[::1]:14317/a", "--service-name=shop", "--"],
        ["--service-name=x", "--jaeger-endpoint=http://y", "--service-name=shop", "--debug"]
        + ["--debug", "--jaeger-endpoint=https://[::1]:14317/a"],
    ],
)
@pytest.mark.parametrize(
    "env",
    [
        {},
        {SERVICE: "env", ENDPOINT: "http://env", TRACES_ENDPOINT: "http://t", "FAA_LOG_LEVEL": "x"},
        {SERVICE: "", ENDPOINT: "", TRACES_ENDPOINT: "", "FAA_LOG_LEVEL": ""},
    ],
)
def test_options_win_over_the_environment(options, env):
    assert environment_of(*options, env=env) == expected_environment(
        {SERVICE: "shop", ENDPOINT: "https://[::1]:14317/a", "FAA_LOG_LEVEL": "debug"},
        {"LD_PRELOAD": str(LIBRARY)},
    )


def test_environment_wins_over_the_defaults():
    env = {SERVICE: "env", ENDPOINT: "not a url", "FAA_LOG_LEVEL": "warn"}
    assert environment_of(env=env) == expected_environment(env, {"LD_PRELOAD": str(LIBRARY)})


def test_resource_attributes_and_the_traces_endpoint_count_as_settings():
    env = {"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=env", TRACES_ENDPOINT: "http://t:1/x"}
    assert environment_of(env=env) == expected_environment(env, {"LD_PRELOAD": str(LIBRARY)})


NAMES = ["a", "ein Läden ☕", "\U0001f600", " x ", "-", "--", "é" * 127, "%$`"]


@pytest.mark.parametrize("name", NAMES)
def test_service_name_arrives_byte_for_byte(name):
    assert environment_of("--service-name", name)[SERVICE.encode()] == name.encode()


def test_other_variables_arrive_byte_for_byte():
    env = {
        b"LATIN": bytes(range(1, 256)),
        b"EMPTY": b"",
        b"a b\n\xff": b"x=y=z",
        b"LD_PRELOADED": b"1",
        b"OTEL_SERVICE_NAMES": b"1",
        b"OTEL_EXPORTER_OTLP_HEADERS": b"authorization=secret",
        b"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": b"9",
        b"PYTHONPATH": b":::",
        b"LONG": b"x" * 100_000,
    }
    got = environment_of(env=env)
    assert got == expected_environment(DEFAULTS, {"LD_PRELOAD": str(LIBRARY)}, env)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ("", "{0}"),
        ("libm.so.6", "{0}:libm.so.6"),
        ("libm.so.6 libdl.so.2", "{0}:libm.so.6 libdl.so.2"),
        ("{0}", "{0}"),
        ("libm.so.6:{0}", "libm.so.6:{0}"),
        ("{0} libm.so.6", "{0} libm.so.6"),
    ],
)
def test_preload_is_prepended_once_and_the_users_entries_stay(current, expected):
    got = environment_of(env={"LD_PRELOAD": current.format(LIBRARY)})
    assert got[b"LD_PRELOAD"].decode() == expected.format(LIBRARY)


def test_launcher_under_launcher_preloads_once_and_the_inner_options_win():
    got = environment_of("--service-name=outer", LAUNCHER, "--service-name=inner", "--")
    assert got[b"LD_PRELOAD"].decode() == str(LIBRARY)
    assert got[b"OTEL_SERVICE_NAME"] == b"inner"


# The command


def test_arguments_arrive_byte_for_byte_and_in_order():
    args = ["--help", "--", "-x", "", "--service-name", "a b", "\n", b"\xff\x01", "--debug=1"]
    script = "import os, sys; print([os.fsencode(a) for a in sys.argv[1:]])"
    result = run(sys.executable, "-c", script, *args)
    assert result.stdout.decode().strip() == str([os.fsencode(a) for a in args])


def test_double_dash_ends_the_options(tmp_path):
    command = tmp_path / "--debug"
    command.write_text("#!/bin/sh\necho ran $1\n")
    command.chmod(0o755)
    result = run("--", "--debug", "--version", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (result.returncode, result.stdout) == (0, b"ran --version\n")


@pytest.mark.parametrize("status", [0, 1, 2, 42, 126, 127, 255])
def test_exit_status_is_the_commands(status):
    result = run("sh", "-c", f"exit {status}")
    assert (result.returncode, result.stdout, result.stderr) == (status, b"", b"")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP", "SIGPIPE", "SIGUSR1"])
def test_death_by_a_signal_is_the_commands(name):
    number = signal.Signals[name]
    assert run("sh", "-c", f"kill -{number} $$").returncode == -number


def test_a_signal_to_the_launchers_pid_reaches_the_command():
    script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [LAUNCHER, "sh", "-c", script], env=PATH, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"ready\n"
        child.terminate()
        assert child.stdout.read() == b"caught\n"
    assert child.returncode == 3


def test_shell_sees_143_after_sigterm():
    script = '"$0" sh -c "kill -TERM \\$\\$"; echo $?'
    result = subprocess.run(
        ["sh", "-c", script, LAUNCHER], env=PATH, capture_output=True, timeout=30
    )
    assert result.stdout == b"143\n"


def test_pid_and_parent_are_the_same():
    with subprocess.Popen(
        [LAUNCHER, "sh", "-c", "echo $$ $PPID"], env=PATH, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.read().split() == [b"%d" % child.pid, b"%d" % os.getpid()]


def test_stdin_and_stdout_pass_through():
    data = os.urandom(200_000)
    assert run("cat", input=data).stdout == data


def process_state(*prefix):
    """What a command finds of signals, descriptors, limits and process group."""
    script = (
        "grep -E '^(Sig(Blk|Ign|Cgt)|Threads|Umask|NoNewPrivs)' /proc/self/status;"
        "for fd in /proc/self/fd/*; do readlink $fd; done; cat /proc/self/limits; nice; pwd"
    )

    def odd_start():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
        os.umask(0o27)

    return subprocess.run(
        [*prefix, "sh", "-c", script],
        env=PATH,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=odd_start,
        restore_signals=False,
        timeout=30,
    ).stdout


def test_nothing_of_the_launcher_is_left_behind():
    def steady(state):
        return re.sub(rb"pipe:\[\d+\]|/proc/\d+/", b"", state)

    plain, launched = process_state(), process_state(LAUNCHER)
    assert b"SigBlk" in plain
    assert steady(launched) == steady(plain)


def test_closed_standard_descriptors_stay_closed():
    script = 'exec "$0" sh -c "ls /proc/self/fd >&5" 5>&1 0<&- 1>&- 2>&-'
    result = subprocess.run(
        ["sh", "-c", script, LAUNCHER], env=PATH, stdout=subprocess.PIPE, timeout=30
    )
    # ls has its redirection at 1, and opens the directory at the lowest free number.
    assert result.stdout.split() == [b"0", b"1", b"5"]


def on_a_terminal(command):
    """Starts a command as leader of a session with a new terminal: (process, the other end)."""
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        command,
        env=PATH,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    return child, ours, theirs


def read_until(fd, text):
    got = b""
    while text not in got:
        got += os.read(fd, 4096)
    return got


def test_terminal_belongs_to_the_command_and_is_untouched():
    script = (
        "import os; print(all(map(os.isatty, range(3))), os.tcgetpgrp(0) == os.getpid(), 'end')"
    )
    child, ours, theirs = on_a_terminal([LAUNCHER, sys.executable, "-c", script])
    before = termios.tcgetattr(theirs)
    assert read_until(ours, b"end").split() == [b"True", b"True", b"end"]
    assert child.wait(30) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_control_c_reaches_the_command():
    child, ours, theirs = on_a_terminal([LAUNCHER, "sh", "-c", "echo ready; exec sleep 30"])
    read_until(ours, b"ready")
    os.write(ours, b"\x03")
    assert child.wait(30) == -signal.SIGINT
    os.close(ours)
    os.close(theirs)


def test_static_binary_runs(tmp_path):
    source, binary = tmp_path / "static.c", tmp_path / "static"
    source.write_text('#include <stdio.h>\nint main(void) { puts("static"); return 7; }\n')
    subprocess.run(["cc", "-static", "-o", binary, source], check=True, timeout=60)
    result = run(binary)
    assert (result.returncode, result.stdout, result.stderr) == (7, b"static\n", b"")


def test_script_without_interpreter_line_runs_as_in_a_shell(tmp_path):
    script = tmp_path / "script"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    assert run(script, "hello").stdout == b"hello\n"


# Commands that cannot be started


def assert_one_line(result, status, text):
    assert result.returncode == status
    assert result.stdout == b""
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fastapi-auto-agent: ")
    assert text in lines[0]


@pytest.mark.parametrize("command", ["no-such-command", "", "-", "ein Läden", "x" * 255])
def test_command_that_is_not_found_is_127(command):
    assert_one_line(run("--", command), 127, f"{command}: command not found")


def test_path_that_does_not_exist_is_127(tmp_path):
    (tmp_path / "file").touch()
    missing, below_a_file = tmp_path / "missing", tmp_path / "file" / "missing"
    assert_one_line(run(missing), 127, f"{missing}: No such file or directory")
    assert_one_line(run(below_a_file), 127, f"{below_a_file}: Not a directory")


def test_script_with_a_missing_interpreter_is_127(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert_one_line(run(script), 127, "No such file or directory")


def test_what_is_not_executable_is_126(tmp_path):
    (tmp_path / "file").write_text("#!/bin/sh\n")
    assert_one_line(run(tmp_path / "file"), 126, "Permission denied")
    assert_one_line(run("file", env={"PATH": str(tmp_path)}), 126, "file: Permission denied")
    assert_one_line(run(tmp_path), 126, "Permission denied")


def test_environment_that_grows_too_large_is_126():
    # One string of the environment has at most 128 KiB; separators alone preload nothing.
    env = {"LD_PRELOAD": ":" * (131072 - len("LD_PRELOAD=") - 1)}
    assert_one_line(run("true", env=env), 126, "true: " + os.strerror(errno.E2BIG))


def test_message_about_a_hostile_command_is_one_harmless_line():
    result = run("--", "a\nb\x1b[2J\x07\x7f" + "x" * 5000)
    assert result.returncode == 126
    assert re.fullmatch(rb"fastapi-auto-agent: a\?b\?\[2J\?\?x{100,600}: [ -~]+\n", result.stderr)


# Bad usage


BAD_USAGE = [
    ([], "no command given"),
    (["--"], "no command given"),
    (["--debug"], "no command given"),
    (["--service-name", "x"], "no command given"),
    (["--service-name", "--"], "no command given"),
    (["--service-name"], "'--service-name' needs an argument"),
    (["--debug", "--jaeger-endpoint"], "'--jaeger-endpoint' needs an argument"),
    (["--bogus", "COMMAND"], "unknown option '--bogus'"),
    (["--bogus=secret", "COMMAND"], "unknown option '--bogus'"),
    (["--debugger", "COMMAND"], "unknown option '--debugger'"),
    (["--=", "COMMAND"], "unknown option '--'"),
    (["---", "COMMAND"], "unknown option '---'"),
    (["--\n\x1b[2J", "COMMAND"], "unknown option '--??[2J'"),
    (["--" + "x" * 5000, "COMMAND"], "unknown option '--xxxx"),
    (["-h", "COMMAND"], "unknown option '-h'"),
    (["-xyz", "COMMAND"], "unknown option '-x'"),
    (["-:", "COMMAND"], "unknown option '-:'"),
    (["-+", "COMMAND"], "unknown option '-+'"),
    (["-\n", "COMMAND"], "unknown option '-?'"),
    (["--debug=1", "COMMAND"], "'--debug' takes no argument"),
    (["--help=secret", "COMMAND"], "'--help' takes no argument"),
    (["--version=", "COMMAND"], "'--version' takes no argument"),
    (["--service-name", "", "COMMAND"], "invalid --service-name: it is empty"),
    (["--service-name=", "COMMAND"], "invalid --service-name: it is empty"),
    (["--service-name", "   ", "COMMAND"], "invalid --service-name: it is empty"),
    (["--service-name", "a\nb", "COMMAND"], "control character"),
    (["--service-name", "\x1b[31m", "COMMAND"], "control character"),
    (["--service-name", "a\x7f", "COMMAND"], "control character"),
    (["--service-name", "a\u0085b", "COMMAND"], "control character"),
    (["--service-name", b"a\xff", "COMMAND"], "not valid UTF-8"),
    (["--service-name", b"\xc3", "COMMAND"], "not valid UTF-8"),
    (["--service-name", b"\xc2", "COMMAND"], "not valid UTF-8"),
    (["--service-name", b"\xc0\x80", "COMMAND"], "not valid UTF-8"),
    (["--service-name", b"\xed\xa0\x80", "COMMAND"], "not valid UTF-8"),
    (["--service-name", b"\xf4\x90\x80\x80", "COMMAND"], "not valid UTF-8"),
    (["--service-name", "x" * 256, "COMMAND"], "longer than 255 bytes"),
    (["--service-name", "x" * 100_000, "COMMAND"], "longer than 255 bytes"),
    (["--jaeger-endpoint", "", "COMMAND"], "invalid --jaeger-endpoint: it does not start with"),
    (["--jaeger-endpoint", "localhost:4317", "COMMAND"], "http://, https:// or unix://"),
    (["--jaeger-endpoint", "grpc://localhost:4317", "COMMAND"], "http://, https:// or unix://"),
    (["--jaeger-endpoint", "file:///etc/passwd", "COMMAND"], "http://, https:// or unix://"),
    (["--jaeger-endpoint", "http://", "COMMAND"], "no host"),
    (["--jaeger-endpoint", "http://h:0", "COMMAND"], "port"),
    (["--jaeger-endpoint", "http://h:65536", "COMMAND"], "port"),
    (["--jaeger-endpoint", "http://[::1", "COMMAND"], "IPv6"),
    (["--jaeger-endpoint", "http://a b", "COMMAND"], "space"),
    (["--jaeger-endpoint", "http://h/\r\nX: y", "COMMAND"], "control"),
    (["--jaeger-endpoint", "http://user:secret@h", "COMMAND"], "user name or password"),
    (["--jaeger-endpoint", "http://h?token=secret", "COMMAND"], "query"),
    (["--jaeger-endpoint", "http://h/" + "x" * 100_000, "COMMAND"], "longer than 2048 bytes"),
    (["--jaeger-endpoint", "http://good", "--jaeger-endpoint", "bad", "COMMAND"], "start with"),
]


@pytest.mark.parametrize(
    ("args", "text"), BAD_USAGE, ids=[f"{i}-{text}" for i, (_, text) in enumerate(BAD_USAGE)]
)
def test_bad_usage_is_one_line_the_hint_and_exit_2_and_starts_nothing(args, text, tmp_path):
    started = tmp_path / "started"
    command = ["sh", "-c", f"touch '{started}'"]
    result = run(*(args[:-1] + command if args[-1:] == ["COMMAND"] else args))
    assert (result.returncode, result.stdout) == (2, b"")
    lines = result.stderr.decode().split("\n")
    assert len(lines) == 3 and lines[2] == ""
    assert lines[0].startswith("fastapi-auto-agent: ") and text in lines[0]
    assert lines[1] == HINT
    assert "secret" not in lines[0]
    assert not re.search(r"[\x00-\x1f\x7f]", lines[0])
    assert not started.exists()


def test_random_arguments_never_crash_it(tmp_path):
    rng = random.Random(20261123)
    pieces = ["--service-name", "--jaeger-endpoint", "--debug", "--", "-", "=", "http://", "[", "]"]
    pieces += [":", "/", "@", "%", "é", "\n", "\\", "x", "65535", "--service-name=", "::1", "-s"]
    for _ in range(300):
        counts = [rng.randint(1, 4) for _ in range(rng.randint(0, 5))]
        words = ["".join(rng.choices(pieces, k=count)) for count in counts]
        result = run(*words, env={"PATH": str(tmp_path)}, cwd=tmp_path)
        assert result.returncode in (2, 126, 127), words
        assert result.stderr.startswith(b"fastapi-auto-agent: "), words


# Help, version and the manual page


def test_version_is_one_line():
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, b"")
    assert re.fullmatch(rb"fastapi-auto-agent \d+\.\d+\.\d+\S*\n", result.stdout)


def test_help_needs_no_library_and_no_command(tmp_path):
    alone = shutil.copy(LAUNCHER, tmp_path)
    result = run("--help", launcher=alone)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"Usage: fastapi-auto-agent ")
    assert max(map(len, result.stdout.decode().splitlines())) <= 80


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", errno.EBADF), (">/dev/full", errno.ENOSPC)]
)
def test_output_that_cannot_be_written_is_an_error(option, redirection, reason):
    result = subprocess.run(
        ["sh", "-c", f'"$0" {option} {redirection}', LAUNCHER],
        env=PATH,
        capture_output=True,
        timeout=30,
    )
    assert_one_line(result, 1, os.strerror(reason))


def test_manual_page_and_help_have_the_same_options_and_defaults():
    text = run("--help").stdout.decode()
    page = (TOP / "docs" / "fastapi-auto-agent.1").read_text()
    help_options = re.findall(r"^ +--([a-z-]+)(?: ([A-Z]+))?  +", text, re.M)
    item = r"^\.It Fl -([a-z-]+)(?: , Fl -no-\1)?(?: Ar (\S+))?$"
    page_options = re.findall(item, page, re.M)
    assert len(help_options) == 8
    assert [(name, argument.lower()) for name, argument in help_options] == page_options
    for default in DEFAULTS.values():
        assert f"(default: {default})" in text
        assert f".Ql {default} " in page
    for variable in re.findall(r"\b(?:OTEL|FAA)_[A-Z_]+", text):
        assert f"Ev {variable}\n" in page


# Where the libraries are


def install(folder, library_folder):
    """A copy of the launcher in `folder`, and of the libraries beside it as given."""
    folder.mkdir(parents=True, exist_ok=True)
    library_folder.mkdir(parents=True, exist_ok=True)
    for name in ("libfaa.so", "libfaa-agent.so"):
        shutil.copy(BUILD / "lib" / name, library_folder)
    return pathlib.Path(shutil.copy(LAUNCHER, folder))


def test_libraries_are_found_in_the_lib_folder_beside_bin(tmp_path):
    launcher = install(tmp_path / "prefix" / "bin", tmp_path / "prefix" / "lib")
    got = environment_of(launcher=launcher)
    assert got[b"LD_PRELOAD"].decode() == f"{tmp_path}/prefix/lib/libfaa.so"


def test_libraries_are_found_beside_the_launcher(tmp_path):
    launcher = install(tmp_path / "flat", tmp_path / "flat")
    got = environment_of(launcher=launcher)
    assert got[b"LD_PRELOAD"].decode() == f"{tmp_path}/flat/libfaa.so"


def test_launcher_is_found_through_links_relative_paths_and_path(tmp_path):
    launcher = install(tmp_path / "bin", tmp_path / "lib")
    link = tmp_path / "link"
    link.symlink_to(launcher)
    for argv in ([link], ["bin/fastapi-auto-agent"], ["fastapi-auto-agent"]):
        result = subprocess.run(
            [*argv, "sh", "-c", "echo $LD_PRELOAD"],
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
            cwd=tmp_path,
            capture_output=True,
            timeout=30,
        )
        assert result.stdout.decode().strip() == f"{tmp_path}/lib/libfaa.so"


@pytest.mark.parametrize("missing", ["libfaa.so", "libfaa-agent.so"])
def test_a_missing_library_starts_nothing(missing, tmp_path):
    launcher = install(tmp_path / "bin", tmp_path / "lib")
    (tmp_path / "lib" / missing).unlink()
    result = run("sh", "-c", f"touch '{tmp_path}/started'", launcher=launcher)
    assert_one_line(result, 2, "cannot find libfaa.so and libfaa-agent.so")
    assert f"'{tmp_path}/lib'" in result.stderr.decode()
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("name", ["a b", "a:b", "a$LIB", "a\nb", "a\tb"])
def test_a_place_that_preload_cannot_express_starts_nothing(name, tmp_path):
    launcher = install(tmp_path / name / "bin", tmp_path / name / "lib")
    result = run("sh", "-c", f"touch '{tmp_path}/started'", launcher=launcher)
    assert_one_line(result, 2, "cannot preload")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("name", ["ä☕", "a'b\"c", "a,b;c", "%s%n", "*"])
def test_other_odd_places_work(name, tmp_path):
    launcher = install(tmp_path / name / "bin", tmp_path / name / "lib")
    got = environment_of(launcher=launcher)
    assert os.fsdecode(got[b"LD_PRELOAD"]) == f"{tmp_path}/{name}/lib/libfaa.so"
