# SPDX-License-Identifier: MIT
"""The right trace, always: of thousands of requests, in all manners, each is in its own trace."""

import dataclasses
import signal

import pytest

from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.swarm import Swarm, complaints, number_of

CLIENTS, EACH = 40, 30
STACKS = [(loop, http) for loop in ("asyncio", "uvloop") for http in ("h11", "httptools")]


@pytest.mark.parametrize(("loop", "http"), STACKS, ids=["-".join(stack) for stack in STACKS])
def test_every_request_is_in_its_own_trace(
    run: Runner, receiver: HttpReceiver, loop: str, http: str
) -> None:
    options = ("--loop", loop, "--http", http, "--no-access-log")
    env = {**receiver.env, "OTEL_BSP_MAX_QUEUE_SIZE": "16384"}
    server = run.uvicorn("right_trace:app", *options, env=env)
    asked = Swarm(server.port).run(CLIENTS, EACH)
    assert server.stop() == -signal.SIGTERM
    assert server.agent_lines == []
    spans = receiver.spans
    assert complaints(asked, spans) == []
    assert len(asked) == CLIENTS * EACH
    assert len({ask.context is None for ask in asked}) == 2

    # The judge sees a single one that is elsewhere.
    first, second = (
        next(span for span in spans if (span.kind, number_of(span)) == (kind, asked[0].number))
        for kind in ("SERVER", "CLIENT")
    )
    other = next(span for span in spans if span.trace_id != first.trace_id)
    for span, change in (
        (first, {"trace_id": other.trace_id}),
        (first, {"parent_id": other.parent_id or "0" * 16}),
        (first, {"parent_id": ""}),
        (second, {"trace_id": other.trace_id}),
        (second, {"parent_id": other.span_id}),
    ):
        changed = dataclasses.replace(span, **change)
        assert complaints(asked, [changed if s is span else s for s in spans])
    assert complaints(asked, [span for span in spans if span is not second])
    assert complaints(asked, [*spans, first])
