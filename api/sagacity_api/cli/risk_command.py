"""`sagacity risk`: how the running sagas of a journal will end, the most hopeless first."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.advice_commands import BundleFolder, RegistryFolder, bundle_folder
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import JournalRefused, SqliteJournal

if TYPE_CHECKING:
    from sagacity_api.runs_at_risk import RunsAtRisk
    from sagacity_models.live_risk import LiveRisk

TOP, TOP_MAX = 20, 10_000
REFUSED_MAX = 100
"""Runs that could not be read and are named."""


def risk(
    *,
    journal: Annotated[
        Path, typer.Option("--journal", metavar="JOURNAL", help="A journal's file, such as runs.db.")
    ],
    bundle: BundleFolder = None,
    registry: RegistryFolder = None,
    top: Annotated[int, typer.Option("--top", min=1, max=TOP_MAX, help="The most lines.")] = TOP,
    within: Annotated[
        float | None,
        typer.Option("--within", metavar="SECONDS", help="Also P(success within so long from now)."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show how the running sagas of a journal will end, the most hopeless first."""
    if within is not None and not (math.isfinite(within) and within > 0):
        raise BadInput(f"--within {within} is no time to wait; give seconds above 0, such as --within 60")
    with _reading(journal) as opened:
        known, version = _live_risk(bundle, registry)
        from sagacity_api.runs_at_risk import runs_at_risk

        now = time.time()
        found = runs_at_risk(opened, known, now, within_s=within)
    _put(found, top, within, version=version, now=now, journal=journal, as_json=as_json)
    for run_id, reason in found.refused[:REFUSED_MAX]:
        say(f"cannot be read: run {run_id}: {reason}")
    return ExitCode.LOOK if found.refused else ExitCode.DONE


def _put(
    found: RunsAtRisk,
    top: int,
    within_s: float | None,
    *,
    version: str,
    now: float,
    journal: Path,
    as_json: bool,
) -> None:
    from sagacity_api.cli.risk_words import risk_json, risk_lines

    lines = found.runs[:top]
    if as_json:
        put_json(
            {
                "journal": str(journal),
                "bundle": version,
                "at": now,
                "within_s": within_s,
                "running": len(found.runs),
                "runs": [risk_json(run, within_s) for run in lines],
                "refused": dict(found.refused),
            }
        )
    else:
        rows = [*risk_lines(lines, within_s), ""] if lines else []
        put([*rows, f"{len(lines)} of {len(found.runs)} running sagas, by bundle {version}"])
    if found.more:
        say(f"there are more running sagas than these; the {len(found.runs)} that began first were looked at")


def _live_risk(bundle: Path | None, registry: Path | None) -> tuple[LiveRisk, str]:
    from sagacity_api import assembly

    folder = bundle_folder(bundle, registry)
    if folder is None:
        raise BadInput("nothing to ask; give --bundle DIR or --registry DIR, as `sagacity train` wrote it")
    try:
        return assembly.live_risk(folder)
    except assembly.SourceRefused as refusal:
        raise BadInput(str(refusal)) from None


@contextmanager
def _reading(journal_file: Path) -> Iterator[SqliteJournal]:
    """The journal, open for looking beside whatever engine has it."""
    journal = SqliteJournal(journal_file, read_only=True)
    try:
        journal.open()
    except JournalRefused as refusal:
        raise BadInput(str(refusal)) from None
    with closing(journal):
        try:
            yield journal
        except JournalRefused as refusal:
            raise CommandError(str(refusal), ExitCode.FAILED) from None
