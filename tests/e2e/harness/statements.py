# SPDX-License-Identifier: MIT
"""What the tests of database drivers share: applications with a real server, and their spans."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import libraries
from .databases import DATABASE, PASSWORD, USER, Database
from .otlp import Span
from .traced import Call, Traced, traced


def environment(server: Database) -> dict[str, str]:
    """How an application finds the server: DSN (as libpq reads it), URL (behind "driver://"), and
    SOCKET."""
    return {
        "DSN": f"host=127.0.0.1 port={server.port} user={USER} password={PASSWORD}"
        f" dbname={DATABASE}",
        "URL": f"{USER}:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}",
        "SOCKET": server.socket,
    }


@contextmanager
def secretive(folder: Path, build: Path, app: str, env: dict[str, str]) -> Iterator[Traced]:
    """Serves an application; at the end no word of its secrets, all with "hush", has left it.

    Raises AssertionError when one has, and as traced() does.
    """
    python = libraries.python()
    with traced(folder, build, python, app, env=env) as server:
        yield server
        assert b"hush" not in server.sent
        assert PASSWORD.encode() not in server.sent


def database_spans(call: Call) -> list[Span]:
    """All spans of a call but the request's, in order of start.

    Raises AssertionError unless each is a CLIENT span right under the request's, and in it.
    """
    for span in call.spans:
        assert (span.kind, span.parent_id) == ("CLIENT", call.server.span_id), span
        assert span.trace_id == call.server.trace_id, span
        assert call.server.start_ns <= span.start_ns <= span.end_ns, span
        assert (span.events, span.links) == ([], []), span
    return call.spans


def statements(call: Call) -> list[Span]:
    """Those that are no connects."""
    return [span for span in database_spans(call) if span.name != "connect"]


def connects(call: Call) -> list[Span]:
    """Those that are."""
    return [span for span in database_spans(call) if span.name == "connect"]


def told(span: Span) -> tuple[str, str | None, str]:
    """Name, text and status of a statement's span."""
    return span.name, span.attributes.get("db.query.text"), span.status


def failure(span: Span) -> list[Any]:
    """What a failed operation says of its failure. Raises AssertionError when it is none."""
    assert span.status == "ERROR", span
    keys = ("error.type", "db.response.status_code")
    return [span.status_message, *(span.attributes.get(key) for key in keys)]
