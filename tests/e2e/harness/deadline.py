# SPDX-License-Identifier: MIT
"""Bounded waiting. FAA_TEST_TIMEOUT_FACTOR stretches every deadline on slow machines."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def scaled(seconds: float) -> float:
    """Returns `seconds` times FAA_TEST_TIMEOUT_FACTOR (default 1)."""
    return seconds * float(os.environ.get("FAA_TEST_TIMEOUT_FACTOR") or 1)


def until(probe: Callable[[], T], timeout: float, complaint: Callable[[], str]) -> T:
    """Calls `probe` until what it returns is true, and returns that.

    Raises AssertionError with `complaint()` when `timeout` seconds (scaled) have passed.
    """
    end = time.monotonic() + scaled(timeout)
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError(f"after {scaled(timeout):g} s: {complaint()}")
        time.sleep(0.02)
