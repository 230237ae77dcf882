# SPDX-License-Identifier: MIT
"""Real database servers of the distribution's packages, on free ports of the loopback address.

They run as an unprivileged user where the tests run as root (PostgreSQL insists), with their data
in a folder of their own, and are gone when the tests end.
"""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .deadline import until

USER, PASSWORD, DATABASE = "shop", "s3cret-of-the-tests", "orders"


def _program(name: str) -> str:
    """The path of a server's program. Raises FileNotFoundError where it is not installed."""
    folders = [*sorted(glob.glob("/usr/lib/postgresql/*/bin")), "/usr/sbin", "/usr/bin"]
    path = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
    if path is None:
        raise FileNotFoundError(f"{name} is not installed: `make test` installs it")
    return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Database:
    """One server. `port` is where it listens, `socket` its Unix socket (or the socket's folder)."""

    _end = signal.SIGKILL  # Ends it at once.

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.socket = str(folder)
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, *command: str) -> None:
        """Runs a program to its end. Raises AssertionError, with what it said, when it fails."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            user=self._user,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}"

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Starts the server on its port and returns when it accepts connections.

        Raises AssertionError when it ends or does not answer in time.
        """
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self._user,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            )
        until(self._accepts, 60, self.log)

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """The end of the server's log."""
        path = self.folder / "server.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return f"{type(self).__name__}: {text[-4000:]}"

    def stop(self) -> None:
        """Kills the server, without a farewell to its clients. It may be started again."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, self._end)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None


class PostgreSQL(Database):
    """PostgreSQL with user, password and database of this module; TCP and a Unix socket."""

    _end = signal.SIGQUIT  # Its processes would outlive a killed postmaster for a moment.

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        initdb = ["--pgdata=data", "--auth=trust", "--no-sync", "--username=postgres"]
        self._run(_program("initdb"), *initdb, "--encoding=UTF8", "--locale=C.UTF-8")
        self.start()
        for statement in (
            f"CREATE USER {USER} SUPERUSER PASSWORD '{PASSWORD}'",
            f"CREATE DATABASE {DATABASE} OWNER {USER}",
        ):
            psql = [_program("psql"), "-q", "-h", self.socket, "-p", str(self.port)]
            self._run(*psql, "-U", "postgres", "-c", statement)

    def _command(self) -> Sequence[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.socket,
            "fsync": "off",
            "max_connections": 50,
            "max_prepared_transactions": 5,
            "shared_buffers": "16MB",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [_program("postgres"), "-D", "data", *options]


    def _accepts(self) -> bool:
        ready = [_program("pg_isready"), "-q", "-h", self.socket, "-p", str(self.port)]
        return super()._accepts() and subprocess.run(ready).returncode == 0


class MariaDB(Database):
    """MariaDB with user, password and database of this module; TCP and a Unix socket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = str(folder / "socket")
        self._run(
            _program("mariadb-install-db"), "--no-defaults", f"--datadir={folder}/data",
            "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-log-bin",
        )  # fmt: skip
        (folder / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'%';\n"
        )
        self.start()

    def _command(self) -> Sequence[str]:
        return [
            _program("mariadbd"), "--no-defaults", f"--datadir={self.folder}/data",
            f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.socket}",
            f"--pid-file={self.folder}/pid", f"--init-file={self.folder}/init.sql",
            "--skip-log-bin", f"--tmpdir={self.folder}", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M",
            "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve", "--table-open-cache=200",
        ]  # fmt: skip


class Redis(Database):
    """Redis without a password; TCP and a Unix socket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = str(folder / "socket")
        self.start()

    def _command(self) -> Sequence[str]:
        return [
            _program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
            "--unixsocket", self.socket, "--save", "", "--appendonly", "no", "--dir", str(self.folder),
        ]  # fmt: skip


@contextmanager
def served(kind: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Starts a server, `kind(folder, *arguments)`, and stops it in the end.

    Its folder is none of pytest's: another run of pytest closes those to all users but its own.
    """
    with tempfile.TemporaryDirectory(prefix="faa-", ignore_cleanup_errors=True) as folder:
        server = kind(Path(folder), *arguments)
        try:
            yield server
        finally:
            server.stop()
