# SPDX-License-Identifier: MIT
"""What Python code can find out about the libraries' functions, and do to them."""

import asyncio
import copy
import dis
import functools
import inspect
import io
import linecache
import pickle
import pydoc
import re
import sys
import types
import typing
import unittest.mock
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import fastapi
import requests.adapters
from fastapi import FastAPI
from fastapi.routing import APIRoute
from probing import Recorder, digest, probe, report, told
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

MODULES = ("fastapi.applications", "starlette.applications", "requests.adapters")

FUNCTIONS: dict[str, Callable[[], Any]] = {
    "FastAPI.__call__": lambda: FastAPI.__call__,
    "Starlette.__call__": lambda: Starlette.__call__,
    "Route.handle": lambda: Route.handle,
    "Mount.handle": lambda: Mount.handle,
    "APIRoute.handle": lambda: APIRoute.handle,
    "HTTPAdapter.send": lambda: requests.adapters.HTTPAdapter.send,
}


def each(fn: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: told(lambda get=get: fn(get())) for name, get in FUNCTIONS.items()}


async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("text")


app = Starlette(routes=[Route("/", endpoint), Mount("/m", routes=[Route("/", endpoint)])])


# Functions and methods.


@probe
def coroutine_functions() -> Any:
    checks = {"call": app.__call__, "instance": app, "fastapi": FastAPI().__call__, **{
        name: get() for name, get in FUNCTIONS.items()
    }}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: [inspect.iscoroutinefunction(it), asyncio.iscoroutinefunction(it)]
            for name, it in checks.items()
        }


@probe
def signatures() -> Any:
    return [
        each(lambda fn: str(inspect.signature(fn))),
        each(lambda fn: str(inspect.getfullargspec(fn))),
        str(inspect.signature(app.__call__)),
        str(inspect.signature(app)),
        [str(name) for name in inspect.signature(FastAPI).parameters],
    ]


@probe
def type_hints() -> Any:
    return each(lambda fn: str(typing.get_type_hints(fn)))


@probe
def names() -> Any:
    plain = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__")
    return each(lambda fn: [getattr(fn, name) for name in plain])


@probe
def code() -> Any:
    return each(
        lambda fn: [
            fn.__code__.co_name,
            fn.__code__.co_firstlineno,
            fn.__code__.co_flags,
            str(fn.__closure__ and len(fn.__closure__)),
            fn.__globals__["__name__"],
            fn.__dict__,
            sorted(fn.__annotations__),
        ]
    )


@probe
def sources() -> Any:
    return [
        each(lambda fn: inspect.getsource(fn)),
        each(lambda fn: inspect.getsourcefile(fn)),
        each(lambda fn: inspect.getsourcelines(fn)[1]),
        inspect.getsource(app.__call__),
        digest(inspect.getsource(fastapi)),
        digest(inspect.getsource(FastAPI)),
        inspect.getfile(FastAPI),
        {name: digest(inspect.getsource(sys.modules[name])) for name in MODULES},
        {name: len(linecache.getlines(str(sys.modules[name].__file__))) for name in MODULES},
    ]


@probe
def disassembly() -> Any:
    def text(fn: Any) -> str:
        out = io.StringIO()
        dis.dis(fn, file=out)
        return digest(re.sub(r"0x[0-9a-f]+", "0x", out.getvalue()))

    return each(text)


@probe
def kinds() -> Any:
    checks = [
        callable,
        inspect.isfunction,
        inspect.ismethod,
        inspect.isroutine,
        inspect.isbuiltin,
        inspect.ismethoddescriptor,
        inspect.isdatadescriptor,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        lambda it: isinstance(it, types.FunctionType),
        lambda it: isinstance(it, types.MethodType),
        lambda it: isinstance(it, Callable),
        lambda it: isinstance(it, typing.Hashable),
        lambda it: it.__class__.__name__,
        bool,
        lambda it: re.sub(r"0x[0-9a-f]+", "0x", repr(it)),
        lambda it: re.sub(r"0x[0-9a-f]+", "0x", str(it)),
    ]
    return [
        each(lambda fn: [check(fn) for check in checks]),
        [re.sub(r"0x[0-9a-f]+", "0x", str(check(app.__call__))) for check in checks],
    ]


@probe
def attribute_lists() -> Any:
    return each(lambda fn: sorted(set(dir(fn)) - {"__wrapped__"}))


@probe
def unwrapped() -> Any:
    return each(lambda fn: inspect.unwrap(fn).__qualname__)


@probe
def missing_attributes() -> Any:
    return [each(lambda fn: fn.no_such_thing), each(lambda fn: delattr(fn, "no_such_thing"))]


@probe
def own_attributes() -> Any:
    def mark(fn: Any) -> Any:
        fn.mark = 1
        seen = [fn.mark, fn.__dict__, hasattr(fn, "mark")]
        del fn.mark
        return [seen, hasattr(fn, "mark")]

    return each(mark)


@probe
def identity() -> Any:
    bound = app.__call__
    return [
        each(lambda fn: [fn == fn, hash(fn) == hash(fn), fn in {fn}, fn != 1]),
        {name: get() is get() for name, get in FUNCTIONS.items()},
        bound is app.__call__,
        bound == app.__call__,
        hash(bound) == hash(app.__call__),
        bound in {app.__call__},
        bound == Starlette(routes=[]).__call__,
        bound.__self__ is app,
        bound.__func__ is Starlette.__call__,
        Starlette.__call__.__get__(app, Starlette) == bound,
        Starlette.__call__.__get__(None, Starlette) is Starlette.__call__,
        types.MethodType(Starlette.__call__, app) == bound,
        Starlette.__dict__["__call__"] is Starlette.__call__,
        FastAPI.__call__ is Starlette.__call__,
    ]


@probe
def pickles() -> Any:
    def again(fn: Any) -> Any:
        copies = [pickle.loads(pickle.dumps(fn, version)) for version in range(6)]
        copies.append(pickle.loads(pickle._dumps(fn)))  # The one that is written in Python.
        return [it is fn for it in copies]

    return each(again)


@probe
def copies() -> Any:
    return [
        each(lambda fn: [copy.copy(fn) is fn, copy.deepcopy(fn) is fn]),
        copy.copy(app.__call__) == app.__call__,
        Recorder().run(copy.copy(app)),
    ]


@probe
def weak_references() -> Any:
    return [
        each(lambda fn: weakref.ref(fn)() is fn),
        each(lambda fn: fn in weakref.WeakSet([fn])),
        told(lambda: weakref.WeakMethod(app.__call__)() == app.__call__),
    ]


@probe
def classes() -> Any:
    return [
        list(Starlette.__dict__),
        list(FastAPI.__dict__),
        [attribute[:3:2] for attribute in map(tuple, inspect.classify_class_attrs(Starlette))],
        [name for name, _ in inspect.getmembers(FastAPI, inspect.isfunction)],
        [name for name, _ in inspect.getmembers(app, inspect.ismethod)],
        digest(pydoc.plain(pydoc.render_doc(Starlette))),
        digest(pydoc.plain(pydoc.render_doc(Route))),
        [cls.__name__ for cls in FastAPI.__mro__],
    ]


@probe
def functools_on_them() -> Any:
    partial = functools.partial(Starlette.__call__, app)
    wrapped = functools.wraps(Starlette.__call__)(lambda *args: Starlette.__call__(*args))
    return [
        inspect.iscoroutinefunction(partial),
        str(inspect.signature(partial)),
        str(inspect.signature(wrapped)),
        wrapped.__qualname__,
        sorted(vars(wrapped)),
        Recorder().run(partial),
        Recorder().run(functools.partial(wrapped, app)),
        Recorder().run(functools.partialmethod(Starlette.__call__).__get__(app, Starlette)),
    ]


# Replacing them.


@probe
def subclass_with_super() -> Any:
    class Own(FastAPI):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["own"] = True
            await super().__call__(scope, receive, send)

    class Second(Own):
        def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
            return super().__call__(scope, receive, send)

    recorder = Recorder()
    own, second = Own(), Second()
    return [
        recorder.run(own),
        recorder.scope["own"],
        inspect.iscoroutinefunction(own.__call__),
        Recorder().run(second),
        isinstance(second, Starlette),
        inspect.iscoroutinefunction(second.__call__),
        str(inspect.signature(own.__call__)),
    ]


@probe
def mock_patch() -> Any:
    before = FastAPI.__dict__["__call__"]
    found = []
    for options in ({}, {"autospec": True}):
        with unittest.mock.patch.object(FastAPI, "__call__", **options) as mock:
            found.append(type(FastAPI.__call__).__name__)
            application = FastAPI()
            result = application("scope", "receive", "send")
            found.append(type(result).__name__)
            if inspect.iscoroutine(result):
                result.close()
            found.append(str(mock.call_args)[-30:])
            if options:
                found.append(told(lambda application=application: application(1)))
        found.append(FastAPI.__dict__["__call__"] is before)
    spec = unittest.mock.create_autospec(FastAPI, instance=True)
    found.append(told(lambda: spec(1, 2)))
    found.append(Recorder().run(FastAPI()))
    return found


@probe
def monkeypatch() -> Any:
    original = Starlette.__call__
    seen = []

    @functools.wraps(original)
    async def own(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await original(self, scope, receive, send)

    Starlette.__call__ = own  # type: ignore[method-assign]
    try:
        sent = Recorder().run(app)
    finally:
        Starlette.__call__ = original  # type: ignore[method-assign]
    return [sent, seen, Starlette.__call__ is original, Recorder().run(app)]


@probe
def deleted() -> Any:
    class Own(Starlette):
        __call__ = Starlette.__call__

    ran = Recorder().run(Own(routes=app.router.routes))
    del Own.__call__
    return [ran, Recorder().run(Own(routes=app.router.routes)), "__call__" in Own.__dict__]


if __name__ == "__main__":
    report()
