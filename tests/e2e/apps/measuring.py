# SPDX-License-Identifier: MIT
"""How much memory a process uses, as its C library sees it.

PYTHONMALLOC=malloc lets it see what Python has allocated, too.
"""

import ctypes
import time


class Mallinfo2(ctypes.Structure):
    """struct mallinfo2 of malloc.h: ten numbers, the eighth is what is in use."""

    _fields_ = [
        *((f"before_{n}", ctypes.c_size_t) for n in range(7)),
        ("uordblks", ctypes.c_size_t),
        *((f"after_{n}", ctypes.c_size_t) for n in range(2)),
    ]


_mallinfo2 = ctypes.CDLL(None).mallinfo2
_mallinfo2.restype = Mallinfo2


def bytes_in_use() -> int:
    """Bytes allocated, when the exporter is idle."""
    return min(_mallinfo2().uordblks for _ in range(20) if time.sleep(0.02) is None)
