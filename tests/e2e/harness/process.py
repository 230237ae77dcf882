# SPDX-License-Identifier: MIT
"""Runs commands with and without the agent, and leaves nothing of them behind."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from .deadline import scaled, until

TOP = Path(__file__).resolve().parents[3]
APPS = Path(__file__).resolve().parents[1] / "apps"
AGENTS = ("none", "preload", "launcher")

# "<UTC time> <pid> faa <level>: <text>", as the agent writes.
_AGENT_LINE = re.compile(r"^\S+ \d+ faa \w+: .*\n?", re.MULTILINE)
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS")


class Process:
    """A started command: the leader of its own session, output in files, standard input empty."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.command = list(command)
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        self._status: int | None = None
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )
        self.pid: int = self._popen.pid

    @property
    def stdout(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text(errors="backslashreplace")

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far, the agent's lines included."""
        return self._err.read_text(errors="backslashreplace")

    @property
    def agent_lines(self) -> list[str]:
        """The agent's own lines on standard error."""
        return [line.rstrip("\n") for line in _AGENT_LINE.findall(self.stderr)]

    @property
    def own_stderr(self) -> str:
        """Standard error without the agent's lines."""
        return _AGENT_LINE.sub("", self.stderr)

    @property
    def status(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        # The process stays a zombie until kill(), so that its session id stays its own.
        if self._status is None:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            info = os.waitid(os.P_PID, self.pid, flags)
            if info is not None:
                exited = info.si_code == os.CLD_EXITED
                self._status = info.si_status if exited else -info.si_status
        return self._status

    def wait(self, timeout: float = 20) -> int:
        """Waits for its end and returns the status. Raises AssertionError when it goes on."""
        until(lambda: self.status is not None, timeout, lambda: f"still running: {self.describe()}")
        assert self.status is not None
        return self.status

    def send_signal(self, signum: int, group: bool = False) -> None:
        """Sends a signal to it, or (as a terminal does) to its whole process group."""
        if self.status is None:
            (os.killpg if group else os.kill)(self.pid, signum)

    def stop(self, signum: int = signal.SIGTERM, timeout: float = 20, group: bool = False) -> int:
        """Sends a signal, waits for the end and returns the status, as wait() does."""
        self.send_signal(signum, group)
        return self.wait(timeout)

    def wait_log(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Waits for a match of `pattern` (MULTILINE) in stderr or stdout and returns it.

        Raises AssertionError when time is over or the process has ended without it.
        """

        def probe() -> re.Match[str] | None:
            ended = self.status is not None
            match = re.search(pattern, self.stderr, re.MULTILINE)
            match = match or re.search(pattern, self.stdout, re.MULTILINE)
            assert match or not ended, f"ended without logging {pattern!r}: {self.describe()}"
            return match

        match = until(probe, timeout, lambda: f"no {pattern!r} logged: {self.describe()}")
        assert match is not None
        return match

    def listening_ports(self) -> set[int]:
        """Returns the TCP ports on which processes of its session listen now."""
        return set(_listening_ports(self.pid))

    def listening_port(self, timeout: float = 20) -> int:
        """Waits until a process of its session listens on a TCP port and returns the port.

        Raises AssertionError when time is over or the process has ended.
        """

        def probe() -> int | None:
            assert self.status is None, f"ended with {self.status}: {self.describe()}"
            return next(iter(self.listening_ports()), None)

        port = until(probe, timeout, lambda: f"does not listen: {self.describe()}")
        assert port is not None
        return port

    def kill(self) -> None:
        """Kills all that is left of its session and reaps it. May be called again."""
        if self._popen.returncode is not None:
            return

        def probe() -> bool:
            left = list(_session(self.pid))
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # It ended by itself meanwhile.
            return not left

        until(probe, 20, lambda: f"cannot be killed: {list(_session(self.pid))}")
        until(lambda: self.status is not None, 20, lambda: "killed, yet not dead")
        self._popen.wait()

    def describe(self) -> str:
        """Returns command, status and the end of both outputs, for a failure's message."""
        return (
            f"{' '.join(self.command)} (pid {self.pid}, status {self.status})\n"
            f"--- stderr\n{self.stderr[-6000:]}\n--- stdout\n{self.stdout[-3000:]}"
        )


class Server(Process):
    """A process that serves HTTP on a loopback port."""

    port = 0
    client: httpx.Client

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self, timeout: float = 30) -> None:
        """Waits until it answers. The probe is no valid HTTP, so that no application sees it.

        Raises AssertionError when time is over or the process has ended.
        """
        self.port = self.listening_port(timeout)
        until(self._answers, timeout, lambda: f"does not answer: {self.describe()}")
        # No connection is used twice: uvicorn closes it after an exception, just when a client
        # that keeps it may be sending the next request.
        single = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(
            base_url=self.url, trust_env=False, timeout=scaled(20), limits=single
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GETs a path over a connection of its own."""
        return self.client.get(path, **options)

    def kill(self) -> None:
        if self.port and hasattr(self, "client"):
            self.client.close()
        super().kill()

    def _answers(self) -> bool:
        assert self.status is None, f"ended with {self.status}: {self.describe()}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=scaled(1)) as probe:
                probe.sendall(b"?\r\n\r\n")
                return bool(probe.recv(1))
        except OSError:
            return False


class Runner:
    """Starts processes in a directory of their own, and kills them at the end of the test."""

    def __init__(self, directory: Path, build: Path, python: str = sys.executable) -> None:
        self.directory = directory
        self.build = build
        self.python = python
        self.processes: list[Process] = []

    def start(
        self,
        command: Sequence[str | Path],
        *,
        agent: str = "preload",
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        cwd: Path = APPS,
        kind: type[Process] = Process,
    ) -> Any:
        """Starts a command and returns its Process (or `kind`).

        agent: "preload" (LD_PRELOAD=libfaa.so, before what `env` preloads), "launcher" (through
        fastapi-auto-agent with `options`) or "none". The environment is clean but for `env`.
        """
        if agent not in AGENTS:
            raise ValueError(f"agent {agent!r} is none of {AGENTS}")
        words = [str(word) for word in command]
        environment = self.environment(env or {})
        if agent == "preload":
            shim = self._built("lib/libfaa.so")
            others = environment.get("LD_PRELOAD")
            environment["LD_PRELOAD"] = f"{shim}:{others}" if others else str(shim)
        elif agent == "launcher":
            words = [str(self._built("bin/fastapi-auto-agent")), *options, "--", *words]
        name = f"{len(self.processes):02}-{Path(str(command[0])).name}-{agent}"
        process = kind(words, environment, cwd, self.directory / name)
        self.processes.append(process)
        return process

    def run(self, command: Sequence[str | Path], *, timeout: float = 30, **options: Any) -> Process:
        """Starts a command as start() does, waits for its end and returns the ended Process."""
        process: Process = self.start(command, **options)
        process.wait(timeout)
        return process

    def uvicorn(self, app: str, *args: str, **options: Any) -> Server:
        """Serves `app` ("module:name" in apps/) and returns when it answers; options as start()."""
        command = [self.python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "0", *args]
        return self.serve(command, **options)

    def gunicorn(self, app: str, *args: str, **options: Any) -> Server:
        """Serves `app` under gunicorn with uvicorn's worker; else as uvicorn()."""
        successor = importlib.util.find_spec("uvicorn_worker") is not None
        worker = "uvicorn_worker" if successor else "uvicorn.workers"
        command = [self.python, "-m", "gunicorn", app, "--bind", "127.0.0.1:0"]
        return self.serve([*command, "--worker-class", f"{worker}.UvicornWorker", *args], **options)

    def serve(
        self, command: Sequence[str | Path], *, timeout: float = 30, **options: Any
    ) -> Server:
        """Starts any HTTP server and returns it when it answers; options as start()."""
        server: Server = self.start(command, kind=Server, **options)
        server.wait_ready(timeout)
        return server

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Returns a whole environment: the few inherited variables, ours, and `env`."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        ours = {
            "HOME": str(self.directory),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # A busy machine is no event; a test of what is slow sets its own.
            "FAA_BLOCKED_THRESHOLD": "3600000",
            "FAA_SLOW_DEPENDENCY": "3600000",
            "FAA_SLOW_POOL_WAIT": "3600000",
        }
        return {**inherited, **ours, **env}

    def kill_all(self) -> None:
        """Kills what still runs, the last started first."""
        for process in reversed(self.processes):
            process.kill()

    def _built(self, name: str) -> Path:
        path = self.build / name
        assert path.is_file(), f"{path} is missing: run `make`, or set FAA_BUILD"
        return path


def _session(leader: int) -> Iterator[int]:
    """Yields the live processes of a session."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue  # It ended while we looked.
        state, _ppid, _group, session = stat.rpartition(")")[2].split()[:4]
        if int(session) == leader and state not in "ZX":
            yield int(entry.name)


def _listening_ports(leader: int) -> Iterator[int]:
    """Yields the TCP ports on which processes of a session listen."""
    ports = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # No IPv6 here.
        for line in lines:
            fields = line.split()
            if fields[3] == "0A":
                ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    for pid in _session(leader):
        try:
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue  # It ended, or closed a descriptor, while we looked.
        yield from (ports[link] for link in links if link in ports)
