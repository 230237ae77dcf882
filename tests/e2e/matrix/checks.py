# SPDX-License-Identifier: MIT
"""What the tests of both frameworks want of a SERVER span."""

import os
import re
from typing import Any

from harness.otlp import Span
from harness.served import Served, new_context


def check_names(span: Span, method: str, route: str | None, status: int) -> None:
    """What the conventions say about the name, the route and the status."""
    assert span.attributes.get("http.route") == route
    assert span.name == (f"{method} {route}" if route else method)
    assert span.attributes["http.request.method"] == method
    assert span.attributes["http.response.status_code"] == status
    assert span.status == ("ERROR" if status >= 500 else "UNSET")
    assert ("error.type" in span.attributes) == (status >= 500)


def check_failure(span: Span, types: tuple[str, ...], inside: str) -> None:
    """The span tells an exception of one of these types, and that this function raised it.

    Where a middleware or a response runs the application in a task group, the versions of Starlette
    between 0.29 and 0.41 raise a group of one: then what it holds is told, too.
    """
    assert span.status == "ERROR"
    told = exceptions(span)
    assert told[0]["exception.type"].endswith(types)
    assert span.attributes["error.type"] == told[0]["exception.type"]
    stacks = "".join(event["exception.stacktrace"] for event in told)
    assert re.search(rf" in (\S+\.)?{inside}\n", stacks)


def exceptions(span: Span) -> list[dict[str, Any]]:
    """The attributes of the exceptions that the span tells: one, or a group and what it holds."""
    return [event.attributes for event in span.events if event.name == "exception"]


def stream_ends_with_its_last_chunk(served: Served, path: str, gate: str) -> None:
    """The gate's own span is between the first and the last chunk."""
    context, name = new_context(), os.urandom(4).hex()
    headers = {**context.headers, "Accept-Encoding": "identity"}
    with served.server.client.stream("GET", f"{path}/{name}", headers=headers) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first|"
        _, opening = served.ask("GET", f"{gate}/{name}")
        assert b"".join(pieces) == b"last"
    span = served.edge(context)
    check_names(span, "GET", f"{path}/{{name}}", 200)
    assert span.start_ns < opening.start_ns < span.end_ns
