"""`sagacity record`: the runs of a journal become rows of a dataset, also beside a running engine.

The engine has nothing to do with it: this process reads the journal, and the journal is the truth. Rows that
were told already, by whomever, are not told again; so it may be stopped and started at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.cli.data_opening import refusals
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.cli.sagas_files import JournalFile
from sagacity_api.exit_codes import ExitCode
from sagacity_engine import JournalRefused, SqliteJournal

if TYPE_CHECKING:
    from sagacity_data.sinks import CaughtUp, JournalFollower

REFUSED_MAX = 100
"""Runs that could not be read and are named."""


def record(
    journal: JournalFile,
    *,
    into: Annotated[Path, typer.Option("--into", metavar="DATASET", help="The dataset folder to write.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with every run that ends, until interrupted.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, max=3600.0, help="How often to look.")
    ] = 1.0,
    as_json: AsJson = False,
) -> int:
    """Write the ended runs of a journal that a dataset lacks into it."""
    totals = _Totals()
    with refusals(), _follower(journal, into) as follower:
        totals.add(follower.poll())
        if follow:
            say(f"following {journal}; interrupt to stop")
            _go_on(follower, every, totals)
    document = {"dataset": str(into), "runs": totals.runs, "rows": totals.rows, "refused": totals.refused}
    put_json(document) if as_json else put(
        [f"{into}: {totals.rows} rows of {totals.runs} runs that it lacked"]
    )
    for run_id, reason in totals.refused.items():
        say(f"refused: run {run_id}: {reason}")
    return ExitCode.LOOK if totals.refused else ExitCode.DONE


@dataclass(slots=True)
class _Totals:
    """What was told so far. A run that was refused before and is told now is refused no more."""

    runs: int = 0
    rows: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, done: CaughtUp) -> None:
        self.runs += done.ended
        self.rows += done.rows
        for run_id, reason in done.refused:
            if len(self.refused) < REFUSED_MAX:
                self.refused[run_id] = reason


@contextmanager
def _follower(journal_file: Path, into: Path) -> Iterator[JournalFollower]:
    from sagacity_data.sinks import DatasetSink, JournalFollower

    with closing(_opened(journal_file)) as journal, closing(DatasetSink(into)) as sink:
        try:
            yield JournalFollower(journal, sink, known=sink.recorded())
        except JournalRefused as refusal:
            raise CommandError(str(refusal), ExitCode.FAILED) from None


def _opened(journal_file: Path) -> SqliteJournal:
    journal = SqliteJournal(journal_file, read_only=True)
    try:
        journal.open()
    except JournalRefused as refusal:
        raise BadInput(str(refusal)) from None
    return journal


def _go_on(follower: JournalFollower, every_s: float, totals: _Totals) -> None:
    """Looks again and again; an interruption ends it after one last look."""
    try:
        while True:
            sleep(every_s)
            totals.add(follower.poll())
    except KeyboardInterrupt:
        totals.add(follower.poll())
