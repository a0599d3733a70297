"""Event log files in, one dataset out: good files are imported, bad ones reported, and never half of one.

The import reads each file as a stream, decides each case's outcome by the rule, and publishes the dataset
when every file has been tried. A file that turns out bad halfway leaves nothing of itself in the dataset.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sagacity_data.case_draft import DatasetDraft
from sagacity_data.event_log import DEFAULT_LIFECYCLE, Case, ImportRefused, iso_instant
from sagacity_data.importers.xes import XesTally, read_cases
from sagacity_data.outcomes import OutcomeRule, RuleRefused, rule_as_json, rule_in_words

CASES_PER_PROGRESS: Final = 500
_ACTIVITIES_NAMED: Final = 12
_ACTIVITIES_COUNTED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the import of one file has come; bytes are those of the file as stored."""

    path: str
    bytes_read: int
    bytes_total: int
    cases: int
    events: int


@dataclass(frozen=True, slots=True)
class ImportedSource:
    """One file that was imported, and what was met in it."""

    path: str
    sha256: str
    bytes: int
    cases: int
    events: int
    naive_timestamps: int
    unnamed_events: int
    unnamed_cases: int
    empty_cases: int
    events_outside_cases: int
    backward_steps: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `dataset` is None, and nothing was written, where no file could be read."""

    dataset: Path | None
    rule: str
    imported: tuple[ImportedSource, ...]
    refused: tuple[ImportRefused, ...]
    cases: int
    events: int
    attempts: int  # Events that end an activity.
    cases_with_outcome: int
    successes: int
    notes: tuple[str, ...]


def import_event_logs(
    paths: Sequence[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    rule: OutcomeRule,
    progress: Callable[[ImportProgress], None] | None = None,
    *,
    replace: bool = False,
) -> ImportReport:
    """Import the XES files at `paths` into the dataset folder `into`, whole or not at all.

    A file that cannot be read is reported in `refused` and skipped. Raises `DatasetRefused` if `into` may not
    be written, and `RuleRefused` if the rule gives no case of any readable file an outcome.
    """
    with DatasetDraft(into, replace=replace) as draft:
        work = _Import(draft, rule, progress)
        for path in paths:
            work.take(Path(path))
        if not work.imported:
            return work.report(None)
        work.check_rule()
        return work.report(draft.publish(work.description()))


class _Import:
    """The import under way: what was kept, what was refused, and the counts over all kept files."""

    def __init__(
        self, draft: DatasetDraft, rule: OutcomeRule, progress: Callable[[ImportProgress], None] | None
    ) -> None:
        self._draft = draft
        self._rule = rule
        self._progress = progress
        self.imported: list[ImportedSource] = []
        self._refused: list[ImportRefused] = []
        self._totals = _Totals()

    def take(self, path: Path) -> None:
        totals = _Totals()
        try:
            source = self._read(path, totals)
        except ImportRefused as refusal:
            self._draft.drop_source()
            self._refused.append(refusal)
            return
        self._draft.keep_source()
        self.imported.append(source)
        self._totals.join(totals)

    def _read(self, path: Path, totals: _Totals) -> ImportedSource:
        size, digest = _fingerprint(path)
        for earlier in self.imported:
            if earlier.sha256 == digest:
                raise ImportRefused(path, "", f"has the same content as {earlier.path}", "name each log once")
        tally = XesTally()
        for case in read_cases(path, tally):
            outcome = self._rule.decide(case)
            self._draft.add(case, len(self.imported), outcome)
            totals.note(case, None if outcome is None else outcome.success)
            if totals.cases % CASES_PER_PROGRESS == 0:
                self._tell(path, size, tally, totals)
        if not tally.cases:
            raise ImportRefused(path, "", "holds no case with an event", "check that it is the log you meant")
        self._tell(path, size, tally, totals)
        counts = asdict(tally)
        del counts["bytes_read"]
        return ImportedSource(str(path), digest, size, **counts)

    def _tell(self, path: Path, size: int, tally: XesTally, totals: _Totals) -> None:
        if self._progress is not None:
            self._progress(ImportProgress(str(path), tally.bytes_read, size, totals.cases, totals.events))

    def check_rule(self) -> None:
        if not self._totals.with_outcome:
            words, known = rule_in_words(self._rule), self._totals.activities_named()
            raise RuleRefused(f"no case has an outcome under the rule '{words}'; the log has {known}")

    def description(self) -> dict[str, Any]:
        totals = self._totals
        return {
            "rule": rule_as_json(self._rule),
            "sources": [asdict(source) for source in self.imported],
            "counts": totals.counts(),
            "first_event": iso_instant(totals.first_us),
            "last_event": iso_instant(totals.last_us),
        }

    def report(self, dataset: Path | None) -> ImportReport:
        totals = self._totals
        return ImportReport(
            dataset,
            rule_in_words(self._rule),
            tuple(self.imported),
            tuple(self._refused),
            totals.cases,
            totals.events,
            totals.attempts,
            totals.with_outcome,
            totals.successes,
            tuple(self._notes()) if dataset is not None else (),
        )

    def _notes(self) -> list[str]:
        """Everything the import decided that its user might have decided otherwise."""
        counted = [
            ("naive_timestamps", "timestamps without a time zone were read as UTC"),
            ("unnamed_events", "events without concept:name were called (unnamed)"),
            ("unnamed_cases", "traces without concept:name were called trace-<position>"),
            ("empty_cases", "traces without events were left out"),
            ("events_outside_cases", "events outside any trace were left out"),
            ("backward_steps", "events lie before the event that precedes them in their trace"),
        ]
        notes = []
        for field, said in counted:
            if count := sum(getattr(source, field) for source in self.imported):
                notes.append(f"{count} {said}")
        totals = self._totals
        if dropped := totals.cases - totals.with_outcome:
            notes.append(f"{dropped} cases have no outcome under the rule and are not used in training")
        if totals.successes in (0, totals.with_outcome):
            what = "succeeded" if totals.successes else "failed"
            notes.append(f"every case with an outcome {what}: there is nothing to learn from this rule")
        return notes


class _Totals:
    """Counts over cases."""

    def __init__(self) -> None:
        self.cases = self.events = self.attempts = self.with_outcome = self.successes = 0
        self.first_us, self.last_us = 2**63 - 1, -(2**63)
        self._activities: Counter[str] = Counter()

    def note(self, case: Case, success: bool | None) -> None:
        self.cases += 1
        self.events += len(case.events)
        self.attempts += sum(event.lifecycle.lower() == DEFAULT_LIFECYCLE for event in case.events)
        self.with_outcome += success is not None
        self.successes += success is True
        self.first_us, self.last_us = min(self.first_us, case.start_us), max(self.last_us, case.end_us)
        if len(self._activities) < _ACTIVITIES_COUNTED_MAX:
            self._activities.update({event.activity for event in case.events})

    def join(self, other: _Totals) -> None:
        self.cases += other.cases
        self.events += other.events
        self.attempts += other.attempts
        self.with_outcome += other.with_outcome
        self.successes += other.successes
        self.first_us, self.last_us = min(self.first_us, other.first_us), max(self.last_us, other.last_us)
        self._activities.update(other._activities)

    def counts(self) -> dict[str, int]:
        return {
            "cases": self.cases,
            "events": self.events,
            "cases_with_outcome": self.with_outcome,
            "successes": self.successes,
        }

    def activities_named(self) -> str:
        ranked = sorted(self._activities, key=lambda name: (-self._activities[name], name))
        more = len(ranked) - _ACTIVITIES_NAMED
        return ", ".join(ranked[:_ACTIVITIES_NAMED]) + (f" and {more} more activities" if more > 0 else "")


def _fingerprint(path: Path) -> tuple[int, str]:
    """Size and sha256 of a file; what cannot be read here is left to the reader, which says why."""
    try:
        with path.open("rb") as stored:
            return path.stat().st_size, hashlib.file_digest(stored, "sha256").hexdigest()
    except OSError:
        return 0, ""
