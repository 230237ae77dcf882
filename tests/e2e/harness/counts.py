# SPDX-License-Identifier: MIT
"""The agent's own numbers of spans, as its debug log tells them when a process ends."""

import re
from dataclasses import dataclass

from .process import Process

_PID = r"^\S+ (\d+) faa debug: "
_FLUSHED = re.compile(_PID + r"flushed: (\d+) spans ended, (\d+) exported, (\d+) dropped$", re.M)
_WAITING = re.compile(_PID + r"(\d+) of these are still waiting$", re.M)
_FILES = re.compile(_PID + r"(\d+) of them went into files, and (\d+) came out of such", re.M)
_ENDED = re.compile(_PID + r"(\d+) spans ended, for (\d+) of them there was no room$", re.M)
_GUARD = re.compile(r"debug: process (\d+): (\d+) spans exported from here, (\d+) dropped$", re.M)


@dataclass(frozen=True)
class Counts:
    """Spans of one process, or of several: `ended` and what became of them.

    `waiting` is the part of `dropped` that was in memory yet when time was over; without it, each
    way that a span was lost has been counted where it was lost. `spooled` went into files; what was
    sent from files, and dropped that had been in files, may be another process's.
    """

    ended: int = 0
    exported: int = 0
    dropped: int = 0
    waiting: int = 0
    spooled: int = 0
    unspooled: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        names = self.__dataclass_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


def counts_by_pid(process: Process) -> dict[int, Counts]:
    """Returns the last numbers of each process that has written into this one's log."""
    text = process.stderr
    last: dict[int, tuple[int, list[int]]] = {}
    for found in _FLUSHED.finditer(text):
        pid, *numbers = map(int, found.groups())
        last[pid] = found.end(), numbers
    result = {}
    for pid, (at, numbers) in last.items():
        waiting = _last(_WAITING, text, at, pid) or [0]
        files = _last(_FILES, text, at, pid) or [0, 0]
        result[pid] = Counts(*numbers, *waiting, *files)
    return result


def counts(process: Process) -> Counts:
    """Returns the sum of counts_by_pid. Raises AssertionError when there is none."""
    found = counts_by_pid(process)
    assert found, f"no numbers: {process.describe()}"
    return sum(found.values(), Counts())


def guarded_counts(process: Process) -> Counts:
    """The same of a process under the guard, which tells the second half, and has ended, too."""
    text = process.stderr
    ended = {int(pid): (int(a), int(b)) for pid, a, b in _ENDED.findall(text)}
    told = {int(pid): (int(a), int(b)) for pid, a, b in _GUARD.findall(text)}
    assert ended and ended.keys() == told.keys(), process.describe()
    parts = [
        Counts(ended[pid][0], told[pid][0], ended[pid][1] + told[pid][1]) for pid in ended
    ]
    return sum(parts, Counts())


def _last(pattern: re.Pattern[str], text: str, at: int, pid: int) -> list[int] | None:
    """The numbers of this process's line behind the position, if there is one."""
    for found in pattern.finditer(text, at):
        if int(found[1]) == pid:
            return [int(number) for number in found.groups()[1:]]
    return None
