"""One file read by its reader as an import would, and everything a reader promises held against it."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import FORMATS, ForeignRun, Hints, JoiningReader, Reader, Tally, rows_of
from sagacity_data.rows import AttemptRow, Row, RunRow
from sagacity_data.taxonomy import Taxonomy

HINTS = Hints(undoes={"Refund": "ChargeCard"}, services={"ChargeCard": "bank"}, tenant="acme")
REFUSAL_MAX = 2_000
_TEXTS = ("run_id", "saga", "step", "service", "region", "error_type", "error_message", "tenant", "version")


class Broken(Exception):
    """A reader has given what it promises never to give."""


def read(name: str, path: Path, taxonomy: Taxonomy) -> str:
    """`read` or `refused`; whatever else is raised is a mistake of the reader."""
    tally = Tally()
    try:
        for run in runs_of(FORMATS[name].reader(), path, tally):
            rows = rows_of(run, name, taxonomy)
            _require(bool(run.run_id), "a run without an id")
            _require_sound(rows)
    except ImportRefused as refusal:
        _require("\n" not in str(refusal), "a refusal of several lines")
        _require(len(str(refusal)) < REFUSAL_MAX, "a refusal that dumps what it read")
        return "refused"
    finally:
        _require(all(isinstance(key, str) for key in (*tally.skipped, *tally.notes)), "a tally of no names")
    return "read"


def runs_of(reader: Reader, path: Path, tally: Tally) -> Iterator[ForeignRun]:
    """All that an import of this one file would be given."""
    yield from reader(path, HINTS, tally)
    if isinstance(reader, JoiningReader):
        yield from reader.left(HINTS, tally, every=True)


def _require_sound(rows: list[Row]) -> None:
    attempts = [row for row in rows if isinstance(row, AttemptRow)]
    _require(len({row.key for row in attempts}) == len(attempts), "two attempts of one number")
    _require(all(row.attempt >= 1 for row in attempts), "an attempt numbered below 1")
    _require(all(row.step for row in attempts), "a step without a name")
    for row in rows:
        _require_texts(row)
        _require_times(row)
        json.dumps(dict(row.context), allow_nan=False)


def _require_texts(row: Row) -> None:
    for column in _TEXTS:
        value = getattr(row, column, "")
        _require(isinstance(value, str), f"{column} is no text")
        value.encode()


def _require_times(row: Row) -> None:
    columns = (
        ("launch_at", "ended_at") if isinstance(row, RunRow) else ("scheduled_at", "started_at", "ended_at")
    )
    times = [getattr(row, column) for column in columns]
    _require(all(at is None or isinstance(at, float | int) for at in times), "a time that is no number")
    known = [at for at in times if at is not None]
    _require(_rising(known), f"times that run backwards in a {type(row).__name__}")


def _rising(times: Iterable[float]) -> bool:
    return all(before <= after for before, after in pairwise(times))


def _require(kept: bool, promise: str) -> None:
    if not kept:
        raise Broken(promise)
