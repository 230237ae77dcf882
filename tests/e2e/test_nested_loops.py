# SPDX-License-Identifier: MIT
"""Event loops within a request, and applications called in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.serving import Serve, new_trace, serving
from harness.tree import assert_tree


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, build: Path) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("nested"), build) as start_once:
        yield start_once


@pytest.mark.parametrize("manner", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("path", "children"),
    [
        (
            "/nested",
            [("CREATE TABLE t", "CLIENT"), ("GET", "CLIENT"), ("DELETE sqlite_sequence", "CLIENT")],
        ),
        ("/threaded", [("GET", "CLIENT")]),
    ],
)
def test_request_in_a_loop_of_its_own(
    serve: Serve, manner: str, path: str, children: list[tuple[str, str]]
) -> None:
    """The inner request is in the trace of its own header, and leaves the outer one its own."""
    served = serve("nested_loops:app", manner)
    outer_id, outer = new_trace()
    inner_id, inner = new_trace()
    response = served.server.get(path, headers={**outer, "x-inner": inner["traceparent"]})
    assert response.json() == 200
    served.edge(outer_id)
    served.edge(inner_id)
    assert_tree(served.trace(outer_id, 1 + len(children)), (f"GET {path}", "SERVER", children))
    within = [("SELECT sqlite_master", "CLIENT")]
    assert_tree(served.trace(inner_id, 2), ("GET /inner/{number}", "SERVER", within))
