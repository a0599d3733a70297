"""What an import did, as lines for a reader and as the one object that `--json` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagacity_api.cli.output import say

if TYPE_CHECKING:
    from sagacity_data.event_log import ImportRefused
    from sagacity_data.importers import HistoriesReport, ImportReport


def say_refused(refused: Iterable[ImportRefused]) -> None:
    """Every refused file, on stderr, with the way out."""
    for refusal in refused:
        say(f"refused: {refusal}")


def say_met(report: HistoriesReport) -> None:
    """What a reader of the dataset should know of the reading, on stderr."""
    for name, times in _ranked(report.skipped_event_types).items():
        say(f"skipped: {times} of the type {name!r}, which this importer does not know")
    for note, times in _ranked(report.notes).items():
        say(f"note: {times} {note}")


def histories_as_json(report: HistoriesReport, into: Path) -> dict[str, Any]:
    """The report; `definitions` has the hash of the definition inferred for each saga type."""
    return {
        "dataset": str(into) if report.read else None,
        "files": report.files,
        "read": report.read,
        "refused": refused_as_json(report.refused),
        "runs": report.runs,
        "attempts": report.attempts,
        "outcomes": _ranked(report.outcomes),
        "statuses": _ranked(report.statuses),
        "skipped_event_types": _ranked(report.skipped_event_types),
        "notes": _ranked(report.notes),
        "definitions": {name: saga.definition_hash for name, saga in sorted(report.sagas.items())},
        "seconds": round(report.seconds, 3),
    }


def histories_lines(report: HistoriesReport, into: Path) -> list[str]:
    """The same for a reader."""
    files = f"{report.read} of {report.files} files"
    return [
        f"{into}: {report.runs} runs, {report.attempts} attempts from {files} in {report.seconds:.1f} s",
        f"runs: {_counted(report.statuses)}",
        f"attempts: {_counted(report.outcomes)}",
        f"definitions inferred: {len(report.sagas)}",
    ]


def cases_as_json(report: ImportReport, files: int, seconds: float) -> dict[str, Any]:
    """The report of an import of cases with outcomes; an attempt is an event that ends an activity."""
    return {
        "dataset": None if report.dataset is None else str(report.dataset),
        "files": files,
        "read": len(report.imported),
        "refused": refused_as_json(report.refused),
        "runs": report.cases,
        "attempts": report.attempts,
        "outcomes": {"succeeded": report.attempts} if report.attempts else {},
        "skipped_event_types": {},
        "rule": report.rule,
        "cases": report.cases,
        "events": report.events,
        "cases_with_outcome": report.cases_with_outcome,
        "successes": report.successes,
        "imported": [asdict(source) for source in report.imported],
        "notes": list(report.notes),
        "seconds": round(seconds, 3),
    }


def cases_lines(report: ImportReport) -> list[str]:
    """The same for a reader."""
    imported = f"{len(report.imported)} of {len(report.imported) + len(report.refused)} files"
    rate = f" ({report.successes / report.cases_with_outcome:.1%})" if report.cases_with_outcome else ""
    return [
        f"{report.dataset}: {report.cases} cases, {report.events} events from {imported}",
        f"rule: {report.rule}",
        f"{report.cases_with_outcome} cases have an outcome, {report.successes} succeeded{rate}",
        *(f"note: {note}" for note in report.notes),
    ]


def refused_as_json(refused: Iterable[ImportRefused]) -> list[dict[str, str]]:
    """Each refused file with the place, the reason and the way out."""
    return [
        {"path": each.path, "place": each.place, "reason": each.reason, "way_out": each.way_out}
        for each in refused
    ]


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first."""
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{times} {name}" for name, times in _ranked(Counter(counts)).items()) or "none"
