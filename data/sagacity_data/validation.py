"""Whether a dataset may be learned from: every file whole, every row possible, nothing known too early.

One pass looks at every file and at every row in it; a file that is damaged is told and passed over, so that
one bad file does not hide what else is wrong. A second one replays the features (`validation_replay`). What
several rows say together is remembered by run: the names of all runs are in memory.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sagacity_data.erasure import erasures
from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import columns_of, rows_of
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store import DESCRIPTION, DatasetStore
from sagacity_data.store_days import day_of, lies_under
from sagacity_data.store_definitions import definition_files, read_definition
from sagacity_data.store_identities import KEYS, Firsts
from sagacity_data.store_parts import DIGEST_DIGITS, KIND_OF, Part, unlisted
from sagacity_data.store_reading import Sources, by_day, part_batches
from sagacity_data.store_where import EVERYTHING
from sagacity_data.validation_findings import Check, Damage, Finding, Validation
from sagacity_data.validation_replay import replay
from sagacity_data.validation_rows import row_problems

BUFFER: Final = "buffer.db"
"""The path of a finding about a row that is in no file yet."""

AnyRow = AttemptRow | RunRow


def validate(
    store: DatasetStore,
    *,
    now: float,
    sample: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Validation:
    """Looks at everything the dataset holds; `now` in s since 1970 UTC.

    With `sample`, the features of at most so many runs are replayed, spread over the history. What is wrong
    is told, not raised. Raises `DatasetRefused` only when there is no dataset, or its list is damaged.
    """
    if not (store.folder / DESCRIPTION).is_file():
        raise DatasetRefused(f"{store.folder} holds no dataset; give the folder that was written to")
    began = clock()
    sources = store.sources()
    report = Validation(folder=str(store.folder), files=len(sources.parts))
    _look_at_files(store, sources, report)
    runs = _Runs(report)
    _look_at_rows(sources, RunRow, report, runs, now)
    _look_at_rows(sources, AttemptRow, report, runs, now)
    runs.end()
    if report.damaged:
        report.notes["features were not replayed, for a file is damaged"] += 1
    else:
        replay(store, report, sample, whole=not erasures(store.folder))
    report.seconds = clock() - began
    return report


def _look_at_files(store: DatasetStore, sources: Sources, report: Validation) -> None:
    """Files that nobody listed, and definitions that were altered."""
    strangers = unlisted(store.folder, sources.parts)
    if strangers:
        report.notes["files of rows that no list names: they are not read"] += len(strangers)
    for path in definition_files(store.folder):
        try:
            read_definition(path)
        except DatasetRefused as refusal:
            report.damaged.append(_damage(store.folder, path, refusal))


def _look_at_rows(sources: Sources, kind: type[Any], report: Validation, runs: _Runs, now: float) -> None:
    """Every row of one kind, each identity once."""
    for under in by_day(part for part in sources.parts if KIND_OF[part.table] is kind):
        firsts = Firsts(KEYS[kind])
        for part in under:
            try:
                _check_whole(sources.folder, part)
                for batch in part_batches(sources.folder / part.name, kind, list(columns_of(kind))):
                    fresh = firsts.of(batch)
                    twice = batch.num_rows - fresh.num_rows
                    if twice:
                        report.notes["rows with the identity of one written before: not read"] += twice
                    for row in rows_of(kind, fresh):
                        _look_at(row, part, report, runs, now)
            except (DatasetRefused, TypeError, ValueError) as problem:
                report.damaged.append(_damage(sources.folder, sources.folder / part.name, problem))
    for row in sources.answering(kind, EVERYTHING):
        _look_at(row, None, report, runs, now)


def _look_at(row: AnyRow, part: Part | None, report: Validation, runs: _Runs, now: float) -> None:
    path = BUFFER if part is None else part.name
    for check, words in row_problems(row, now):
        report.found(_finding(check, words, row, path))
    if part is not None and not lies_under(row.launch_at, part.day):
        words = f"launch_at {row.launch_at!r} is of {day_of(row.launch_at)}"
        report.found(_finding(Check.DAY, words, row, path))
    if isinstance(row, AttemptRow):
        report.attempts += 1
        runs.attempt(row, path)
    else:
        report.runs += 1
        runs.run(row)


class _Runs:
    """What the rows of a run say together."""

    def __init__(self, report: Validation) -> None:
        self._report = report
        self._told: dict[str, tuple[float | None, str, str]] = {}
        self._attempted: set[str] = set()

    def run(self, row: RunRow) -> None:
        """A run's own row; all of them come before the attempts."""
        self._told.setdefault(row.run_id, (row.launch_at, row.saga, row.tenant))

    def attempt(self, row: AttemptRow, path: str) -> None:
        """One of its attempts."""
        self._attempted.add(row.run_id)
        told = self._told.get(row.run_id)
        said = (row.launch_at, row.saga, row.tenant)
        if told is None or told == said:
            return
        for name, of_run, of_attempt in zip(("launch_at", "saga", "tenant"), told, said, strict=True):
            if of_run != of_attempt:
                words = f"{name} is {of_attempt!r}, and its run's {of_run!r}"
                self._report.found(_finding(Check.RUN, words, row, path))

    def end(self) -> None:
        """Notes the runs of which one kind of row is missing."""
        for words, count in (
            ("runs that only attempts tell of: they may go on still", self._attempted - self._told.keys()),
            ("runs without an attempt", self._told.keys() - self._attempted),
        ):
            if count:
                self._report.notes[words] += len(count)


def _check_whole(folder: Path, part: Part) -> None:
    """Refuses a file that is not the one that was listed, to the last byte."""
    path = folder / part.name
    try:
        size = path.stat().st_size
        digest = _digest(path)
    except FileNotFoundError:
        raise DatasetRefused("it is missing; restore it from a copy") from None
    except OSError as problem:
        raise DatasetRefused(f"it cannot be read: {problem.strerror or problem}") from None
    named = path.stem.rpartition("-")[2]
    if size != part.bytes or digest[:DIGEST_DIGITS] != named:
        raise DatasetRefused(
            f"it is not the file that was written: {size} bytes and digest {digest[:DIGEST_DIGITS]}, "
            f"not {part.bytes} and {named}; restore it from a copy"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(folder: Path, path: Path, problem: Exception) -> Damage:
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    return Damage(path=path.relative_to(folder).as_posix(), reason=reason)


def _finding(check: Check, words: str, row: AnyRow, path: str) -> Finding:
    if isinstance(row, RunRow):
        return Finding(check=check, words=words, path=path, run_id=row.run_id)
    return Finding(
        check=check,
        words=words,
        path=path,
        run_id=row.run_id,
        step=row.step,
        direction=row.direction.value,
        attempt=row.attempt,
    )
