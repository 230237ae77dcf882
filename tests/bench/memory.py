# SPDX-License-Identifier: MIT
"""What the agent adds to the resident set of a process at its defaults, the exporter at work.

Runs itself in turn without the agent and with it, which is FAA_SHIM, and prints the difference of
the medians.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 5
REQUESTS = 6000  # More than the ring holds: all of it is in use, and there were several batches.
LIMIT = 8


def serve() -> None:
    """Serves requests and prints the process's resident set in bytes."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "e2e" / "apps"))
    import selfcall

    for number in range(REQUESTS):
        selfcall.request()
        if number % 500 == 0:
            time.sleep(0.05)
    time.sleep(0.5)
    tasks = Path("/proc/self/task").iterdir()
    threads = [(task / "comm").read_text().strip() for task in tasks]
    assert ("faa-export" in threads) == ("LD_PRELOAD" in os.environ), threads
    print(selfcall.resident())


def resident(more: dict[str, str]) -> int:
    """Returns what a process with these variables has printed."""
    command = [sys.executable, __file__, "serve"]
    env = {**os.environ, **more}
    return int(subprocess.run(command, env=env, check=True, capture_output=True).stdout)


def main() -> None:
    pairs = [
        (resident({}), resident({"LD_PRELOAD": os.environ["FAA_SHIM"]})) for _ in range(RUNS)
    ]
    bare, traced = (statistics.median(column) / 2**20 for column in zip(*pairs, strict=True))
    what = f"resident set, MiB ({LIMIT} more at most)"
    print(f"{what:60} {bare:6.1f} {traced:7.1f} {traced - bare:8.2f} MiB")


if __name__ == "__main__":
    serve() if len(sys.argv) > 1 else main()
