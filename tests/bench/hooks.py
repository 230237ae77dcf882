# SPDX-License-Identifier: MIT
"""The agent's hooks in the libraries of this process, found and taken out."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

Hook = tuple[Any, str, Any]  # Where it is, its name there, and the agent's object.


def _owners(packages: tuple[str, ...]) -> Iterator[Any]:
    """Yields the loaded modules of these packages, and the classes in them, each once."""
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.partition(".")[0] not in packages:
            continue
        for owner in [module, *(v for v in vars(module).values() if isinstance(v, type))]:
            if id(owner) not in seen:
                seen.add(id(owner))
                yield owner


def find(packages: tuple[str, ...]) -> list[Hook]:
    """Returns the agent's hooks in these packages."""
    return [
        (owner, name, value)
        for owner in _owners(packages)
        for name, value in list(vars(owner).items())
        if type(value).__module__ == "faa" and hasattr(value, "__wrapped__")
    ]


def take_out(hooks: list[Hook]) -> None:
    """Puts the library's own functions in their place."""
    for owner, name, hook in hooks:
        try:
            setattr(owner, name, hook.__wrapped__)
        except TypeError:  # A class written in C, whose dict only the interpreter changes.
            gc.get_referents(owner.__dict__)[0][name] = hook.__wrapped__
            ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))
