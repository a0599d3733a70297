"""What every reader of foreign histories is given and gives: hints in, runs out, counts kept on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from sagacity_data.importers.foreign_runs import ForeignRun

NOTHING_SAID: Mapping[str, str] = MappingProxyType({})

NAMES_COUNTED_MAX: Final = 1_000
"""More different names than this are counted together, as `OTHERS`."""

NAME_CHARACTERS_MAX: Final = 200
OTHERS: Final = "(others)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What the user says of a history beyond its files.

    `undoes` maps the name of a compensating step to the step that it undoes; it wins over whatever links and
    naming rules suggest. `services` maps steps to services.
    """

    undoes: Mapping[str, str] = field(default_factory=lambda: NOTHING_SAID)
    services: Mapping[str, str] = field(default_factory=lambda: NOTHING_SAID)
    tenant: str = ""
    columns: Mapping[str, str] = field(default_factory=lambda: NOTHING_SAID)  # For csv: field to column.
    failed_when: tuple[tuple[str, str], ...] = ()  # For csv: columns, and what says there that a case failed,
    completed_when: tuple[tuple[str, str], ...] = ()  # or completed.


class Names(Counter[str]):
    """Counts by name, for `names[name] += 1`; names are cut, and beyond a number of them counted together.

    >>> names = Names()
    >>> names["timer_fired"] += 1
    >>> dict(names)
    {'timer_fired': 1}
    """

    def __setitem__(self, name: str, count: int) -> None:
        kept = name if name in self or len(self) < NAMES_COUNTED_MAX else OTHERS
        if len(kept) > NAME_CHARACTERS_MAX:
            kept = kept[: NAME_CHARACTERS_MAX - 1] + "…"
        super().__setitem__(kept, count if kept == name else self.get(kept, 0) + count)


@dataclass(slots=True)
class Tally:
    """What a reading met, counted as it goes; the caller owns it and may look at any time."""

    skipped: Counter[str] = field(default_factory=Names)  # Event types nobody knows, by name.
    notes: Counter[str] = field(default_factory=Names)  # What was decided in the user's place, in words.
    bytes_read: int = 0  # Of the file as stored.
    held_back: int = 0  # Runs of the file that a joining reader gives later.

    def saw_bytes(self, bytes_read: int) -> None:
        """Note how far the reading has come."""
        self.bytes_read = bytes_read


class Reader(Protocol):
    """Reads one file of one format after the other."""

    def __call__(self, path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
        """The runs of the file, one at a time.

        Raises `ImportRefused` while iterating for what cannot be parsed or has no start, and nothing else:
        the runs handed out before that are dropped by the caller.
        """
        ...


@runtime_checkable
class JoiningReader(Reader, Protocol):
    """A reader that puts runs together out of several files, and so holds back what is not whole yet."""

    def left(self, hints: Hints, tally: Tally, *, every: bool) -> Iterator[ForeignRun]:
        """What is held back: as much as there is no room for, asked after each file, or in the end all."""
        ...
