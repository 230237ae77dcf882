# SPDX-License-Identifier: MIT
"""Runs `fastapi-auto-agent doctor`, and reads what it tells people and programs."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import Process, Runner

LABELS = {"ok": "ok", "note": "note", "warning": "warn", "problem": "FAIL", "skipped": "skip"}
STATUSES = set(LABELS)
STATES = {
    "instrumented",
    "disabled",
    "not wanted",
    "unknown shape",
    "broken",
    "not tried",
    "absent",
}
SOURCES = {"default", "environment", "option", "launcher"}


@dataclass
class Diagnosis:
    """What one call of the doctor has found; `text` is what people see, in one line."""

    status: int
    text: str
    report: dict[str, Any]

    def all(self, check: str) -> list[dict[str, Any]]:
        """Returns the findings of this name."""
        return [one for one in self.report["findings"] if one["check"] == check]

    def one(self, check: str, status: str) -> dict[str, Any]:
        """Returns the only finding of this name, which has this status."""
        (found,) = self.all(check)
        assert found["status"] == status, found
        return found

    def problems(self) -> set[str]:
        """Returns the names of all findings because of which traces do not arrive."""
        return {one["check"] for one in self.report["findings"] if one["status"] == "problem"}

    def setting(self, variable: str) -> dict[str, Any]:
        """Returns the setting with this variable."""
        (found,) = (one for one in self.report["settings"] if one["variable"] == variable)
        return found

    def library(self, name: str) -> dict[str, Any]:
        """Returns the library of this name."""
        (found,) = (one for one in self.report["libraries"] if one["name"] == name)
        return found


def _in_one_line(text: str) -> str:
    # Ids and times are others in each call.
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", " ".join(text.split()))
    return re.sub(r"\b\d+ milliseconds", "N milliseconds", text)


def strict(document: str) -> Any:
    """Reads JSON, and nothing that is only nearly JSON: no key twice, no NaN."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(document, object_pairs_hook=once, parse_constant=refuse)


def check_shape(report: dict[str, Any]) -> None:
    """Asserts that it has the documented fields, and no others."""
    assert set(report) == {
        *("schema", "version", "traces_arrive", "is_cut", "command"),
        *("findings", "libraries", "settings"),
    }
    assert report["schema"] == 1
    assert report["is_cut"] is False
    for one in report["findings"]:
        assert set(one) == {"check", "status", "summary", "advice", "facts"}
        assert one["status"] in STATUSES and re.fullmatch(r"[a-z]+\.[a-z]+", one["check"]), one
        assert one["summary"] and (one["advice"] or one["advice"] is None), one
        assert all(isinstance(value, str) for value in one["facts"].values()), one
    for one in report["libraries"]:
        assert set(one) == {
            *("name", "library", "state", "version"),
            *("tested_versions", "is_tested_version", "reason"),
        }
        assert one["state"] in STATES, one
    for one in report["settings"]:
        assert set(one) == {"variable", "alternative", "value", "is_masked", "source", "option"}
        assert one["source"] in SOURCES and (one["option"] is None) == (one["source"] != "option")


def start(
    run: Runner, words: Sequence[str | Path], launcher: Path | None = None, **options: Any
) -> Process:
    """Runs the launcher with these words and returns the ended process."""
    command = [launcher or run.build / "bin" / "fastapi-auto-agent", *words]
    return run.run(command, agent="none", timeout=90, **options)


def diagnose(
    run: Runner,
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    launcher: Path | None = None,
    **more: Any,
) -> Diagnosis:
    """Asks the doctor twice, for text and for JSON; asserts that both say the same."""
    told = start(run, [*options, "doctor", "--", *command], launcher, env=env, **more)
    as_json = start(run, [*options, "doctor", "--json", "--", *command], launcher, env=env, **more)
    assert told.stderr == as_json.stderr == "", told.describe() + as_json.describe()
    report = strict(as_json.stdout)
    check_shape(report)
    text = _in_one_line(told.stdout)
    for one in report["findings"]:
        advice = f" -> {one['advice']}" if one["advice"] else ""
        words = _in_one_line(f"{LABELS[one['status']]} {one['summary']}{advice}")
        assert words in text, (words, told.stdout)
    assert told.status == as_json.status
    assert report["traces_arrive"] is (told.status == 0)
    assert ("Traces will arrive" in text) is (told.status == 0)
    assert told.status in (0, 1), told.describe()
    return Diagnosis(told.status, text, report)
