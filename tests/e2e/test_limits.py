# SPDX-License-Identifier: MIT
"""The standard's limits, each end to end: what is cut, what is left out, and how that is told."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.jaeger import Jaeger
from harness.otlp import Span
from harness.process import Runner
from harness.receiver import HttpReceiver
from harness.tree import one

LENGTH, COUNT = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"
SPAN_LENGTH = "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"
SPAN_COUNT = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
EVENTS, EVENT_COUNT = "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"
LINKS, LINK_COUNT = "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"

# One, two, three and four bytes.
TEXT = "aé€😀" * 10


def served(run: Runner, receiver: HttpReceiver, env: dict[str, str], path: str) -> Span:
    """Returns the SERVER span of one request, to a server that has nothing to complain of."""
    seen = len(receiver.spans)
    server = run.uvicorn("sampled:app", env=receiver.env | env)
    server.get(path, headers={"user-agent": TEXT.encode()})
    assert server.stop() == -15
    assert server.agent_lines == []
    return one(receiver.spans[seen:], kind="SERVER")


def cut(value: Any, length: int | None) -> Any:
    """Returns the value as a limit of so many characters (None: no limit) leaves it."""
    return value if length is None or not isinstance(value, str) else value[:length]


def texts(attributes: dict[str, Any], length: int | None = None) -> dict[str, str]:
    """Returns the attributes that are texts, as a limit of so many characters leaves
    them."""
    return {key: cut(value, length) for key, value in attributes.items() if isinstance(value, str)}


RAISES = f"/raises?message={TEXT}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Span]:
    """The SERVER span of RAISES without limits."""
    receiver = HttpReceiver()
    runner = Runner(tmp_path_factory.mktemp("whole"), build)
    yield served(runner, receiver, {}, RAISES)
    runner.kill_all()
    receiver.stop()
    receiver.check()


@pytest.mark.parametrize(
    ("env", "of_span", "of_event"),
    [
        ({LENGTH: "13"}, 13, 13),
        ({SPAN_LENGTH: "7"}, 7, None),
        ({LENGTH: "6", SPAN_LENGTH: "9"}, 9, 6),
        ({LENGTH: "1"}, 1, 1),
        ({SPAN_LENGTH: "0"}, 0, None),
        ({LENGTH: "100000"}, None, None),
        ({LENGTH: "99999999999999"}, None, None),
        ({LENGTH: ""}, None, None),
    ],
    ids=str,
)
def test_length_limit_counts_characters(
    run: Runner,
    receiver: HttpReceiver,
    whole: Span,
    env: dict[str, str],
    of_span: int | None,
    of_event: int | None,
) -> None:
    span = served(run, receiver, env, RAISES)
    assert whole.attributes["user_agent.original"] == TEXT
    assert TEXT in one(whole.events).attributes["exception.message"]
    assert texts(span.attributes) == texts(whole.attributes, of_span)
    assert span.attributes.keys() == whole.attributes.keys()
    before, event = one(whole.events).attributes, one(span.events).attributes
    assert event.keys() == before.keys()
    # Names, and the description of the status, have no limit.
    assert (span.name, span.status_message) == (whole.name, whole.status_message)
    for key, value in before.items():
        assert event[key] == cut(value, of_event)
    # A value that is cut is not dropped.
    assert (span.dropped_attributes, one(span.events).dropped_attributes) == (0, 0)


@pytest.mark.parametrize(
    ("env", "of_span", "of_event"),
    [
        ({SPAN_COUNT: "4"}, 4, None),
        ({COUNT: "2"}, 2, 2),
        ({COUNT: "1", SPAN_COUNT: "5"}, 5, 1),
        ({EVENT_COUNT: "1"}, None, 1),
        ({COUNT: "3", EVENT_COUNT: "0"}, 3, 0),
        ({COUNT: "0"}, 0, 0),
        ({COUNT: "1000000"}, None, None),
        ({LINKS: "0", LINK_COUNT: "0"}, None, None),
    ],
    ids=str,
)
def test_attributes_over_the_limit_are_dropped_and_counted(
    run: Runner,
    receiver: HttpReceiver,
    whole: Span,
    env: dict[str, str],
    of_span: int | None,
    of_event: int | None,
) -> None:
    span = served(run, receiver, env, RAISES)
    event, before = one(span.events), one(whole.events)
    for got, all_of_them, limit in ((span, whole, of_span), (event, before, of_event)):
        total = len(all_of_them.attributes)
        kept = total if limit is None else limit
        # Those that come first stay.
        names = list(all_of_them.attributes)[:kept]
        assert list(got.attributes) == names
        assert got.dropped_attributes == total - kept
    assert (whole.dropped_attributes, before.dropped_attributes) == (0, 0)
    assert (span.dropped_events, span.name, span.status) == (0, whole.name, "ERROR")


def test_events_over_the_limit_are_dropped_and_counted(
    run: Runner, receiver: HttpReceiver
) -> None:
    span = served(run, receiver, {EVENTS: "0"}, RAISES)
    assert (span.events, span.dropped_events, span.dropped_attributes) == ([], 1, 0)
    assert span.status == "ERROR"


@pytest.mark.parametrize(
    "name", [LENGTH, COUNT, SPAN_LENGTH, SPAN_COUNT, EVENTS, EVENT_COUNT]
)
@pytest.mark.parametrize("value", ["many", "-1", "1.5", "0x10"])
def test_limit_that_cannot_be_used_gets_one_line(
    run: Runner, receiver: HttpReceiver, name: str, value: str
) -> None:
    process = run.run([run.python, "selfcall.py", "1"], env=receiver.env | {name: value})
    assert (process.status, process.stdout) == (0, "served 1\n")
    assert len(process.agent_lines) == 1 and f"{name}={value}" in process.agent_lines[0]
    assert one(receiver.spans).dropped_attributes == 0


def test_jaeger_takes_spans_that_are_cut(run: Runner, jaeger: Jaeger) -> None:
    trace_id = os.urandom(16).hex()
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.grpc_endpoint,
        "OTEL_SERVICE_NAME": "limits",
        COUNT: "3",
        EVENT_COUNT: "1",
        LENGTH: "5",
    }
    server = run.uvicorn("sampled:app", env=env)
    server.get(RAISES, headers={"traceparent": f"00-{trace_id}-{'7' * 16}-01"})
    assert server.stop() == -15
    span = one(jaeger.wait(trace_id, 1))
    assert len([key for key in span.attributes if not key.startswith("@jaeger@")]) == 3
    assert span.dropped_attributes > 0
    assert one(span.events).dropped_attributes > 0
