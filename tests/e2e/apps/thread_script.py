# SPDX-License-Identifier: MIT
"""Prints what an application can see of its threads and pools: with the agent, the same."""

from __future__ import annotations

import concurrent.futures
import inspect
import multiprocessing
import multiprocessing.pool
import pickle
import sys
import threading
import traceback
from typing import Any

import by_hand


def frames() -> list[str]:
    return [frame.name for frame in traceback.extract_stack()]


def fail(number: int = 0) -> None:
    raise LookupError(f"number {number}")


def shown(error: BaseException | None) -> str:
    assert error is not None
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def seen_in_a_thread(thread: threading.Thread) -> list[Any]:
    thread.start()
    thread.join()
    return thread.seen  # type: ignore[attr-defined]


class Own(threading.Thread):
    seen: list[Any]

    def run(self) -> None:
        self.seen = [frames(), sorted(vars(self)), self.name, threading.current_thread() is self]


def threads() -> None:
    thread = Own(name="own")
    print(seen_in_a_thread(thread))
    try:
        thread.start()
    except RuntimeError as error:
        print(shown(error))
    print(sorted(vars(thread)))
    broken = Own.__new__(Own)
    try:
        broken.start()
    except RuntimeError as error:
        print(shown(error), vars(broken))
    for arguments in ((), (1, 2)):
        try:
            threading.Thread.start(*arguments)
        except (TypeError, AttributeError) as error:
            print(shown(error))
    threading.excepthook = lambda args: print("hook", args.exc_type, shown(args.exc_value))
    failing = threading.Thread(target=fail)
    failing.start()
    failing.join()
    print(inspect.signature(threading.Thread.start), threading.Thread.start.__qualname__)
    print(inspect.isfunction(threading.Thread.start), inspect.getdoc(threading.Thread.start))


def thread_pools() -> None:
    class Name:
        """What a pool is given is what it calls."""

        def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
            return self is name, args, kwargs

    name = Name()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        print(pool.submit(frames).result())
        print(pool.submit(name, 1, fn=2, args=4).result())
        print(shown(pool.submit(fail, 7).exception()))
        try:
            list(pool.map(fail, [1, 2]))
        except LookupError as error:
            print(shown(error))
        gate = threading.Event()
        busy = pool.submit(gate.wait)
        waiting = pool.submit(fail)
        print(waiting.cancel(), waiting.cancelled(), busy.cancel())
        gate.set()
        print(pool.submit(vars, threading.current_thread()).result() is not None)
    try:
        pool.submit(fail)
    except RuntimeError as error:
        print(shown(error))
    with concurrent.futures.ThreadPoolExecutor(1, initializer=fail) as pool:
        print(type(pool.submit(frames).exception()).__name__)
    with multiprocessing.pool.ThreadPool(1) as pool:
        print(pool.apply(frames), pool.map(name, [1]), pool.apply_async(func=name).get())
        try:
            pool.apply(fail, (3,))
        except LookupError as error:
            print(shown(error))
        try:
            pool.apply_async()  # type: ignore[call-arg]
        except TypeError as error:
            print(shown(error))


def process_pools() -> None:
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            print(method, [name for name in pool.submit(frames).result() if name != "_launch"])
            error = pool.submit(fail, 5).exception()
            print(shown(error).partition('"""')[2].replace(method, "METHOD"))
            print(list(pool.map(abs, [-1, -2], chunksize=2)))
        process = context.Process(target=print, args=("a process",))
        process.start()
        process.join()
        names = {name for name in vars(process) if "faa" in name}
        print(process.exitcode, names)
        sys.stdout.flush()
    print(pickle.loads(pickle.dumps(threading.Thread.start)) is threading.Thread.start)


if __name__ == "__main__":
    for part in (threads, thread_pools, process_pools):
        by_hand.request("/", part)
