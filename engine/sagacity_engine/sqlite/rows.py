"""Batches as rows of the journal's file, and the checksums that chain them.

Every batch carries a checksum over its predecessor's and itself, and the run's line in the list of runs the
place of its last event and the last checksum. So a changed, reordered or missing batch is refused on reading,
the last ones of an open run too, naming run and place. Each plan and definition has a checksum of its own.

What is not told: the loss of a whole run, line and batches together; and changes by somebody who computes the
checksums anew, for they are no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sagacity_engine import codec
from sagacity_engine.batch import Batch
from sagacity_engine.errors import IllegalEvent, JournalRefused
from sagacity_engine.events import AttemptStarted, AttemptSucceeded, Event, RunEnded, RunStarted, Status
from sagacity_engine.plan import Plan
from sagacity_engine.run_lines import RunSummary, reopens, storable
from sagacity_engine.sqlite import layout_1

T = TypeVar("T")

RUN_COLUMNS = "run_id, saga, definition_hash, status, started_at, ended_at, reason, step"

Started = tuple[str, str, str, float]
"""Run id, saga, definition and time, as a new line in the list of runs has them."""

Changed = tuple[str, float | None, str, str]
"""Status, end, reason and step, as a line in the list of runs has them from now on."""

_QUIET = (AttemptStarted, AttemptSucceeded)
"""Nearly all events: they change nothing in the list of runs."""

RUNNING: Changed = (Status.RUNNING.value, None, "", "")


@dataclass(slots=True)
class Record:
    """A batch as its row will hold it, all but the run's number and the checksum."""

    run_id: str
    seq: int
    last: int
    body: str
    plan: codec.PlanText | None
    started: Started | None
    changed: Changed | None


def record_of(batch: Batch) -> Record:
    """The row-to-be of a batch; raises `TypeError` or `ValueError` for what cannot be kept."""
    run_id, events = batch.run_id, batch.events
    body, plan = codec.encode_batch(events)
    started: Started | None = None
    changed: Changed | None = None
    for event in events:
        if isinstance(event, _QUIET):
            continue
        if isinstance(event, RunEnded):
            changed = _ended(event)
        elif isinstance(event, RunStarted):
            started, changed = _started(event), RUNNING
        elif reopens(event):
            changed = RUNNING
    return Record(run_id, batch.seq, batch.seq + len(events) - 1, body, plan, started, changed)


def _started(event: RunStarted) -> Started:
    return event.run_id, event.plan.saga, event.definition_hash, float(event.at)


def _ended(event: RunEnded) -> Changed:
    return event.status.value, float(event.at), storable(event.reason), storable(event.step)


def no_tail(run_id: str) -> bytes:
    """What the first batch of a run follows."""
    return hashlib.blake2b(run_id.encode(), digest_size=16).digest()


def checksum(previous: bytes, seq: int, body: str) -> bytes:
    """128 bits of BLAKE2 over the predecessor's checksum and every column of the batch."""
    return hashlib.blake2b(previous + f"{seq}|{body}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Everything that the file has of one run, as it stands there."""

    path: Path
    run_id: str
    tail: tuple[int, bytes]  # Place and checksum of the last event, as the list of runs has them.
    first_layout: Sequence[Sequence[Any]]  # seq, kind, at, body, checksum
    batches: Sequence[Sequence[Any]]  # seq, body, checksum

    def events(self, plan_named: Callable[[str], Plan]) -> Iterator[Event]:
        """The events in order; raises `JournalRefused` at the first that is not as written."""
        due, held = 1, no_tail(self.run_id)
        if self.first_layout:
            held = layout_1.no_tail(self.run_id)
        for seq, kind, at, body, kept in self.first_layout:
            held = layout_1.checksum(held, seq, kind, at, body)
            self._require(due, (seq, held) == (due, kept))
            yield self._decoded(due, partial(codec.decode, kind, body))
            due += 1
        for seq, body, kept in self.batches:
            held = checksum(held, seq, body)
            self._require(due, (seq, held) == (due, kept))
            events = self._decoded(due, partial(codec.decode_batch, body, plan_named))
            yield from events
            due += len(events)
        self._require(due, self.tail == (due - 1, held))

    def _require(self, due: int, whole: bool) -> None:
        if not whole:
            raise JournalRefused(
                f"{self.path}: run {self.run_id!r}, event {due} was altered or is missing; "
                "restore the file from a copy"
            )

    def _decoded(self, due: int, decode: Callable[[], T]) -> T:
        try:
            return decode()
        except IllegalEvent as problem:
            raise JournalRefused(
                f"{self.path}: run {self.run_id!r}, event {due}: {problem}; "
                "use the version of Sagacity that wrote it"
            ) from None


def summary(path: Path, row: Sequence[Any]) -> RunSummary:
    """A line of the list of runs, from its `RUN_COLUMNS`; raises `JournalRefused` when it was altered."""
    run_id, saga, definition_hash, status, started_at, ended_at, reason, step = row
    try:
        known = Status(status)
    except ValueError:
        raise JournalRefused(
            f"{path}: the list of runs was altered: run {run_id!r} is {status!r}; restore it from a copy"
        ) from None
    return RunSummary(
        run_id=run_id,
        saga=saga,
        definition_hash=definition_hash,
        status=known,
        started_at=started_at,
        ended_at=ended_at,
        reason=reason,
        step=step,
    )
