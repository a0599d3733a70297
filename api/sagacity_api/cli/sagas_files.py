"""Journals that commands are given: how they are opened, and what is said when they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.oversight import Oversight, Sight
from sagacity_engine import EngineError, JournalRefused, RunRefused

JournalFile = Annotated[Path, typer.Argument(metavar="JOURNAL", help="A journal's file, such as runs.db.")]


@contextmanager
def opened(journal: Path) -> Iterator[Oversight]:
    """The journal, open for looking; raises `BadInput` for what is none, `CommandError` for a damaged one."""
    with ExitStack() as stack:
        try:
            oversight = stack.enter_context(Oversight(journal))
        except JournalRefused as refusal:
            raise BadInput(str(refusal)) from None
        try:
            yield oversight
        except EngineError as problem:
            raise CommandError(str(problem)) from None


def seen_run(oversight: Oversight, run_id: str) -> Sight:
    """The run; raises `BadInput` when there is none, `EngineError` when it is damaged."""
    try:
        return oversight.sight(run_id)
    except RunRefused:
        raise BadInput(
            f"there is no run {run_id!r} in {oversight.path}; "
            f"'sagacity sagas list {oversight.path}' lists those there are"
        ) from None
