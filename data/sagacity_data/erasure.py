"""Taking rows out of a dataset for good: what has been kept long enough, one tenant, one run.

Files are never changed, so the files that hold such rows are written anew without them, beside the old ones.
One rename of the list of parts (`store_parts`) then makes the new files count and the old ones not: whoever
reads has all of the old rows or none, and a reader that was under way begins anew or is refused. Only after
that are the old files removed. Killed before the rename, the dataset is as it was; killed after it, the rows
are gone for every reader, and the next writer or erasure removes what is left of the old files.

Rows that wait in a sink's buffer are erased first: they could otherwise move into a new file behind us.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.sinks.buffer import buffered_rows, forget_buffered
from sagacity_data.store import DESCRIPTION, DatasetStore
from sagacity_data.store_draft import remove_leftovers
from sagacity_data.store_lock import writing
from sagacity_data.store_parts import begin_change, listed_parts, mend, replace_list
from sagacity_data.store_rewriting import answers, rewritten
from sagacity_data.store_where import Where

ERASED_FILE: Final = "erased.json"
WAIT_S: Final = 600.0
"""How long an erasure waits for a writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure took, or with `dry_run` would take. Rows written twice count twice."""

    attempts: int = 0
    runs: int = 0
    buffered: int = 0  # Rows that had not reached a file yet.
    files_removed: int = 0
    files_rewritten: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    dry_run: bool = False

    @property
    def nothing(self) -> bool:
        """Whether no row answered to what was asked."""
        return not (self.attempts or self.runs or self.buffered)


def erase(store: DatasetStore, where: Where, *, dry_run: bool = False) -> Erased:
    """Removes every row to which all of `where` applies; a launch that is not known is in no range of time.

    Raises `DatasetRefused` when a part is damaged, the disk refuses, or somebody else keeps writing. Raises
    `ValueError` when `where` asks for nothing in particular.
    """
    if where == Where():
        raise ValueError("everything would be erased; say which time, tenant, saga or run")
    buffered = _erase_buffered(store.folder, where, dry_run=dry_run)
    if not (store.folder / DESCRIPTION).is_file():
        return Erased(buffered=buffered, dry_run=dry_run)
    if dry_run:
        return _counted(store.folder, where, buffered)
    try:
        with writing(store.folder, WAIT_S):
            mend(store.folder, always=True)
            remove_leftovers(store.folder)
            return _rewrite(store.folder, where, buffered)
    except OSError as problem:
        raise DatasetRefused(
            f"cannot write to {store.folder}: {problem.strerror or problem}; "
            "nothing was erased from its files; free the disk and erase again"
        ) from None


def _rewrite(folder: Path, where: Where, buffered: int) -> Erased:
    """The erasure itself; nobody else writes meanwhile."""
    parts = listed_parts(folder)
    begin_change(folder)
    with rewritten(folder, parts, where) as anew:
        if anew.gone:
            _remember(folder)
            replace_list(folder, anew.kept)
    return Erased(
        attempts=anew.rows["attempts"],
        runs=anew.rows["runs"],
        buffered=buffered,
        files_removed=len(parts) - len(anew.kept),
        files_rewritten=len(anew.gone) - (len(parts) - len(anew.kept)),
        bytes_before=sum(part.bytes for part in parts),
        bytes_after=sum(part.bytes for part in anew.kept),
    )


def _counted(folder: Path, where: Where, buffered: int) -> Erased:
    """What would go."""
    parts = listed_parts(folder)
    counts = Counter[str]()
    removed = partly = 0
    for part in parts:
        rows = answers(folder, part, where)
        counts[part.table] += rows
        removed += rows == part.rows
        partly += 0 < rows < part.rows
    size = sum(part.bytes for part in parts)
    return Erased(
        attempts=counts["attempts"],
        runs=counts["runs"],
        buffered=buffered,
        files_removed=removed,
        files_rewritten=partly,
        bytes_before=size,
        bytes_after=size,
        dry_run=True,
    )


def _erase_buffered(folder: Path, where: Where, *, dry_run: bool) -> int:
    """Rows in the sink's buffer that answer; they are erased run by run."""
    answering = [row for row in buffered_rows(folder) if where.answers(row)]
    if answering and not dry_run:
        forget_buffered(folder, run_ids=sorted({row.run_id for row in answering}))
    return len(answering)


def erasures(folder: Path) -> int:
    """How often rows were erased from the dataset's files; then its history is not whole any more."""
    try:
        told = json.loads((folder / ERASED_FILE).read_text("utf-8"))
        return int(told["erasures"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, KeyError):
        raise DatasetRefused(f"{folder / ERASED_FILE} is damaged; restore it or remove it") from None


def _remember(folder: Path) -> None:
    """Notes that history was erased; of whom is not kept."""
    draft = folder / f".{ERASED_FILE}"
    draft.write_text(json.dumps({"erasures": erasures(folder) + 1}) + "\n", "utf-8")
    draft.replace(folder / ERASED_FILE)
