# SPDX-License-Identifier: MIT
"""What Python code can find out about the libraries' modules, and about its process."""

import asyncio
import copy
import gc
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import pkgutil
import re
import runpy
import signal
import sys
import threading
import traceback
import types
import warnings
from typing import Any

from probing import Recorder, digest, probe, report, told

MODULES = ("fastapi.applications", "starlette.applications", "requests.adapters", "sqlalchemy")

# Before the libraries are imported.


@probe
def modules_at_the_start() -> Any:
    return sorted(sys.modules)


@probe
def spec_before_import() -> Any:
    spec = importlib.util.find_spec("sqlalchemy")
    assert spec is not None and spec.loader is not None
    loader: Any = spec.loader
    return [
        spec.name,
        spec.origin,
        spec.cached,
        spec.parent,
        spec.has_location,
        spec.submodule_search_locations,
        isinstance(loader, importlib.machinery.SourceFileLoader),
        isinstance(loader, importlib.abc.InspectLoader),
        loader.name,
        loader.path,
        loader.get_filename("sqlalchemy"),
        loader.is_package("sqlalchemy"),
        digest(loader.get_source("sqlalchemy")),
        loader.get_code("sqlalchemy").co_filename,
        digest(loader.get_data(loader.path)),
        "sqlalchemy" in sys.modules,
    ]


@probe
def spec_that_is_loaded_by_hand() -> Any:
    spec = importlib.util.find_spec("requests.adapters")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = [module.__file__, module.__package__, isinstance(module, types.ModuleType)]
    spec.loader.exec_module(module)
    return [*before, type(module.__loader__).__name__, type(spec.loader).__name__, repr(module)]


@probe
def lazy_import() -> Any:
    """A module that is executed when it is first used."""
    name = "starlette.applications"
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    before = object.__getattribute__(module, "__class__").__name__
    found = [before, callable(module.Starlette), type(module).__name__]
    del sys.modules[name]
    return found


@probe
def modules_after_import() -> Any:
    for name in MODULES:
        importlib.import_module(name)
    return sorted(sys.modules)


import fastapi  # noqa: E402
import starlette.routing  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402

async def endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("text")


app = Starlette(routes=[Route("/", endpoint), Mount("/m", routes=[Route("/", endpoint)])])


# Modules.


@probe
def loaders() -> Any:
    found = {}
    for name in (*MODULES, "fastapi", "starlette", "requests", "fastapi.routing"):
        module = sys.modules[name]
        spec = module.__spec__
        assert spec is not None
        found[name] = [
            type(module.__loader__).__name__,
            type(spec.loader).__name__,
            module.__loader__ is spec.loader,
            type(module).__name__,
            module.__file__,
            getattr(module, "__cached__", None),
            module.__package__,
            spec.name,
            spec.origin,
            spec.has_location,
            getattr(spec, "_initializing", None),
            repr(module),
            re.sub(r"0x[0-9a-f]+", "0x", repr(spec)),
            sorted(vars(module)),
        ]
    return found


@probe
def specs_after_import() -> Any:
    found = {}
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        found[name] = [
            spec is sys.modules[name].__spec__,
            spec.origin,
            type(spec.loader).__name__,
            re.sub(r"0x[0-9a-f]+", "0x", repr(spec)),
        ]
    return found


@probe
def module_not_found() -> Any:
    def text(name: str) -> str:
        try:
            importlib.import_module(name)
        except ImportError:
            return traceback.format_exc()
        return ""

    return [
        text("sqlalchemy.no_such_thing"),
        text("no_such_thing"),
        text("fastapi.applications.no"),
        importlib.util.find_spec("no_such_thing"),
    ]


@probe
def blocked_module() -> Any:
    """None in sys.modules forbids an import."""
    name = "requests.adapters"
    module = sys.modules.pop(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        return told(lambda: importlib.import_module(name))
    finally:
        sys.modules[name] = module


@probe
def finders() -> Any:
    importlib.invalidate_caches()
    own = [it for it in sys.meta_path if type(it).__module__ != "faa"]
    return [
        [getattr(it, "__name__", type(it).__name__) for it in own],
        [getattr(it, "__name__", type(it).__name__) for it in sys.path_hooks],
        sys.path,
        copy.copy(sys.meta_path) == sys.meta_path,
    ]


@probe
def finder_of_the_application() -> Any:
    """A finder that is put in front sees every import, ours or not."""
    asked = []

    class Finder:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            asked.append(name)

    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if "requests" in name}
    sys.meta_path.insert(0, Finder())
    try:
        importlib.import_module("requests.adapters")
    finally:
        del sys.meta_path[0]
        sys.modules.update(modules)
    return [name for name in asked if name.startswith("requests")]


@probe
def reloaded() -> Any:
    found = []
    for name in MODULES:
        module = importlib.reload(sys.modules[name])
        found.append([
            module is sys.modules[name],
            type(module.__loader__).__name__,
            type(module.__spec__.loader).__name__,
        ])
    new = sys.modules["starlette.applications"].Starlette
    found.append([new is not Starlette, inspect.iscoroutinefunction(new.__call__)])
    found.append(Recorder().run(new(routes=app.router.routes)))
    found.append(Recorder().run(app))
    return found


@probe
def imported_anew() -> Any:
    kept = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.partition(".")[0] in ("fastapi", "starlette")
    }
    try:
        fresh = importlib.import_module("fastapi").FastAPI
        assert fresh.__call__ is not FastAPI.__call__
        return [fresh is not FastAPI, Recorder().run(fresh())]
    finally:
        sys.modules.update(kept)


@probe
def resources() -> Any:
    return [
        importlib.resources.files("fastapi").joinpath("py.typed").is_file(),
        importlib.resources.files("sqlalchemy").joinpath("py.typed").is_file(),
        digest(pkgutil.get_data("sqlalchemy", "__init__.py") or b""),
        digest(pkgutil.get_data("fastapi", "applications.py") or b""),
        sorted(it.name for it in pkgutil.iter_modules(fastapi.__path__)),
        sorted(it.name for it in pkgutil.iter_modules(starlette.__path__)),
        pkgutil.resolve_name("fastapi.applications:FastAPI") is not None,
        importlib.metadata.version("fastapi"),
    ]


@probe
def run_as_a_module() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(runpy.run_module("requests.adapters"))


# The process.


@probe
def interpreter_state() -> Any:
    return [
        [thread.name for thread in threading.enumerate()],
        threading.active_count(),
        [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        sys.gettrace(),
        sys.getprofile(),
        sys.excepthook is sys.__excepthook__,
        sys.unraisablehook is sys.__unraisablehook__,
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        list(map(str, warnings.filters)),
        sys.flags,
        gc.isenabled(),
        gc.get_threshold(),
        sys.argv[1:],
        sys.dont_write_bytecode,
        sys.get_coroutine_origin_tracking_depth(),
        type(asyncio.get_event_loop_policy()).__name__,
    ]


@probe
def recursion() -> Any:
    """An application in an application in an application."""
    nested: Any = app
    for _ in range(30):
        nested = Starlette(routes=[Mount("/m", app=nested)])
    return Recorder("/m" * 30 + "/").run(nested)


if __name__ == "__main__":
    report()
