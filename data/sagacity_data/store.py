"""The execution dataset on disk: a folder of Parquet files by day of launch.

    dataset.json                              kind "attempts" and the schema version
    attempts/day=YYYY-MM-DD/part-N-HASH.parquet
    runs/day=YYYY-MM-DD/part-N-HASH.parquet

A run's rows lie under the UTC day of its launch (`day=unknown` when that is missing). Files are never
changed: `append` writes all its parts under hidden names first and renames them when every one is complete,
so a failing write leaves what was there, and a reader sees a part whole or not at all. Appending again is
harmless: reading keeps, of several rows with the same identity, the one that was written first. One writer
at a time; any number of readers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sagacity_data.errors import DatasetRefused
from sagacity_data.row_tables import read_columns, read_rows, write_rows
from sagacity_data.rows import SCHEMA_VERSION, AttemptRow, Row, RunRow

if TYPE_CHECKING:
    import pandas as pd

KIND: Final = "attempts"
UNKNOWN_DAY: Final = "unknown"
ROWS_PER_PART: Final = 100_000
_DESCRIPTION: Final = "dataset.json"
_TABLES: Final[dict[type, str]] = {AttemptRow: "attempts", RunRow: "runs"}

R = TypeVar("R", AttemptRow, RunRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDescription:
    """What a store holds, rows of the same identity counted once. Times in seconds since 1970."""

    folder: str
    schema_version: int
    attempts: int
    runs: int
    sagas: tuple[str, ...]
    services: tuple[str, ...]
    first_launch_at: float | None
    last_launch_at: float | None
    files: int
    bytes: int


class DatasetStore:
    """The store in `folder`, which may be missing or empty until the first append.

    Raises `DatasetRefused` when the folder holds anything else, or a newer schema version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._check()

    def append(self, rows: Iterable[Row]) -> None:
        """Adds rows; when it returns, all of them are on the disk.

        Raises `DatasetRefused` when the folder cannot be written. A part that cannot be written adds nothing;
        after a failed rename some parts may be there, and appending the same rows again is safe.
        """
        parts: dict[tuple[type, str], list[Any]] = defaultdict(list)
        for row in rows:
            parts[type(row), _day(row.launch_at)].append(row)
        if not parts:
            return
        drafts: list[tuple[Path, Path]] = []
        try:
            self._describe_itself()
            for (kind, day), listed in parts.items():
                into = self.folder / _TABLES[kind] / f"day={day}"
                into.mkdir(parents=True, exist_ok=True)
                number = _next_number(into)
                for offset, start in enumerate(range(0, len(listed), ROWS_PER_PART)):
                    draft = into / f".draft-{os.getpid()}-{offset}"
                    drafts.append((draft, into))
                    write_rows(draft, kind, listed[start : start + ROWS_PER_PART])
                    drafts[-1] = (draft, _part_path(draft, number + offset))
            for draft, part in drafts:
                draft.replace(part)
            for folder in {part.parent for _, part in drafts}:
                _flush_names(folder)
        except OSError as problem:
            raise DatasetRefused(
                f"cannot write to {self.folder}: {problem.strerror or problem}; "
                "free the disk or choose another folder, and append again"
            ) from None
        finally:
            for draft, _ in drafts:
                draft.unlink(missing_ok=True)

    def read_attempts(self, since: float | None = None, until: float | None = None) -> list[AttemptRow]:
        """Attempts of runs launched in [since, until), seconds since 1970, by launch, run and start order.

        Rows without a launch time are read only when neither bound is given. Raises `DatasetRefused` when a
        file is damaged or not ours.
        """
        return self._read(AttemptRow, since, until)

    def read_runs(self, since: float | None = None, until: float | None = None) -> list[RunRow]:
        """Runs launched in [since, until), in the same way."""
        return self._read(RunRow, since, until)

    def read(self, since: float | None = None, until: float | None = None) -> list[Row]:
        """Attempts and runs together, every column."""
        return [*self.read_attempts(since, until), *self.read_runs(since, until)]

    def read_history(self, since: float | None = None, until: float | None = None) -> list[Row]:
        """The same without the stored features, which take longest to read: for replaying signals."""
        attempts = self._read(AttemptRow, since, until, without=("features",))
        return [*attempts, *self.read_runs(since, until)]

    def attempts_frame(self, since: float | None = None, until: float | None = None) -> pd.DataFrame:
        """One line per attempt: the columns of `AttemptRow`, the context and the features flattened."""
        from sagacity_data.training_frame import attempts_frame

        return attempts_frame(self.read_attempts(since, until))

    def describe(self) -> StoreDescription:
        """What the store holds; reads identities only."""
        self._check()
        attempts = self._identities(AttemptRow, "run_id", "step", "direction", "attempt")
        runs = self._identities(RunRow, "run_id")
        rows = [*attempts, *runs]
        launches = [row["launch_at"] for row in rows if row["launch_at"] is not None]
        parts = [part for table in _TABLES.values() for part in self._parts(table, None, None)]
        return StoreDescription(
            folder=str(self.folder),
            schema_version=SCHEMA_VERSION,
            attempts=len(attempts),
            runs=len(runs),
            sagas=tuple(sorted({row["saga"] for row in rows})),
            services=tuple(sorted({row["service"] for row in attempts})),
            first_launch_at=min(launches, default=None),
            last_launch_at=max(launches, default=None),
            files=len(parts),
            bytes=sum(part.stat().st_size for part in parts),
        )

    def _identities(self, kind: type[R], *key: str) -> list[dict[str, Any]]:
        names = [*key, "saga", "launch_at", *(["service"] if kind is AttemptRow else [])]
        kept: dict[tuple[Any, ...], dict[str, Any]] = {}
        for part in self._parts(_TABLES[kind], None, None):
            for plain in read_columns(part, kind, names):
                kept.setdefault(tuple(plain[name] for name in key), plain)
        return list(kept.values())

    def _read(
        self, kind: type[R], since: float | None, until: float | None, without: Sequence[str] = ()
    ) -> list[R]:
        self._check()
        kept: dict[tuple[Any, ...], R] = {}
        for part in self._parts(_TABLES[kind], since, until):
            for row in read_rows(part, kind, without):
                if _launched_within(row.launch_at, since, until):
                    kept.setdefault(row.key, row)
        return sorted(kept.values(), key=_reading_order)

    def _parts(self, table: str, since: float | None, until: float | None) -> Iterator[Path]:
        for folder in sorted((self.folder / table).glob("day=*")):
            day = folder.name.removeprefix("day=")
            if _day_within(day, since, until):
                yield from sorted(folder.glob("part-*.parquet"))

    def _check(self) -> None:
        try:
            self._check_folder()
        except OSError as problem:
            raise DatasetRefused(
                f"cannot read {self.folder}: {problem.strerror or problem}; choose another folder"
            ) from None

    def _check_folder(self) -> None:
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return
        path = self.folder / _DESCRIPTION
        if not path.is_file():
            raise DatasetRefused(
                f"{self.folder} is not a dataset of attempts: it has no {_DESCRIPTION}; choose another folder"
            )
        try:
            found = json.loads(path.read_text("utf-8"))
            kind, version = found["kind"], found["schema_version"]
        except (ValueError, TypeError, KeyError):
            raise DatasetRefused(f"{path} is damaged; restore it, or choose another folder") from None
        if kind != KIND:
            raise DatasetRefused(
                f"{self.folder} holds a dataset of kind {kind!r}, not {KIND!r}; choose another"
            )
        if version != SCHEMA_VERSION:
            raise DatasetRefused(
                f"{self.folder} has schema version {version!r} and this program reads {SCHEMA_VERSION}; "
                "use the version of the program that wrote it, or newer"
            )

    def _describe_itself(self) -> None:
        self._check()
        path = self.folder / _DESCRIPTION
        if path.is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{_DESCRIPTION}-{os.getpid()}"
        try:
            draft.write_text(json.dumps({"kind": KIND, "schema_version": SCHEMA_VERSION}) + "\n", "utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _day(at: float | None) -> str:
    return UNKNOWN_DAY if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()


def _day_within(day: str, since: float | None, until: float | None) -> bool:
    if day == UNKNOWN_DAY:
        return since is None and until is None
    try:
        start = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()
    except ValueError:
        raise DatasetRefused(f"the dataset has a folder 'day={day}' that names no day; remove it") from None
    return (until is None or start < until) and (since is None or start + 86_400.0 > since)


def _launched_within(at: float | None, since: float | None, until: float | None) -> bool:
    if at is None:
        return since is None and until is None
    return (since is None or at >= since) and (until is None or at < until)


def _reading_order(row: AttemptRow | RunRow) -> tuple[float, str, int, float, tuple[Any, ...]]:
    launched = -1.0 if row.launch_at is None else row.launch_at
    if isinstance(row, RunRow):
        return (launched, row.run_id, 0, 0.0, row.key)
    position = -1 if row.position is None else row.position
    return (launched, row.run_id, position, -1.0 if row.started_at is None else row.started_at, row.key)


def _next_number(folder: Path) -> int:
    numbers = (part.name.split("-")[1] for part in folder.glob("part-*-*.parquet"))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def _part_path(draft: Path, number: int) -> Path:
    """Flushes a draft to the disk; the name it gets, after its content, so that none is used twice."""
    with draft.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        os.fsync(file.fileno())
    return draft.with_name(f"part-{number:08d}-{digest}.parquet")


def _flush_names(folder: Path) -> None:
    """Makes the names of the files in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
