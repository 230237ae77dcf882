# SPDX-License-Identifier: MIT
"""Calls made in threads, pools, processes and callbacks, of all the kinds there are.

GET /CASE runs the function of that name. What it calls is /echo/CASE and so on.
"""

import _thread
import asyncio
import concurrent.futures
import contextvars
import multiprocessing
import multiprocessing.pool
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import anyio
import anyio.from_thread
import anyio.to_thread
import requests
from fastapi import FastAPI, HTTPException

TARGET = os.environ["TARGET_URL"]
WAIT = 30


def call(path: str) -> str:
    """What makes a span, in whichever process it runs."""
    with requests.Session() as session:
        session.trust_env = False
        return str(session.get(f"{TARGET}/echo/{path}", timeout=WAIT).json()["path"])


async def call_later(path: str) -> str:
    return await anyio.to_thread.run_sync(call, path)


class Clerk(threading.Thread):
    """A thread that no request has started: it does what it is asked to, one thing at a time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.orders: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            function, arguments, future = self.orders.get()
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.orders.put((function, arguments, future))
        return future.result(WAIT)


clerk = Clerk()
single = concurrent.futures.ThreadPoolExecutor(1)
state: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    clerk.start()
    state["loop"] = asyncio.get_running_loop()
    yield
    single.shutdown()
    if "database" in state:
        await state["database"].close()


app = FastAPI(lifespan=lifespan)


def finish(thread: threading.Thread) -> None:
    thread.start()
    thread.join(WAIT)


# Threads.


def thread() -> None:
    finish(threading.Thread(target=call, args=("thread",)))


def thread_with_own_run() -> None:
    class Own(threading.Thread):
        def run(self) -> None:
            call("thread_with_own_run")

    finish(Own(daemon=True))


def thread_with_slots() -> None:
    """Its class takes no attribute from anybody else."""

    class Closed(threading.Thread):
        def __setattr__(self, name: str, value: object) -> None:
            assert not name.startswith("_faa"), name
            super().__setattr__(name, value)

    finish(Closed(target=call, args=("thread_with_slots",)))


def timer() -> None:
    finish(threading.Timer(0.01, call, ("timer",)))


def thread_of_a_thread() -> None:
    finish(threading.Thread(target=finish, args=(threading.Thread(target=call, args=("deep",)),)))


def thread_made_before() -> None:
    """It is made without a request, and started in one."""
    finish(clerk.ask(lambda: threading.Thread(target=call, args=("thread_made_before",))))




def start_new_thread() -> None:
    done = threading.Event()
    _thread.start_new_thread(lambda: (call("start_new_thread"), done.set()), ())
    assert done.wait(WAIT)


def thread_with_context() -> None:
    """From 3.14 on an application may say in which context a thread runs."""
    context = contextvars.Context()
    if sys.version_info >= (3, 14):
        finish(threading.Thread(target=call, args=("thread_with_context",), context=context))
    else:
        finish(threading.Thread(target=context.run, args=(call, "thread_with_context")))


def fresh_context() -> None:
    contextvars.Context().run(call, "fresh_context")


# Pools of threads.


def submit() -> None:
    single.submit(call, "submit").result(WAIT)


def pool_map() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, ["map/1", "map/2", "map/3"]))[2] == "/echo/map/3"


def initializer() -> None:
    """A worker serves many: what it does at its start is no request's."""
    with concurrent.futures.ThreadPoolExecutor(1, "", call, ("initializer",)) as pool:
        pool.submit(call, "initializer/item").result(WAIT)


def future_callback() -> None:
    done = threading.Event()
    future = single.submit(call, "future_callback")
    future.add_done_callback(lambda future: (call("future_callback/done"), done.set()))
    assert done.wait(WAIT)


def pool_of_a_pool() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: single.submit(call, "pool_of_a_pool").result(WAIT)).result(WAIT)


def foreign_item() -> None:
    """Both items run on the worker that this request has started; the second is not its own."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(call, "foreign_item/own").result(WAIT)
        clerk.ask(pool.submit, call, "foreign_item").result(WAIT)


def own_item_on_a_foreign_worker() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        clerk.ask(pool.submit, int).result(WAIT)
        pool.submit(call, "own_item").result(WAIT)


def thread_pool() -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply(call, ("thread_pool/apply",))
        pool.apply_async(func=call, args=("thread_pool/async",)).get(WAIT)
        pool.map(call, ["thread_pool/map"])
        pool.starmap(call, [("thread_pool/starmap",)])
        list(pool.imap(call, ["thread_pool/imap"]))
        list(pool.imap_unordered(call, ["thread_pool/unordered"]))


def foreign_task() -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        pool.apply(call, ("foreign_task/own",))
        clerk.ask(pool.apply, call, ("foreign_task",))


def cancelled_item() -> None:
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(gate.wait, WAIT)
        assert pool.submit(call, "cancelled_item/never").cancel()
        gate.set()
        pool.submit(call, "cancelled_item").result(WAIT)


def failing_item() -> None:
    def fail() -> None:
        call("failing_item")
        raise KeyError("as it should")

    assert str(single.submit(fail).exception(WAIT)) == "'as it should'"
    single.submit(call, "failing_item/next").result(WAIT)


async def worker_of_anyio() -> None:
    """What an anyio worker does beside the functions that it is given. The profiler's function sees
    the beginning of its run()."""
    done = threading.Event()

    def profile(frame: Any, event: str, argument: Any) -> None:
        worker = type(frame.f_locals.get("self")).__name__ == "WorkerThread"
        if event == "call" and worker and frame.f_code.co_name == "run":
            sys.setprofile(None)
            call("worker_of_anyio")
            done.set()

    threading.setprofile(profile)
    try:
        function = anyio.to_thread.run_sync
        await asyncio.to_thread(anyio.run, function, call, "worker_of_anyio/function")
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    assert done.wait(WAIT)


# Processes.


def process(method: str) -> None:
    child = multiprocessing.get_context(method).Process(target=call, args=(f"process/{method}",))
    child.start()
    child.join(WAIT)
    assert child.exitcode == 0


def fork() -> None:
    process("fork")


def spawn() -> None:
    process("spawn")


def forkserver() -> None:
    process("forkserver")


def process_pool(method: str) -> None:
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        pool.submit(call, f"pool/{method}").result(WAIT)
        assert list(pool.map(call, [f"map/{method}"])) == [f"/echo/map/{method}"]
        clerk.ask(pool.submit, call, f"foreign/{method}").result(WAIT)


def fork_pool() -> None:
    process_pool("fork")


def spawn_pool() -> None:
    process_pool("spawn")


def forkserver_pool() -> None:
    process_pool("forkserver")


def worker_processes() -> None:
    """multiprocessing's own pool carries nothing to its workers, and they keep nothing."""
    pool = multiprocessing.get_context("fork").Pool(1)
    pool.apply(call, ("worker_processes",))
    pool.close()  # To terminate it would be a signal, which a forked server's handlers take.
    pool.join()


# The event loop.


async def to_thread() -> None:
    await asyncio.to_thread(call, "to_thread")


async def default_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, call, "default_executor")


async def executor() -> None:
    await asyncio.get_running_loop().run_in_executor(single, call, "executor")


async def anyio_thread() -> None:
    await anyio.to_thread.run_sync(call, "anyio_thread")


async def from_thread() -> None:
    await anyio.to_thread.run_sync(anyio.from_thread.run, call_later, "from_thread")


async def from_thread_of_a_thread() -> None:
    """anyio's portal, from a thread that it knows nothing of."""
    async with anyio.from_thread.BlockingPortal() as portal:
        await asyncio.to_thread(portal.call, call_later, "portal")


async def run_coroutine_threadsafe() -> None:
    loop = asyncio.get_running_loop()

    def other() -> None:
        future = asyncio.run_coroutine_threadsafe(call_later("threadsafe"), loop)
        future.result(WAIT)

    await asyncio.to_thread(finish, threading.Thread(target=other))


async def call_soon() -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (call("call_soon"), done.set()))
    await done.wait()


async def call_at_a_time() -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, lambda: (call("call_later"), done.set()))
    await done.wait()


async def call_soon_threadsafe() -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def there() -> None:
        loop.call_soon_threadsafe(lambda: (call("call_soon_threadsafe"), done.set()))

    finish(threading.Thread(target=there))
    await done.wait()


async def task_callback() -> None:
    done = asyncio.Event()
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(lambda task: (call("task_callback"), done.set()))
    await done.wait()


async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call_later("task_group/1"))
        group.create_task(call_later("task_group/2"))


async def task_with_context() -> None:
    await asyncio.create_task(call_later("task_with_context"), context=contextvars.Context())


async def own_loop_in_a_thread() -> None:
    await asyncio.to_thread(asyncio.run, call_later("own_loop"))


async def shared_connection() -> None:
    """The connection's thread was started by the first request that came here."""
    if "database" not in state:
        state["database"] = await aiosqlite.connect(":memory:")
        await state["database"].create_function("call", 1, call)
    async with state["database"].execute("SELECT call('shared_connection')") as cursor:
        await cursor.fetchall()


async def shared_connection_without_a_request() -> None:
    async def foreign() -> None:
        async with state["database"].execute("SELECT call('foreign_statement')") as cursor:
            await cursor.fetchall()

    future = clerk.ask(asyncio.run_coroutine_threadsafe, foreign(), state["loop"])
    await asyncio.wrap_future(future)




@app.get("/{case}")
async def run(case: str) -> str:
    function: Callable[[], Awaitable[None] | None] | None = globals().get(case)
    if function is None:
        raise HTTPException(404)
    result = function()
    if result is not None:
        await result
    return "done"
