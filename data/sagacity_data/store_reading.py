"""Reading a dataset's parts without reading what nobody asked for.

Days that cannot hold an answer are not opened, row groups whose range of values excludes one are passed
over, and only the columns that are asked for are read. Batches come one at a time, so memory is bounded by
one row group and by the identities of one day (of one month, where days of it lie together; eight bytes each,
and the names of the runs), which is what it takes to keep the row that was written first and to pass over the
others of the same identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import ROWS_PER_GROUP, columns_of, rows_of, schema_of
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store_days import UNKNOWN_DAY, day_within, together
from sagacity_data.store_identities import KEYS, Firsts, Late
from sagacity_data.store_parts import TABLE_OF, Part
from sagacity_data.store_where import EVERYTHING, Where, expression

R = TypeVar("R", AttemptRow, RunRow)


class PartGone(DatasetRefused):
    """A part that the list named is not there: it was rewritten meanwhile, or it is lost."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rows are read from: the parts in the order of writing, and the rows that are in no part yet."""

    folder: Path
    parts: Sequence[Part]
    buffered: Sequence[AttemptRow | RunRow] = ()

    def answering(self, kind: type[R], where: Where) -> list[R]:
        """The rows in no part that are asked for."""
        return [row for row in self.buffered if isinstance(row, kind) and where.answers(row)]


def read_batches(
    sources: Sources,
    kind: type[R],
    names: Sequence[str],
    where: Where = EVERYTHING,
    *,
    across_days: bool = False,
) -> Iterator[tuple[Path, Any]]:
    """The rows that are asked for as Arrow record batches, each with the file it is from.

    They come by day (by month, where days of it lie together) and, within one, in the order of writing; last
    those in no part yet. Of several rows with one identity the first comes: of those under one day or such a
    month, or of all if `across_days`. Raises `DatasetRefused` when a part is damaged or not ours, `PartGone`
    when it is not there.
    """
    keys: tuple[str, ...] = KEYS[kind]
    read = [*dict.fromkeys((*names, *keys))]
    chosen = by_day(part for part in sources.parts if holds(part, kind, where))
    late = Late(kind, sources.answering(kind, where))
    firsts = Firsts(keys)
    for under in chosen:
        firsts = firsts if across_days else Firsts(keys)
        for part in under:
            path = sources.folder / part.name
            for batch in part_batches(path, kind, read, where):
                late.meet(batch)
                yield path, firsts.of(batch).select(names)
    for batch in late.left():
        yield sources.folder, batch.select(names)


def read_rows(
    sources: Sources,
    kind: type[R],
    where: Where = EVERYTHING,
    *,
    without: Sequence[str] = (),
    across_days: bool = False,
) -> Iterator[list[R]]:
    """The same as rows, a list for each batch; the mappings named in `without` are left empty."""
    names = [name for name in columns_of(kind) if name not in without]
    for path, batch in read_batches(sources, kind, names, where, across_days=across_days):
        yield _rows(path, kind, batch, without)


def read_beside(
    sources: Sources, kind: type[R], apart: str, where: Where = EVERYTHING
) -> Iterator[tuple[list[R], Any]]:
    """The rows that are asked for, each told once, with the mapping `apart` left empty, and beside each batch
    of them what is stored of that column, undecoded.
    """
    for path, batch in read_batches(sources, kind, list(columns_of(kind)), where, across_days=True):
        yield _rows(path, kind, batch, (apart,)), batch.column(apart)


def _rows(path: Path, kind: type[R], batch: Any, without: Sequence[str]) -> list[R]:
    try:
        return rows_of(kind, batch, without)
    except (TypeError, ValueError) as problem:
        raise DatasetRefused(
            f"{path} holds a row that is not ours ({problem}); remove the file or restore it"
        ) from None


def part_batches(path: Path, kind: type[R], names: Sequence[str], where: Where = EVERYTHING) -> Iterator[Any]:
    """The named columns of one part, a row group at a time; refuses as `read_batches`."""
    import pyarrow as pa

    try:
        format_, files = _access()
        part = format_.make_fragment(str(path), filesystem=files)
        _check_columns(path, part.physical_schema, kind)
        yield from part.to_batches(
            columns=list(names),
            filter=expression(kind, where),
            batch_size=ROWS_PER_GROUP,
            batch_readahead=1,
            use_threads=False,
        )
    except FileNotFoundError:
        raise PartGone(
            f"{path} is missing though {path.parents[2]} lists it; restore it from a copy"
        ) from None
    except (pa.ArrowException, OSError) as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DatasetRefused(
            f"{path} is damaged or no Parquet file ({told}); remove it or restore it from a copy"
        ) from None


def holds(part: Part, kind: type[Any], where: Where) -> bool:
    """Whether a part may hold rows of this kind that answer, as far as its name tells."""
    return part.table == TABLE_OF[kind] and day_within(part.day, where.since, where.until)


def by_day(parts: Iterable[Part]) -> list[list[Part]]:
    """The parts of each day in the order of writing, unknown days last.

    Where days of a month lie together, all parts of the month do: a run is in one list only.
    """
    listed = list(parts)
    read_with = together(part.day for part in listed)
    apart: dict[str, list[Part]] = {}
    for part in listed:
        apart.setdefault(read_with[part.day], []).append(part)
    return [apart[day] for day in sorted(apart, key=lambda day: (day == UNKNOWN_DAY, day))]


def _check_columns(path: Path, found: Any, kind: type[Any]) -> None:
    if not found.equals(schema_of(kind)):
        raise DatasetRefused(
            f"{path} does not have the columns of a table of {kind.__name__}s; "
            "remove the file, or convert it with an importer"
        )


@cache
def _access() -> tuple[Any, Any]:
    """How Parquet is read, every page against its checksum, and where from."""
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=False)
    return ds.ParquetFileFormat(default_fragment_scan_options=scan), LocalFileSystem()
