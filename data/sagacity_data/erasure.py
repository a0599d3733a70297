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
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import columns_of, write_table
from sagacity_data.sinks.buffer import buffered_rows, forget_buffered
from sagacity_data.store import DESCRIPTION, DatasetStore
from sagacity_data.store_draft import TABLE_OF, remove_leftovers
from sagacity_data.store_lock import writing
from sagacity_data.store_parts import (
    REWRITE_PREFIX,
    Part,
    begin_change,
    flush_names,
    listed_parts,
    mend,
    named_part,
    replace_list,
)
from sagacity_data.store_reading import holds, part_batches
from sagacity_data.store_where import Where, matching

ERASED_FILE: Final = "erased.json"
WAIT_S: Final = 600.0
"""How long an erasure waits for a writer."""

KIND_OF: Final[dict[str, type[Any]]] = {table: kind for kind, table in TABLE_OF.items()}


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
    drafts = folder / f"{REWRITE_PREFIX}{uuid.uuid4().hex}"
    counts = Counter[str]()
    kept: list[Part] = []
    gone: list[Part] = []
    try:
        drafts.mkdir()
        for part in parts:
            left = _left(folder, part, where, drafts)
            kept += [left] if left is not None else []
            if left is not part:
                gone.append(part)
                counts[part.table] += part.rows - (left.rows if left is not None else 0)
        if gone:
            _remember(folder)
            replace_list(folder, kept)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
        mend(folder, always=True)
    for part in gone:
        _drop_day(folder / part.name)
    return Erased(
        attempts=counts["attempts"],
        runs=counts["runs"],
        buffered=buffered,
        files_removed=len(parts) - len(kept),
        files_rewritten=len(gone) - (len(parts) - len(kept)),
        bytes_before=sum(part.bytes for part in parts),
        bytes_after=sum(part.bytes for part in kept),
    )


def _left(folder: Path, part: Part, where: Where, drafts: Path) -> Part | None:
    """The part itself when nothing in it answers, else a new one of the rest, None when there is no rest."""
    kind = KIND_OF[part.table]
    if _answers(folder, part, where) == 0:
        return part
    import pyarrow as pa
    import pyarrow.compute as pc

    batches = list(part_batches(folder / part.name, kind, list(columns_of(kind))))
    rest = [batch.filter(pc.call_function("invert", [matching(kind, batch, where)])) for batch in batches]
    table = pa.Table.from_batches(rest)
    if table.num_rows == 0:
        return None
    draft = drafts / "part.parquet"
    write_table(draft, table)
    return named_part(folder, draft, Path(part.name).parent.as_posix(), table.num_rows)


def _answers(folder: Path, part: Part, where: Where) -> int:
    """How many rows of a part answer; a part that cannot hold any is not opened."""
    kind = KIND_OF[part.table]
    if not holds(part, kind, where):
        return 0
    return sum(batch.num_rows for batch in part_batches(folder / part.name, kind, ["run_id"], where))


def _counted(folder: Path, where: Where, buffered: int) -> Erased:
    """What would go."""
    parts = listed_parts(folder)
    counts = Counter[str]()
    removed = rewritten = 0
    for part in parts:
        answers = _answers(folder, part, where)
        counts[part.table] += answers
        removed += answers == part.rows
        rewritten += 0 < answers < part.rows
    size = sum(part.bytes for part in parts)
    return Erased(
        attempts=counts["attempts"],
        runs=counts["runs"],
        buffered=buffered,
        files_removed=removed,
        files_rewritten=rewritten,
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


def _drop_day(part: Path) -> None:
    """Removes the folder of a day that holds nothing any more."""
    if part.parent.is_dir() and not any(part.parent.iterdir()):
        part.parent.rmdir()
        flush_names(part.parent.parent)
