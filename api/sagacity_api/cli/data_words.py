"""What `sagacity data` says: the JSON documents, and the lines for people made from them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagacity_api.cli.output import table
from sagacity_api.cli.sagas_words import moment, shown

if TYPE_CHECKING:
    from sagacity_data.erasure import Erased
    from sagacity_data.store_description import StoreDescription
    from sagacity_data.validation_findings import Finding, Validation

LISTED_MAX: Final = 20
"""The most names or findings in lines for people; the JSON document has them all."""


def description_document(told: StoreDescription, definitions: int) -> dict[str, Any]:
    """What a dataset of attempts holds."""
    return {
        "dataset": told.folder,
        "kind": "attempts",
        "schema_version": told.schema_version,
        "runs": told.runs,
        "attempts": told.attempts,
        "outcomes": dict(told.outcomes),
        "sagas": [{**asdict(each), "success_rate": each.success_rate} for each in told.per_saga],
        "services": list(told.services),
        "sources": list(told.sources),
        "tenants": list(told.tenants),
        "first_launch_at": told.first_launch_at,
        "last_launch_at": told.last_launch_at,
        "last_ended_at": told.last_ended_at,
        "definitions": definitions,
        "buffered": told.buffered,
        "files": told.files,
        "bytes": told.bytes,
    }


def description_lines(told: dict[str, Any]) -> list[str]:
    """The same for people."""
    buffered = f", {told['buffered']} rows in no file yet" if told["buffered"] else ""
    sagas = [["saga", "runs", "ended", "completed", "success"]]
    for saga in told["sagas"][:LISTED_MAX]:
        rate = "-" if saga["success_rate"] is None else f"{saga['success_rate']:.1%}"
        counts = [str(saga[name]) for name in ("runs", "ended", "completed")]
        sagas.append([shown(saga["saga"]) or "-", *counts, rate])
    outcomes = ", ".join(f"{count} {name}" for name, count in told["outcomes"].items())
    return [
        (
            f"{told['dataset']}: {told['runs']} runs, {told['attempts']} attempts; "
            f"{told['files']} files, {told['bytes']} bytes{buffered}; schema version {told['schema_version']}"
        ),
        f"launched {moment(told['first_launch_at'])} to {moment(told['last_launch_at'])}",
        f"attempts: {outcomes or 'none'}",
        f"services: {_names(told['services'])}",
        f"sources: {_names(told['sources'])}",
        f"tenants: {_names(told['tenants'])}",
        f"definitions kept: {told['definitions']}",
        *(table(sagas, right=frozenset({1, 2, 3, 4})) if told["sagas"] else []),
        *_more(len(told["sagas"]), "sagas"),
    ]


def case_lines(log: dict[str, Any]) -> list[str]:
    """What an imported event log holds."""
    share = f" ({log['successes'] / log['cases_with_outcome']:.1%})" if log["cases_with_outcome"] else ""
    return [
        (
            f"{log['dataset']}: an imported event log of {log['cases']} cases and {log['events']} events; "
            f"{log['files']} files, {log['bytes']} bytes; schema version {log['schema_version']}"
        ),
        f"from {moment(log['first_at'])} to {moment(log['last_at'])}",
        f"{log['cases_with_outcome']} cases have an outcome, {log['successes']} succeeded{share}",
        (
            "it holds whole cases and no attempts: train learns case outcomes from it, "
            "and validate, export and prune are for datasets of attempts"
        ),
    ]


def validation_document(report: Validation) -> dict[str, Any]:
    """What a validation found."""
    return {
        "dataset": report.folder,
        "sound": report.sound,
        "files": report.files,
        "runs": report.runs,
        "attempts": report.attempts,
        "replayed": report.replayed,
        "damaged": [asdict(each) for each in report.damaged],
        "findings": [asdict(each) for each in report.findings],
        "counts": {check.value: count for check, count in report.counts.items()},
        "notes": dict(report.notes),
        "seconds": round(report.seconds, 3),
    }


def validation_lines(report: Validation) -> list[str]:
    """The same for people: damage first, then findings, notes, and what it comes to."""
    found = sum(report.counts.values())
    verdict = "sound" if report.sound else f"{len(report.damaged)} files damaged, {found} findings"
    return [
        *(f"damaged: {each.path}: {shown(each.reason, 200)}" for each in report.damaged),
        *map(_finding_line, report.findings[:LISTED_MAX]),
        *([f"... and {found - LISTED_MAX} findings more"] if found > LISTED_MAX else []),
        *(f"note: {count} {words}" for words, count in report.notes.items()),
        (
            f"{report.folder}: {verdict}; {report.runs} runs and {report.attempts} attempts "
            f"in {report.files} files, features of {report.replayed} attempts replayed"
        ),
    ]


def erased_lines(dataset: Path, erased: Erased) -> list[str]:
    """What was deleted, or would be."""
    verb = "would delete" if erased.dry_run else "deleted"
    if erased.nothing:
        return [f"{dataset}: holds no such run; nothing to delete"]
    lines = [
        (
            f"{dataset}: {verb} {erased.runs} rows of runs and {erased.attempts} of attempts, "
            f"and {erased.buffered} rows in no file yet"
        ),
        f"files: {erased.files_removed} removed, {erased.files_rewritten} written anew",
    ]
    return (
        lines
        if erased.dry_run
        else [*lines, f"bytes: {erased.bytes_before} before, {erased.bytes_after} after"]
    )


def _finding_line(found: Finding) -> str:
    step = f" {shown(found.step)} {found.direction} attempt {found.attempt}" if found.step else ""
    place = f"run {shown(found.run_id)}{step} in {found.path}"
    return f"{found.check.value}: {place}: {shown(found.words, 200)}"


def _names(names: list[str]) -> str:
    told = ", ".join(shown(name) or "(none named)" for name in names[:LISTED_MAX])
    return f"{told} and {len(names) - LISTED_MAX} more" if len(names) > LISTED_MAX else told or "none"


def _more(count: int, what: str) -> list[str]:
    return [f"... and {count - LISTED_MAX} {what} more"] if count > LISTED_MAX else []
