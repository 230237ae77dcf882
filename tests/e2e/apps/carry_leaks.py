# SPDX-License-Identifier: MIT
"""What requests leave behind in threads and pools that outlive them: carry_leaks.py ROUND ROUNDS.

Prints one JSON object at first, when no span is alive, one for each round of ROUND requests, and
one more for a thread that a request leaves running: how many spans are alive, and how many blocks
Python has allocated.
"""

import concurrent.futures
import contextvars
import gc
import json
import logging
import multiprocessing.pool
import sys
import threading
from typing import Any

import by_hand

pool = concurrent.futures.ThreadPoolExecutor(2)
tasks: Any = []
gate = threading.Event()
kinds: list[type] = []
log = logging.getLogger("leaks")
log.setLevel(logging.INFO)
log.propagate = False


class Formatting(logging.Handler):
    """Takes a record as far as a stream handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        assert len(record.otelTraceID) in (1, 32)  # type: ignore[attr-defined]
        self.format(record)


log.addHandler(Formatting())


def work(number: int = 0) -> None:
    log.info("number %d", number)


def fail() -> None:
    raise LookupError


def find_type() -> None:
    """The agent's types cannot be imported."""
    for variable, value in contextvars.copy_context().items():
        if variable.name == "faa.current_span":
            kinds.append(type(value))


def request() -> None:
    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    pool.submit(work).result()
    assert pool.submit(fail).exception()
    list(pool.map(work, range(3)))
    if not tasks:
        tasks.append(multiprocessing.pool.ThreadPool(2))
    tasks[0].map(work, range(3))
    try:
        thread.start()
    except RuntimeError:
        pass


def leave_running() -> None:
    threading.Thread(target=gate.wait).start()


def spans_alive() -> int:
    """Each object holds a reference to its type; what else does is the same all the time."""
    return sys.getrefcount(kinds[0])


def measure() -> dict[str, int]:
    gc.collect()
    return {"spans": spans_alive(), "blocks": sys.getallocatedblocks()}


def main() -> None:
    by_hand.request("/", find_type)
    print(json.dumps(measure()), flush=True)
    size, rounds = int(sys.argv[1]), int(sys.argv[2])
    for _ in range(rounds):
        for _ in range(size):
            by_hand.request("/", request)
        print(json.dumps(measure()), flush=True)
    by_hand.request("/", leave_running)
    print(json.dumps(measure()), flush=True)
    gate.set()


main()
