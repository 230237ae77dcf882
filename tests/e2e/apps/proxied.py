# SPDX-License-Identifier: MIT
"""Every way to drive the coroutine of a traced application; prints what comes of each.

It needs a package `starlette` that only looks like it (see test_interpreters.py): its application
awaits scope["run"](scope, receive, send) and returns what that returned. Nothing else is needed,
so this runs on a bare interpreter, and its output must be the same with the agent and without.
"""

import asyncio
import collections.abc
import contextvars
import functools
import gc
import inspect
import sys
import traceback

from starlette.applications import Starlette

app = Starlette()
color = contextvars.ContextVar("color", default="none")


def scope_of(run):
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "run": run,
    }


async def nothing(*unused):
    return None


def call(run):
    return app(scope_of(run), nothing, nothing)


async def awaiting(awaitable):
    return await awaitable


def tell(what, fn):
    """Prints the outcome: a value, or an exception with its traceback and what led to it."""
    try:
        value = fn()
        print(f"{what}: {value!r}" if type(value) is not object else f"{what}: object")
    except BaseException as error:
        print(f"{what}: raised {type(error).__name__}{error.args!r}")
        frames = traceback.extract_tb(error.__traceback__)
        print(
            "   ", [frame.name for frame in frames], repr(error.__context__), repr(error.__cause__)
        )
    print("   ", sys.exc_info(), color.get())


VALUES = [
    None,
    0,
    False,
    (),
    (1, 2),
    ((),),
    (ValueError, "v", None),
    [],
    {},
    "text",
    NotImplemented,
    ValueError("value"),
    StopIteration("stop"),
    StopIteration(),
    StopAsyncIteration("stop"),
    GeneratorExit(),
    BaseException("base"),
    KeyError,
    StopIteration,
    float("nan"),
    Ellipsis,
]
RAISED = [
    ValueError("value"),
    StopIteration("stop"),
    StopAsyncIteration("stop"),
    GeneratorExit("exit"),
    SystemExit(3),
    KeyboardInterrupt("stop"),
    asyncio.CancelledError("cancelled"),
    KeyError(()),
    MemoryError(),
]


def drive(awaitable, *acts):
    """Steps by hand; each act is called with the coroutine, and the last outcome is told."""
    results = []
    for act in acts:
        try:
            results.append(act(awaitable))
        except BaseException as error:
            results.append((type(error).__name__, error.args, getattr(error, "value", "no value")))
    return results


def send(coroutine):
    return type(coroutine.send(None)).__name__


def values():
    for number, value in enumerate(VALUES):

        async def returns(*unused, value=value):
            await asyncio.sleep(0)
            return value

        async def at_once(*unused, value=value):
            return value

        for run in (returns, at_once):
            tell(f"value {number} {run.__name__}", lambda: asyncio.run(awaiting(call(run))))
            assert asyncio.run(awaiting(call(run))) is value
        tell(f"value {number} run", lambda: asyncio.run(call(returns)))
        tell(f"value {number} send", lambda: drive(call(at_once), send, send))
        tell(f"value {number} next", lambda: drive(call(at_once).__await__(), next, next))


def raised():
    for error in RAISED:

        async def raises(*unused, error=error):
            try:
                raise LookupError("context")
            except LookupError:
                raise error

        tell(f"raise {type(error).__name__}", lambda: drive(call(raises), send, send))
        if isinstance(error, Exception):
            tell(f"raise {type(error).__name__} run", lambda: asyncio.run(awaiting(call(raises))))

    async def chained(*unused):
        try:
            raise ValueError("first")
        except ValueError as error:
            raise RuntimeError("second") from error

    tell("chained", lambda: asyncio.run(awaiting(call(chained))))


async def waits(*unused):
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "waited"
    except ValueError as error:
        await asyncio.sleep(0)
        return ("caught", error.args)
    finally:
        print("    finally")


async def stubborn(*unused):
    while True:
        try:
            await asyncio.sleep(0)
        except BaseException as error:
            print("    ignored", type(error).__name__)


def by_hand():
    def throw(error):
        return lambda coroutine: coroutine.throw(error)

    def close(coroutine):
        return coroutine.close()

    def send_value(coroutine):
        return coroutine.send("too early")

    for run in (waits, stubborn):
        tell("throw first", lambda: drive(call(run), throw(ValueError("in")), send, close))
        tell("throw", lambda: drive(call(run), send, throw(ValueError("in")), send, send, close))
        tell("throw type", lambda: drive(call(run), send, throw(ValueError), send, send))
        tell("throw other", lambda: drive(call(run), send, throw(OSError(2, "x")), send))
        tell("throw stop", lambda: drive(call(run), send, throw(StopIteration(1)), send))
        tell("throw no error", lambda: drive(call(run), send, throw(3), send))
        tell("close first", lambda: drive(call(run), close, send, close))
        tell("close", lambda: drive(call(run), send, close, send, close))
        tell("send a value", lambda: drive(call(run), send_value, send))
    finished = [send, send, send, send, throw(ValueError("late")), close]
    tell("finished", lambda: drive(call(waits), *finished))
    for bad in (lambda c: c.send(), lambda c: c.throw(), lambda c: c.close(1)):
        tell("bad call", lambda: drive(call(waits), bad)[0][0])


def reentered():
    async def enters(*unused):
        try:
            return own.send(None)
        except ValueError as error:
            return error.args

    own = call(enters)
    tell("reentered", lambda: drive(own, send))
    own = None

    async def twice():
        coroutine = call(waits)
        await coroutine
        await coroutine

    tell("awaited twice", lambda: asyncio.run(twice()))


def cancelled():
    async def timeout():
        return await asyncio.wait_for(call(forever), 0.01)

    async def forever(*unused):
        try:
            await asyncio.Event().wait()
        finally:
            print("    cleaned")

    async def cancel(run, before=0):
        task = asyncio.ensure_future(call(run))
        for _ in range(before):
            await asyncio.sleep(0)
        task.cancel("message")
        return await asyncio.wait([task], timeout=5), task

    async def outcome(run, before):
        _, task = await cancel(run, before)
        return task.cancelled() or task.result()

    async def swallows(*unused):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            return error.args

    tell("timeout", lambda: asyncio.run(timeout()))
    for run in (forever, swallows):
        for before in (0, 1, 2):
            tell(f"cancel {before}", lambda: asyncio.run(outcome(run, before)))


def generators():
    async def numbers():
        try:
            for number in range(3):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            print("    generator closed")

    async def iterates(*unused):
        return [number async for number in numbers()]

    async def breaks(*unused):
        generator = numbers()
        async for number in generator:
            break
        await generator.aclose()
        return number

    async def throws(*unused):
        generator = numbers()
        await generator.__anext__()
        try:
            await generator.athrow(ValueError("in the generator"))
        except ValueError as error:
            return error.args

    async def leaves(*unused):
        return await numbers().__anext__()

    async def application_in_generator():
        yield await call(iterates)
        yield await call(throws)

    async def collects():
        return [value async for value in application_in_generator()]

    for run in (iterates, breaks, throws, leaves):
        tell(run.__name__, lambda: asyncio.run(awaiting(call(run))))
    tell("collects", lambda: asyncio.run(collects()))


def tasks():
    async def named(*unused):
        color.set("red")
        await asyncio.sleep(0)
        return color.get()

    async def many():
        made = [call(named), asyncio.create_task(call(named)), asyncio.ensure_future(call(named))]
        return await asyncio.gather(*made), color.get(), await call(named), color.get()

    async def nested(scope, receive, send):
        return await app(scope_of(named), receive, send)

    tell("many", lambda: asyncio.run(many()))
    tell("nested", lambda: asyncio.run(awaiting(call(nested))))


def shapes():
    class Child(Starlette):
        async def __call__(self, scope, receive, send):
            return "child", await super().__call__(scope, receive, send)

    async def sees(scope, receive, send):
        return sorted(scope), await send({"type": "x"}), await receive()

    arguments = (scope_of(sees), nothing, nothing)
    names = dict(zip(("scope", "receive", "send"), arguments))
    tell("child", lambda: asyncio.run(awaiting(Child()(*arguments))))
    tell("unbound", lambda: asyncio.run(awaiting(Starlette.__call__(app, *arguments))))
    tell("keywords", lambda: asyncio.run(awaiting(app(**names))))
    tell("mixed", lambda: asyncio.run(awaiting(app(arguments[0], receive=nothing, send=nothing))))
    tell("partial", lambda: asyncio.run(awaiting(functools.partial(app, *arguments)())))
    tell("too few", lambda: app(arguments[0]))
    tell("too many", lambda: app(*arguments, 1))
    tell("no scope", lambda: asyncio.run(awaiting(app(None, nothing, nothing))))
    coroutine = call(sees)
    for name in ("__name__", "__qualname__", "cr_running", "cr_await", "cr_origin", "gi_frame"):
        tell(name, lambda: getattr(coroutine, name))
    tell("code", lambda: coroutine.cr_code.co_name)
    kinds = (collections.abc.Coroutine, collections.abc.Awaitable, collections.abc.Iterator)
    tell("kinds", lambda: [isinstance(coroutine, kind) for kind in kinds[:2]])
    tell("awaitable", lambda: (inspect.isawaitable(coroutine), asyncio.iscoroutine(coroutine)))
    coroutine.close()
    for function in (app.__call__, Starlette.__call__):
        tell(
            "functions",
            lambda: (
                inspect.iscoroutinefunction(function),
                asyncio.iscoroutinefunction(function),
                str(inspect.signature(function)),
                function.__name__,
                function.__module__,
                function.__doc__,
                callable(function),
                function == function,
                function.__qualname__,
            ),
        )
    tell("never awaited", lambda: [call(sees)] and None)
    gc.collect()


if __name__ == "__main__":
    for part in (values, raised, by_hand, reentered, cancelled, generators, tasks, shapes):
        print("====", part.__name__)
        part()
    sys.stdout.flush()
    gc.collect()
