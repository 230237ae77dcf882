# SPDX-License-Identifier: MIT
"""An application that brings itself into trouble, and serves on as it did before.

Usage: faulty.py FAULT BEFORE AFTER [END]: requests before the fault and after it, and a file whose
appearance ends the application (else it ends at once). What it saw goes to standard output, as
JSON: answers by status, how long requests took (of all those after the fault, the 5th and the 9th
tenth, in ns), by how many bytes it grew at most, and what it found wrong itself.
"""

import json
import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable

import selfcall

PAUSE = 30  # Requests from one pause to the next: the exporter is at work beside them.
answers: Counter[int] = Counter()
wrong: list[str] = []
checks: list[Callable[[], None]] = []
churn: list[int] = []


def serve(count: int) -> list[int]:
    """Serves so many requests; returns how long each took."""
    times = []
    for number in range(count):
        start = time.perf_counter_ns()
        answers[selfcall.request()] += 1
        times.append(time.perf_counter_ns() - start)
        if number % PAUSE == PAUSE - 1:
            time.sleep(0.01)
            if churn:
                close_and_open()
    return times


# Faults


def nothing() -> None:
    pass


def close_all() -> None:
    """As daemons do."""
    os.closerange(3, 1 << 20)


def close_and_reuse() -> None:
    """The numbers that others may have had are this application's now, and stay so."""
    close_all()
    folder = tempfile.mkdtemp()
    mine = {}
    for number in range(40):
        file = os.open(f"{folder}/{number}", os.O_RDWR | os.O_CREAT)
        here, there = socket.socketpair()
        reader, writer = os.pipe()
        for fd in (file, here.detach(), there.detach(), reader, writer):
            os.set_blocking(fd, False)
            mine[fd] = os.fstat(fd).st_ino

    def check() -> None:
        for fd, inode in mine.items():
            try:
                if os.fstat(fd).st_ino != inode:
                    wrong.append(f"descriptor {fd} is another file")
                elif os.read(fd, 1):
                    wrong.append(f"somebody has written to descriptor {fd}")
            except BlockingIOError:
                pass  # A socket, or a pipe, that nobody has written to.
            except OSError as error:
                if error.errno != 9 or not os.path.exists(f"/proc/self/fd/{fd}"):
                    wrong.append(f"descriptor {fd}: {error}")  # Else the end that writes.

    checks.append(check)


def close_and_open() -> None:
    """Closes what is open and opens something else, from the low numbers on."""
    for fd in churn:
        os.close(fd)
    os.closerange(3, 256)
    churn[:] = [os.open("/dev/null", os.O_RDWR) for _ in range(len(churn) % 7 + 3)]


def churn_descriptors() -> None:
    churn[:] = [os.open("/dev/null", os.O_RDWR)]


def daemon() -> None:
    """Twice forked, with no descriptor of before but the log's."""
    log = os.readlink("/proc/self/fd/2")
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    answers.clear()
    os.closerange(0, 1 << 20)
    os.open("/dev/null", os.O_RDWR)
    os.open(sys.argv[4] + ".daemon", os.O_WRONLY | os.O_CREAT)
    os.open(log, os.O_WRONLY | os.O_APPEND)


def limit(what: int, soft: int) -> Callable[[], None]:
    def lower() -> None:
        resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))

    return lower


def use_all_descriptors() -> None:
    limit(resource.RLIMIT_NOFILE, 64)()
    try:
        while True:
            os.dup(1)
    except OSError:
        pass


def no_memory(more: int = 0) -> Callable[[], None]:
    """From here on the address space may grow by so many KiB: malloc fails, and mmap."""

    def lower() -> None:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[0])
        limit(resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + (more << 10))()

    return lower


def no_threads() -> None:
    """Root has no such limit."""
    if os.getuid() == 0:
        os.setgid(54321)
        os.setuid(54321)
    limit(resource.RLIMIT_NPROC, 0)()


def no_threads_for_a_while() -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    no_threads()
    checks.append(limit(resource.RLIMIT_NPROC, before))


FAULTS: dict[str, Callable[[], None]] = {
    "nothing": nothing,
    "close-all": close_all,
    "close-and-reuse": close_and_reuse,
    "churn": churn_descriptors,
    "daemon": daemon,
    "all-descriptors-used": use_all_descriptors,
    **{f"descriptors-{n}": limit(resource.RLIMIT_NOFILE, n) for n in range(3, 13)},
    "no-descriptors": limit(resource.RLIMIT_NOFILE, 0),
    "no-memory": no_memory(),
    **{f"memory-{n}": no_memory(n) for n in (64, 256, 1024, 2200, 8000, 20000, 20500)},
    "no-threads": no_threads,
    "no-threads-for-a-while": no_threads_for_a_while,
    "no-files": limit(resource.RLIMIT_FSIZE, 0),
    "short-files": limit(resource.RLIMIT_FSIZE, 100 << 10),
}


def peak() -> int:
    """The most bytes of memory that it has occupied; 0 where there is no descriptor to ask with."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    except OSError:
        return 0


def main() -> None:
    fault, before, after, *end = sys.argv[1:]
    serve(int(before))
    if int(before):
        time.sleep(0.1)  # The exporter has begun by then.
    FAULTS[fault]()
    size = peak()
    times = serve(int(after))
    for check in checks:
        check()
    while end and not os.path.exists(end[0]):
        time.sleep(0.01)
    tenths = statistics.quantiles(times, n=10)
    grown = peak() - size
    told = {"answers": answers, "times": [tenths[4], tenths[8]], "grown": grown, "wrong": wrong}
    os.write(1, json.dumps(told).encode() + b"\n")


main()
