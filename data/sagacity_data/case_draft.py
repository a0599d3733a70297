"""An imported event log being written: nothing of it can be seen until all of it is there.

A draft is written in a hidden folder beside the target and renamed into place, so a reader never meets half a
dataset, whatever happens to the writer. The next import into the same target removes what a killed one left:
its draft, and the old dataset that a replacement had set aside (which goes back if its successor never came).
One process writes one target at a time; drafts of other living processes are left alone.

The content depends on the sources and the rule alone, so equal imports give equal files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sagacity_data.case_store import (
    CASES_FILE,
    DESCRIPTION_FILE,
    EVENTS_FOLDER,
    KIND,
    SCHEMA_VERSION,
    description_of,
)
from sagacity_data.case_tables import (
    CASE_COLUMNS,
    EVENT_COLUMNS,
    case_row,
    event_row,
    table_of,
)
from sagacity_data.errors import DatasetRefused
from sagacity_data.event_log import Case
from sagacity_data.outcomes import Outcome

EVENTS_PER_PART: Final = 100_000
_DRAFT, _ASIDE = "draft", "replaced"


class DatasetDraft:
    """A dataset being written. Use as a context: leaving it without `publish` leaves nothing behind.

    Raises `DatasetRefused` on entry if `into` may not be written (it is a file, a folder of something else,
    or a dataset and `replace` is not set), and at any time if the disk refuses.
    """

    def __init__(self, into: str | os.PathLike[str], *, replace: bool = False) -> None:
        self._into = Path(into).absolute()
        self._replace = replace
        self._folder = _beside(self._into, _DRAFT)
        self._events: list[tuple[Any, ...]] = []
        self._cases: list[tuple[Any, ...]] = []
        self._kept_cases: list[Any] = []
        self._parts = self._kept_parts = 0
        self._numbers = self._kept_numbers = 0

    def __enter__(self) -> Self:
        try:
            _clean_up(self._into)
            _check_target(self._into, replace=self._replace)
            (self._folder / EVENTS_FOLDER).mkdir(parents=True)
        except OSError as error:
            raise self._unwritable(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, case: Case, source: int, outcome: Outcome | None) -> None:
        """Append a case with its outcome; it stays only if `keep_source` follows."""
        number = self._numbers
        self._numbers += 1
        self._cases.append(case_row(number, source, case, outcome))
        self._events += [event_row(number, event) for event in case.events]
        if len(self._events) >= EVENTS_PER_PART:
            self._write_part()

    def keep_source(self) -> None:
        """Everything added so far stays."""
        self._write_part()
        self._kept_cases.append(table_of(self._cases, CASE_COLUMNS))
        self._cases = []
        self._kept_numbers, self._kept_parts = self._numbers, self._parts

    def drop_source(self) -> None:
        """Forget everything added since the last `keep_source`."""
        for part in range(self._kept_parts, self._parts):
            self._part_path(part).unlink()
        self._events, self._cases = [], []
        self._numbers, self._parts = self._kept_numbers, self._kept_parts

    def publish(self, description: Mapping[str, Any]) -> Path:
        """Put the dataset in its place, whole, and return where. At least one source must have been kept."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        assert self._kept_cases, "publish without a kept source"
        whole = {"kind": KIND, "schema_version": SCHEMA_VERSION, **description}
        try:
            pq.write_table(pa.concat_tables(self._kept_cases), self._folder / CASES_FILE)
            text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
            (self._folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
            _flush_to_disk(self._folder)
            _put(self._folder, self._into)
        except OSError as error:
            raise self._unwritable(error) from None
        return self._into

    def _write_part(self) -> None:
        import pyarrow.parquet as pq

        if not self._events:
            return
        try:
            pq.write_table(table_of(self._events, EVENT_COLUMNS), self._part_path(self._parts))
        except OSError as error:
            raise self._unwritable(error) from None
        self._events = []
        self._parts += 1

    def _part_path(self, part: int) -> Path:
        return self._folder / EVENTS_FOLDER / f"part-{part:05d}.parquet"

    def _unwritable(self, error: OSError) -> DatasetRefused:
        reason = error.strerror or str(error)
        return DatasetRefused(f"cannot write {self._into} ({reason}); choose another folder or make room")


def _check_target(into: Path, *, replace: bool) -> None:
    if not into.exists():
        return
    if not into.is_dir():
        raise DatasetRefused(f"{into} is a file; name a folder for the dataset")
    description = description_of(into)
    if description is None:
        if any(into.iterdir()):
            raise DatasetRefused(f"{into} holds other files; name a new or an empty folder")
        return
    if description.get("kind") != KIND:
        raise DatasetRefused(
            f"{into} holds a dataset of kind {description.get('kind')!r}; name another folder"
        )
    if not replace:
        raise DatasetRefused(
            f"{into} already holds an imported event log; use --replace or name another folder"
        )


def _put(folder: Path, into: Path) -> None:
    """Rename `folder` to `into`, setting a dataset that is there aside until the new one has its name."""
    if description_of(into) is None:
        folder.rename(into)
        return
    aside = _beside(into, _ASIDE)
    into.rename(aside)
    try:
        folder.rename(into)
    except OSError:
        aside.rename(into)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _clean_up(into: Path) -> None:
    for leftover in _leftovers(into, _ASIDE):
        if into.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(into)
    for leftover in _leftovers(into, _DRAFT):
        shutil.rmtree(leftover)


def _leftovers(into: Path, kind: str) -> Iterator[Path]:
    """Folders of that kind beside `into` whose process is gone; our own number was used before us."""
    prefix = f".{into.name}.{kind}-"
    for path in sorted(into.parent.iterdir()) if into.parent.is_dir() else []:
        pid = path.name.removeprefix(prefix)
        if (
            path.name.startswith(prefix)
            and pid.isdecimal()
            and (int(pid) == os.getpid() or not _lives(int(pid)))
        ):
            yield path


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, so it lives
    return True


def _beside(into: Path, kind: str) -> Path:
    return into.with_name(f".{into.name}.{kind}-{os.getpid()}")


def _flush_to_disk(folder: Path) -> None:
    for path in (*(path for path in folder.rglob("*") if path.is_file()), folder / EVENTS_FOLDER, folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
