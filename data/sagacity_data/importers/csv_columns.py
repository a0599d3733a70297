"""Which column of a table says what: by the user's word, else by the header's names.

Names are compared without case, and without the difference between spaces, `_`, `-`, `:` and `.`. A user may
name the columns of a table with `--column FIELD=COLUMN`; what is said wins, what is not is looked for. Never
looked for is `outcome`: what other logs call so is mostly that of the case, known at its end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

COLUMNS_MAX: Final = 5_000
"""A header of more columns is refused."""

FIELDS: Final = (
    *("case", "activity", "timestamp", "start", "end", "lifecycle", "resource", "instance", "outcome"),
    *("context", "delimiter", "time_format"),
)
"""What a user may name: columns (for `context` several, commas between), and how the table is written."""

_CASE_PREFIX: Final = "case:"
_NAMES: Final = {
    "case": (
        "case concept name|case id|caseid|case|case identifier|case number|case key|case name|trace id|"
        "traceid|trace concept name|trace|process instance id|process instance|processinstanceid|"
        "instance id|run id|workflow id|saga id|incident id|ticket id|sr number|order id"
    ),
    "activity": (
        "concept name|activity|activity name|activityname|event concept name|event name|eventname|event|task|"
        "task name|taskname|step|step name|activity id|operation|action"
    ),
    "timestamp": (
        "time timestamp|timestamp|complete timestamp|completetimestamp|event time|eventtime|event timestamp|"
        "event time timestamp|time|date time|datetime|date|event date|change date time"
    ),
    "start": (
        "start timestamp|starttimestamp|start time|starttime|started at|startedat|time start|start date|"
        "begin time|start|start time timestamp|begin|startdatetime|start date time"
    ),
    "end": (
        "end timestamp|endtimestamp|complete timestamp|completetimestamp|end time|endtime|ended at|endedat|"
        "completed at|completion time|finish time|end date|end|finish|complete time|enddatetime|end date time"
    ),
    "lifecycle": "lifecycle transition|lifecycle|transition|event lifecycle|event lifecycle transition",
    "resource": "org resource|resource|event org resource",
    "instance": "concept instance|activity instance|activity instance id|event instance",
}


class ColumnsRefused(ValueError):
    """A column is missing, or named wrongly: the reason and the way out."""

    def __init__(self, reason: str, way_out: str) -> None:
        self.reason = reason
        self.way_out = way_out
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Columns:
    """The places of the columns in a row; None where there is none."""

    case: int
    activity: int
    timestamp: int | None  # Of an event, or of the end of an attempt whose start is told beside it.
    start: int | None
    lifecycle: int | None
    resource: int | None
    instance: int | None
    outcome: int | None
    context: tuple[tuple[str, int], ...]  # Names, as the context calls them, and places.

    @property
    def last_needed(self) -> int:
        """A row with this many columns has all that an event needs."""
        needed = (self.case, self.activity, self.start if self.timestamp is None else self.timestamp)
        return max(place for place in needed if place is not None)


def place_of(header: Sequence[str], name: str) -> int:
    """The place of a column that the user names. Raises `ColumnsRefused` where there is none."""
    return _Header(header, {}).named(name)


def columns_of(header: Sequence[str], said: Mapping[str, str]) -> Columns:
    """The columns of a table. Raises `ColumnsRefused`."""
    if unknown := sorted(set(said) - set(FIELDS)):
        raise ColumnsRefused(
            f"no column is called for as {unknown[0][:40]!r}", f"say one of {', '.join(FIELDS)}"
        )
    if len(header) > COLUMNS_MAX:
        raise ColumnsRefused(f"has {len(header):,} columns", f"leave out all but {COLUMNS_MAX:,}")
    found = _Header(header, said)
    start, end = found.place("start"), found.place("end")
    lifecycle, told = found.place("lifecycle"), found.place("timestamp")
    timestamp = end if end is not None and (start is not None or told is None) else told
    if timestamp is None and start is None:
        raise found.missing("timestamp", "a time")
    return Columns(
        case=found.needed("case", "the case"),
        activity=found.needed("activity", "the activity"),
        timestamp=timestamp,
        start=None if start == timestamp else start,
        lifecycle=lifecycle,
        resource=found.place("resource"),
        instance=found.place("instance"),
        outcome=found.place("outcome") if "outcome" in said else None,
        context=found.context(),
    )


class _Header:
    """The names of a table's columns; of several columns of one name the first is meant."""

    def __init__(self, header: Sequence[str], said: Mapping[str, str]) -> None:
        self._header = [name.strip() for name in header]
        self._said = said
        self._exact = {name: place for place, name in reversed(list(enumerate(self._header)))}
        self._plain = {_plain(name): place for place, name in reversed(list(enumerate(self._header)))}

    def place(self, field: str) -> int | None:
        if field in self._said:
            return self.named(self._said[field])
        names = _NAMES.get(field, "").split("|")
        return next((self._plain[name] for name in names if name in self._plain), None)

    def needed(self, field: str, what: str) -> int:
        place = self.place(field)
        if place is None:
            raise self.missing(field, what)
        return place

    def missing(self, field: str, what: str) -> ColumnsRefused:
        return ColumnsRefused(
            f"no column tells {what}; its columns are {self._listed()}", f"name one: --column {field}=COLUMN"
        )

    def context(self) -> tuple[tuple[str, int], ...]:
        """What the user names, else the columns that say themselves that they are the case's."""
        if "context" in self._said:
            names = [name.strip() for name in self._said["context"].split(",") if name.strip()]
            return tuple((name.removeprefix(_CASE_PREFIX), self.named(name)) for name in names)
        return tuple(
            (name.removeprefix(_CASE_PREFIX), place)
            for name, place in sorted(self._exact.items(), key=lambda each: each[1])
            if name.startswith(_CASE_PREFIX) and _plain(name) not in _NAMES["case"].split("|")
        )

    def named(self, name: str) -> int:
        place = self._exact.get(name.strip(), self._plain.get(_plain(name)))
        if place is None:
            raise ColumnsRefused(
                f"has no column {name[:40]!r}; its columns are {self._listed()}", "name one of these"
            )
        return place

    def _listed(self) -> str:
        named = ", ".join(" ".join(name[:30].split()) or "(empty)" for name in self._header[:20])
        return named + (f" and {len(self._header) - 20} more" if len(self._header) > 20 else "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_:.\-]+", " ", name[:200]).strip().lower()
