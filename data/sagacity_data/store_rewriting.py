"""Parts of a dataset written anew without some of their rows: what erasing and replacing have in common.

Files are never changed, so a part that holds such rows gets a successor beside it that holds the others. What
counts afterwards, and from when on, is up to whoever asks: nothing here touches the list of parts.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagacity_data.row_tables import columns_of, write_table
from sagacity_data.store_parts import (
    KIND_OF,
    REWRITE_PREFIX,
    TABLE_OF,
    Part,
    flush_names,
    mend,
    named_part,
)
from sagacity_data.store_reading import holds, part_batches
from sagacity_data.store_where import Where, matching


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The parts without the rows, in the order of writing, those that have to go, and how many rows went."""

    kept: Sequence[Part]
    gone: Sequence[Part]
    rows: dict[str, int]  # By table.


@contextmanager
def rewritten(folder: Path, parts: Sequence[Part], where: Where) -> Iterator[Rewritten]:
    """The parts without the rows that answer, for the one writer to make them count before leaving.

    On leaving, whatever the list of parts does not name by then is removed. Raises `DatasetRefused` when a
    part is damaged and `OSError` when the disk refuses; then nothing has changed.
    """
    drafts = folder / f"{REWRITE_PREFIX}{uuid.uuid4().hex}"
    gone: list[Part] = []
    try:
        drafts.mkdir()
        kept: list[Part] = []
        rows = dict.fromkeys(TABLE_OF.values(), 0)
        for part in parts:
            left = _left(folder, part, where, drafts)
            kept += [left] if left is not None else []
            if left is not part:
                gone.append(part)
                rows[part.table] += part.rows - (left.rows if left is not None else 0)
        yield Rewritten(kept, gone, rows)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
        mend(folder, always=True)
        for part in gone:
            _drop_day(folder / part.name)


def _left(folder: Path, part: Part, where: Where, drafts: Path) -> Part | None:
    """The part itself when nothing in it answers, else a new one of the rest, None when there is no rest."""
    kind = KIND_OF[part.table]
    if answers(folder, part, where) == 0:
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


def answers(folder: Path, part: Part, where: Where) -> int:
    """How many rows of a part answer; a part that cannot hold any is not opened."""
    kind = KIND_OF[part.table]
    if not holds(part, kind, where):
        return 0
    return sum(batch.num_rows for batch in part_batches(folder / part.name, kind, ["run_id"], where))


def _drop_day(part: Path) -> None:
    """Removes the folder of a day that holds nothing any more."""
    if part.parent.is_dir() and not any(part.parent.iterdir()):
        part.parent.rmdir()
        flush_names(part.parent.parent)
