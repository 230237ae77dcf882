# SPDX-License-Identifier: MIT
"""Uses a library whose shape is another one: changed_library.py NAME [CHANGE TARGET MODULE].

NAME is a function of uses.py. CHANGE, a function of this file, is done to TARGET ("module:a.b") when
the body of MODULE has run, and before anybody else sees it. What the library does then, or how it
fails, is printed. The exit status is 3 where a change cannot be made: to a class written in C. A
library that hangs is ended by SIGALRM after PATIENCE seconds.
"""

import os
import signal
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def removed(owner: Any, name: str) -> None:
    for place in _places(owner, name):
        delattr(place, name)


def renamed(owner: Any, name: str) -> None:
    for place in _places(owner, name):
        value = vars(place)[name]
        delattr(place, name)
        setattr(place, f"{name}_renamed", value)


def number(owner: Any, name: str) -> None:
    setattr(owner, name, 1)


def some_class(owner: Any, name: str) -> None:
    setattr(owner, name, type("Replaced", (), {"__init__": lambda *args, **options: None}))


def partial(owner: Any, name: str) -> None:
    import functools

    setattr(owner, name, functools.partial(getattr(owner, name)))


def static(owner: Any, name: str) -> None:
    setattr(owner, name, staticmethod(getattr(owner, name)))


def foreign(owner: Any, name: str) -> None:
    """As other tools do: it looks like the function, and wants to know the object."""
    setattr(owner, name, Foreign(_raw(owner, name), name))


def old_foreign(owner: Any, name: str) -> None:
    """One that is a function itself."""
    original = getattr(owner, name)

    def wrapper(*args: Any, **options: Any) -> Any:
        return original(*args, **options)

    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    setattr(owner, name, wrapper)


def outer_renamed(owner: Any, name: str) -> None:
    """The class of a method has another name; done by change()."""
    raise AssertionError((owner, name))


class Foreign:
    """A transparent proxy that binds itself."""

    def __init__(self, wrapped: Any, name: str, instance: Any = None, is_bound: bool = False) -> None:
        self._wrapped, self._name, self._instance = wrapped, name, instance
        self._is_bound = is_bound

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return self._wrapped.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return Foreign(self._wrapped.__get__(instance, owner), self._name, instance, True)

    def __call__(self, *args: Any, **options: Any) -> Any:
        instance = self._instance
        if self._is_bound and instance is None and args:
            instance = args[0]  # The method of the class, called with an object.
        print(f"{self._name} of {type(instance).__name__}")
        return self._wrapped(*args, **options)


def _raw(owner: Any, name: str) -> Any:
    return vars(_places(owner, name)[0])[name]


def _places(owner: Any, name: str) -> list[Any]:
    """Where the name is: the module, or the class and those of its bases that have it (and are none
    of Python's own)."""
    if not isinstance(owner, type):
        return [owner]
    places = [one for one in owner.__mro__ if one.__module__ != "builtins" and name in vars(one)]
    assert places, (owner, name)
    return places


def change(how: str, module: ModuleType, path: str) -> None:
    """Does one of the changes above to an attribute of a module, or of a class in it."""
    *outer, name = path.split(".")
    owner: Any = module
    if how == "outer_renamed":
        how, name, outer = "renamed", outer[0], []
    try:
        for word in outer:
            owner = getattr(owner, word)
        globals()[how](owner, name)
    except TypeError as error:
        print(f"cannot change {path}: {error!r}", flush=True)
        os._exit(3)


class Changer:
    """The finder and the loader of one module: those of the library, with a change at the end."""

    def __init__(self, how: str, target: str, module: str) -> None:
        self.how = how
        self.place, _, self.path = target.partition(":")
        self.module = module
        self.original: Any = None
        if module in sys.modules:
            raise SystemExit(f"{module} is there before anything can be changed")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.module:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            self.original = spec.loader
            spec.loader = self  # type: ignore[assignment]
        return spec

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.original.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.original.exec_module(module)
        if self.place in sys.modules:
            change(self.how, sys.modules[self.place], self.path)
            self.module = ""
        else:
            self.module = self.place  # It comes later.


def main(name: str, *asked: str) -> None:
    signal.alarm(int(os.environ["PATIENCE"]))
    if asked:
        # Behind the agent's own finder, if it is here.
        sys.meta_path.insert(sys.meta_path.index(PathFinder), Changer(*asked))
    try:
        import uses

        getattr(uses, name.replace("-", "_"))()
    except Exception as error:
        print(f"failed: {type(error).__module__}.{type(error).__qualname__}: {error}", flush=True)
        os._exit(0)  # A thread of the library may wait for what has failed.
    print("done")


main(*sys.argv[1:])
