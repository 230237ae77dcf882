# SPDX-License-Identifier: MIT
"""Runs the same thing with the agent and without, and wants no difference."""

import difflib
import pprint
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from .process import Runner, Server

# What differs from run to run by its nature: addresses, ports, ids of processes and threads, uvicorn's
# start lines.
_NOISE = (
    (re.compile(r"0x[0-9a-f]{6,}"), "0xADDRESS"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"process \[\d+\]"), "process [PID]"),
    (re.compile(r"(started(?: daemon)?) \d+\)"), r"\1 THREAD)"),
    (re.compile(r"\[\d{4}-\d\d-\d\d [^\]]*\] \[\d+\]"), "[TIME] [PID]"),
)


@dataclass(frozen=True)
class Outcome:
    """All that can be seen of a server's life from outside."""

    result: Any
    status: int
    stdout: str
    stderr: str


def same_with_and_without(
    run: Runner,
    app: str,
    fn: Callable[[Server], Any],
    *args: str,
    agents: Sequence[str] = ("none", "preload"),
    **options: Any,
) -> Any:
    """Serves `app` under uvicorn once for each of `agents`, calls `fn(server)`, ends it by SIGTERM.

    Returns fn's result. Raises AssertionError when result, exit status, stdout or stderr (the
    agent's own lines aside) differ. `args` and `options` go to Runner.uvicorn.
    """
    outcomes = []
    for agent in agents:
        server = run.uvicorn(app, *args, agent=agent, **options)
        result = fn(server)
        status = server.stop()
        outcomes.append(Outcome(result, status, quiet(server.stdout), quiet(server.own_stderr)))
    first = outcomes[0]
    for agent, outcome in zip(agents[1:], outcomes[1:], strict=True):
        if outcome != first:
            diff = "\n".join(difflib.unified_diff(_lines(first), _lines(outcome), agents[0], agent))
            raise AssertionError(f"{app} behaves differently with the agent:\n{diff}")
    return first.result


def quiet(text: str) -> str:
    """Returns a log without what differs from run to run."""
    for pattern, word in _NOISE:
        text = pattern.sub(word, text)
    return text


def seen(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Returns what a client sees of a response: status, headers (not the date), body (without
    the addresses of objects, which older libraries have in their messages)."""
    headers = [(name, value) for name, value in response.headers.multi_items() if name != "date"]
    body = re.sub(rb"0x[0-9a-f]{6,}", b"0xADDRESS", response.content)
    return response.status_code, headers, body


def odd_cases(server: Server) -> dict[str, Any]:
    """Runs every case of apps/odd_asgi.py and returns what a client sees of each."""
    outcomes: dict[str, Any] = {}
    for path in server.get("/").text.splitlines():
        try:
            if path == "/disconnect":
                with server.client.stream("GET", path) as response:
                    outcomes[path] = next(response.iter_raw())
            else:
                outcomes[path] = seen(server.get(path))
        except httpx.HTTPError as error:
            outcomes[path] = type(error).__name__
        server.wait_log(f"^end {path}$")
    return outcomes


def _lines(outcome: Outcome) -> list[str]:
    return [
        f"status {outcome.status}",
        *(f"result {line}" for line in pprint.pformat(outcome.result, width=96).splitlines()),
        *(f"stdout {line}" for line in outcome.stdout.splitlines()),
        *(f"stderr {line}" for line in outcome.stderr.splitlines()),
    ]
