# SPDX-License-Identifier: MIT
"""Assertions on spans: find one, compare a whole tree."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .otlp import Span, describe

# (name, kind) or (name, kind, [children])
Expected = tuple[str, str] | tuple[str, str, list[Any]]


@dataclass(frozen=True)
class Node:
    """A span and the nodes of its children, in order of start."""

    span: Span
    children: list["Node"]


def tree(spans: Iterable[Span]) -> list[Node]:
    """Returns the roots, in order of start.

    A span whose parent is not among `spans` is a root. Raises AssertionError on a cycle.
    """
    ordered = sorted(spans, key=lambda span: (span.start_ns, span.end_ns))
    nodes = {(span.trace_id, span.span_id): Node(span, []) for span in ordered}
    roots: list[Node] = []
    for node in nodes.values():
        parent = nodes.get((node.span.trace_id, node.span.parent_id))
        (roots if parent is None else parent.children).append(node)
    reached = sum(len(list(_nodes(root))) for root in roots)
    assert reached == len(nodes), f"parents form a cycle:\n{describe(ordered)}"
    return roots


def assert_tree(spans: Iterable[Span], *expected: Expected, ordered: bool = False) -> None:
    """Asserts that the spans form exactly these trees: (name, kind) or (name, kind, [children]).

    Siblings may come in any order, unless `ordered`: then by their start. Raises AssertionError
    with a difference line by line.
    """
    spans = list(spans)
    have = _lines([_plain(node) for node in tree(spans)], ordered)
    want = _lines(list(expected), ordered)
    if have != want:
        diff = "\n".join(line.rstrip("\n") for line in difflib.ndiff(want, have))
        raise AssertionError(f"span tree (- expected, + received):\n{diff}\nof\n{describe(spans)}")


def where(spans: Iterable[Span], **fields: Any) -> list[Span]:
    """Returns the spans whose fields have these values; `attributes` may name a part of them."""
    part = fields.pop("attributes", {})
    return [
        span
        for span in spans
        if all(getattr(span, name) == value for name, value in fields.items())
        and all(
            key in span.attributes and span.attributes[key] == value for key, value in part.items()
        )
    ]


def one(spans: Iterable[Span], **fields: Any) -> Span:
    """Returns the only span with these fields (see where). Raises AssertionError else."""
    spans = list(spans)
    found = where(spans, **fields)
    assert len(found) == 1, f"{len(found)} spans with {fields}, not 1, among\n{describe(spans)}"
    return found[0]


def _nodes(node: Node) -> Iterable[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _plain(node: Node) -> Expected:
    return node.span.name, node.span.kind, [_plain(child) for child in node.children]


def _lines(nodes: list[Expected], ordered: bool) -> list[str]:
    blocks = []
    for name, kind, *rest in nodes:
        children = _lines(rest[0] if rest else [], ordered)
        blocks.append([f"{name} [{kind}]", *(f"    {line}" for line in children)])
    return [line for block in (blocks if ordered else sorted(blocks)) for line in block]
