# SPDX-License-Identifier: MIT
"""What each of FAA_FASTAPI_SPANS adds to a traced request.

As request.py, in alternating blocks: with the hooks of the chosen steps in place, and with the
framework's own functions put back; the request's SERVER span is there in both. Run under the agent,
once for each choice: the choice is the process's.
"""

import os
import statistics
import time
from typing import Any

import fastapi
import fastapi.dependencies.utils
import fastapi.exceptions
import fastapi.routing
import starlette.background

from request import REQUESTS, SETTLING, one_request

BLOCKS = 100  # Of each kind, in turn.

STEPS = [
    (fastapi.routing, "solve_dependencies"),
    (fastapi.dependencies.utils, "solve_dependencies"),
    (fastapi.dependencies.utils, "request_body_to_args"),
    (fastapi.routing, "run_endpoint_function"),
    (fastapi.routing, "serialize_response"),
    (fastapi.exceptions.RequestValidationError, "__init__"),
    (starlette.background.BackgroundTask, "__call__"),
]

app = fastapi.FastAPI()


@app.get("/plain/{number}")
async def plain(number: int) -> dict[str, int]:
    return {"id": number}


async def first() -> int:
    return 1


async def second(first: int = fastapi.Depends(first)) -> int:
    return first + 1


@app.get("/depends/{number}")
async def depends(number: int, second: int = fastapi.Depends(second)) -> dict[str, int]:
    return {"id": number + second}


async def task() -> None:
    pass


@app.get("/task/{number}")
async def background(number: int, tasks: fastapi.BackgroundTasks) -> dict[str, int]:
    tasks.add_task(task)
    return {"id": number}


KINDS = {
    "plain": ("/plain/42", 200),
    "2 dependencies": ("/depends/42", 200),
    "1 background task": ("/task/42", 200),
    "invalid": ("/plain/x", 422),
}


def block(path: str, wanted: int) -> float:
    """Returns the microseconds of this thread's CPU time per request."""
    start = time.thread_time_ns()
    for _ in range(REQUESTS):
        one_request(app, path, wanted)
    return (time.thread_time_ns() - start) / REQUESTS / 1000


def measure(hooks: list[tuple[Any, str, Any]], path: str, wanted: int) -> dict[bool, float]:
    """The quiet tenth of the blocks, without and with the hooks."""
    results: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * BLOCKS):
        told = number % 2 == 1
        for owner, name, function in hooks:
            setattr(owner, name, function if told else function.__wrapped__)
        for _ in range(SETTLING):
            one_request(app, path, wanted)
        results[told].append(block(path, wanted))
    return {kind: statistics.quantiles(times, n=10)[0] for kind, times in results.items()}


def main() -> None:
    hooks = [(owner, name, vars(owner)[name]) for owner, name in STEPS if name in vars(owner)]
    hooks = [(o, n, f) for o, n, f in hooks if type(f).__module__ == "faa"]
    choice = os.environ.get("FAA_FASTAPI_SPANS") or "(default)"
    assert hooks, f"no step is hooked with FAA_FASTAPI_SPANS={choice}"
    for kind in os.environ["BENCH_REQUESTS"].split(","):
        value = measure(hooks, *KINDS[kind])
        added, ratio = value[True] - value[False], value[True] / value[False]
        label = f"{choice}: {kind}"
        print(f"{label:38} {value[False]:9.2f} {value[True]:9.2f} {added:8.2f} µs {ratio:6.3f}")


if __name__ == "__main__":
    main()
