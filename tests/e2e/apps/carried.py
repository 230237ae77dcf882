# SPDX-License-Identifier: MIT
"""Logs from everywhere in a request and outside of it; the format tells the span of each line.

Lines that should tell the request's span begin with "own", all others with "none".
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import multiprocessing
import multiprocessing.pool
import sys
import threading
from typing import Any

import by_hand

FORMAT = "%(message)s %(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s"
logging.basicConfig(format=FORMAT, level=logging.INFO, stream=sys.stdout)


def say(text: str) -> None:
    logging.info("%s", text)


def finish(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


def in_request() -> None:
    say("own request")
    finish(threading.Thread(target=say, args=("own thread",)))
    finish(threading.Timer(0, say, ("own timer",)))
    pool = concurrent.futures.ThreadPoolExecutor(1, initializer=say, initargs=("none worker",))
    pool.submit(say, "own item").result()
    elsewhere.submit(pool.submit, say, "own item of an item").result().result()
    outside.put(pool)
    answer.get()
    finish(threading.Thread(target=contextvars.Context().run, args=(say, "none fresh context")))
    if sys.version_info >= (3, 14):
        context: Any = {"context": contextvars.Context()}
        finish(threading.Thread(target=say, args=("none explicit context",), **context))
        context = {"context": contextvars.copy_context()}
        finish(threading.Thread(target=say, args=("own copied context",), **context))
    with multiprocessing.pool.ThreadPool(1, say, ("none pool",)) as threads:
        threads.apply(say, ("own task",))
        threads.map(say, ["own mapped task"])
    asyncio.run(asyncio.to_thread(say, "own to_thread"))
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        process = context.Process(target=say, args=(f"own process {method}",))
        process.start()
        process.join()
        with concurrent.futures.ProcessPoolExecutor(1, context) as processes:
            processes.submit(say, f"own process's item {method}").result()
            list(processes.map(say, [f"own process's map {method}"]))
            outside.put(processes)
            answer.get()


def ask_from_outside() -> None:
    """Submits to pools whose workers were started in a request."""
    while True:
        pool = outside.get()
        if pool is None:
            return
        pool.submit(say, "none foreign item").result()
        answer.put(None)


if __name__ == "__main__":
    import queue

    outside: Any = queue.Queue()
    answer: Any = queue.Queue()
    elsewhere = concurrent.futures.ThreadPoolExecutor(1)
    elsewhere.submit(say, "none before").result()
    threading.Thread(target=ask_from_outside).start()
    by_hand.request("/", in_request, "ab" * 16)
    say("none after")
    outside.put(None)
    elsewhere.submit(say, "none after in a pool").result()
