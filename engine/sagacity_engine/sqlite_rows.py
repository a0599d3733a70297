"""Events as rows of the journal's file, and the checksums that chain them.

Every event carries a checksum over its predecessor's and itself. A changed, reordered or missing event is
refused on reading, naming run and place; only the loss of the last events of an open run cannot be told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagacity_engine import codec
from sagacity_engine.errors import IllegalEvent, JournalRefused
from sagacity_engine.events import Event, RunEnded, RunStarted, Status
from sagacity_engine.journal import Entry, RunSummary

RUN_COLUMNS = "run_id, saga, definition_hash, status, started_at, ended_at, reason, step"

Tail = tuple[int, bytes]
"""The place and the checksum of a run's last event."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event of a run as its row will hold it, all but the checksum."""

    seq: int
    kind: str
    at: float
    body: str
    started: tuple[object, ...] | None = None  # A new line in the list of runs.
    ended: tuple[object, ...] | None = None  # What the end changes in the run's line.


def records_of(entries: Sequence[Entry]) -> list[Record]:
    """The rows-to-be of entries; raises `TypeError` or `ValueError` for what cannot be kept."""
    return [_record(entry) for entry in entries]


def no_tail(run_id: str) -> Tail:
    """What the first event of a run follows."""
    return 0, hashlib.sha256(run_id.encode()).digest()


def checksum(previous: bytes, seq: int, kind: str, at: float, body: str) -> bytes:
    """SHA-256 over the predecessor's checksum and every column of the event."""
    return hashlib.sha256(previous + f"{seq}|{kind}|{at!r}|{body}".encode()).digest()


def verified(path: Path, run_id: str, rows: Iterable[Sequence[Any]]) -> Iterator[Event]:
    """The events of a run's rows in order; raises `JournalRefused` at the first that is not as written."""
    _, held = no_tail(run_id)
    for due, (seq, kind, at, body, kept) in enumerate(rows, start=1):
        held = checksum(held, seq, kind, at, body)
        if seq != due or held != kept:
            raise altered(path, run_id, due)
        try:
            yield codec.decode(kind, body)
        except IllegalEvent as problem:
            raise JournalRefused(
                f"{path}: run {run_id!r}, event {seq}: {problem}; use the version of Sagacity that wrote it"
            ) from None


def altered(path: Path, run_id: str, seq: int) -> JournalRefused:
    """The refusal of a run whose events are not what was written."""
    return JournalRefused(
        f"{path}: run {run_id!r}, event {seq} was altered or is missing; restore the file from a copy"
    )


def summary(row: Sequence[Any]) -> RunSummary:
    """A line of the list of runs, from its `RUN_COLUMNS`."""
    run_id, saga, definition_hash, status, started_at, ended_at, reason, step = row
    return RunSummary(
        run_id=run_id,
        saga=saga,
        definition_hash=definition_hash,
        status=Status(status),
        started_at=started_at,
        ended_at=ended_at,
        reason=reason,
        step=step,
    )


def _record(entry: Entry) -> Record:
    event = entry.event
    kind, body = codec.encode(event)
    at = float(event.at)
    if isinstance(event, RunStarted):
        started = (entry.run_id, event.plan.saga, event.definition_hash, Status.RUNNING.value, at)
        return Record(entry.seq, kind, at, body, started=started)
    if isinstance(event, RunEnded):
        ended = (event.status.value, at, _storable(event.reason), event.step, entry.run_id)
        return Record(entry.seq, kind, at, body, ended=ended)
    return Record(entry.seq, kind, at, body)


def _storable(text: str) -> str:
    """The text with what no UTF-8 can hold replaced: half a character may come in with an error's message."""
    return text.encode("utf-8", "replace").decode()
