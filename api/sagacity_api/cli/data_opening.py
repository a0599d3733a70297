"""Which kind of dataset a folder holds, and how its refusals end a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_data.store import DatasetStore


def opened_dataset(folder: Path) -> DatasetStore:
    """The dataset of attempts in a folder; raises `BadInput` for anything else."""
    from sagacity_data.errors import DatasetRefused
    from sagacity_data.store import DESCRIPTION, DatasetStore

    try:
        store = DatasetStore(folder)
    except DatasetRefused as refusal:
        raise BadInput(str(refusal)) from None
    if not (folder / DESCRIPTION).is_file():
        raise BadInput(f"{folder} holds no dataset; give the folder that a recorder or an import wrote to")
    return store


def event_log_in(folder: Path) -> dict[str, Any] | None:
    """What an imported event log holds; None where the folder holds none."""
    from sagacity_data.case_store import KIND, EventLogDataset, description_of
    from sagacity_data.errors import DatasetRefused

    try:
        description = description_of(folder)
    except DatasetRefused as refusal:
        raise CommandError(str(refusal), ExitCode.FAILED) from None
    if description is None or description.get("kind") != KIND:
        return None
    with refusals():
        log = EventLogDataset.open(folder)
        cases = log.summaries()
    outcomes = [case.outcome for case in cases if case.outcome is not None]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "dataset": str(folder),
        "kind": KIND,
        "schema_version": description.get("schema_version"),
        "cases": len(cases),
        "events": sum(case.events for case in cases),
        "cases_with_outcome": len(outcomes),
        "successes": sum(outcome.success for outcome in outcomes),
        "first_at": min((case.start_us / 1e6 for case in cases), default=None),
        "last_at": max((case.end_us / 1e6 for case in cases), default=None),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }


@contextmanager
def refusals() -> Iterator[None]:
    """What a dataset refuses while it is read or written ends the command with 1, in one line."""
    from sagacity_data.errors import DataError

    try:
        yield
    except DataError as refusal:
        raise CommandError(str(refusal), ExitCode.FAILED) from None
