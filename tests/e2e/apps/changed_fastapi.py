# SPDX-License-Identifier: MIT
"""The application of steps.py on a FastAPI in which one function has become another callable.

The module that holds it is changed before the one whose import installs the hooks.
"""

import importlib.abc
import importlib.util
import sys


class Finder(importlib.abc.MetaPathFinder):
    """Puts a callable object in the place of a function as soon as its module is there."""

    def find_spec(self, name, path, target=None):
        if name != "fastapi.routing":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def changed(module):
            execute(module)
            function = module.run_endpoint_function

            class Other:
                async def __call__(self, **arguments):
                    return await function(**arguments)

            module.run_endpoint_function = Other()

        spec.loader.exec_module = changed
        return spec


sys.meta_path.insert(0, Finder())
from steps import app

assert app
