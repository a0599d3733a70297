"""Which files make up a dataset: the list of its parts, and the two ways in which it changes.

`parts.jsonl` has one line per addition, each with a checksum over its parts. A part counts when a whole line
names it and from no earlier moment on, so everything that was added together appears together. A rewrite (a
deletion) replaces the whole list by one rename. What no line names is nobody's: it was left by a writer that
was killed, and the next writer removes it.

The order of the list is the order of writing: of rows with the same identity the first written counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.rows import AttemptRow, RunRow

LIST_FILE: Final = "parts.jsonl"
TABLE_OF: Final[dict[type, str]] = {AttemptRow: "attempts", RunRow: "runs"}
TABLES: Final = tuple(TABLE_OF.values())
KIND_OF: Final[dict[str, type[Any]]] = {table: kind for kind, table in TABLE_OF.items()}
PARTS_PER_LINE: Final = 1_000
DIGEST_DIGITS: Final = 16
"""How much of the SHA-256 of its content a part has in its name."""

REWRITE_PREFIX: Final = ".rewrite-"
_UNFINISHED: Final = ".unfinished"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of rows: `name` is its path inside the dataset, `table/day=DAY/part-...parquet`.

    The day may be a month, too: see `store_days`.
    """

    name: str
    rows: int
    bytes: int

    @property
    def table(self) -> str:
        """`attempts` or `runs`.

        >>> Part("runs/day=2026-01-31/part-1.parquet", 1, 1).table
        'runs'
        """
        return self.name.split("/")[0]

    @property
    def day(self) -> str:
        """The UTC day or month of launch of all its rows, or `unknown`.

        >>> Part("runs/day=2026-01-31/part-1.parquet", 1, 1).day
        '2026-01-31'
        """
        return self.name.split("/")[1].removeprefix("day=")


def listed_parts(folder: Path) -> list[Part]:
    """The parts of the dataset, in the order of writing. Raises `DatasetRefused` if the list is damaged.

    A last line that is not whole is being written, or was by somebody who was killed: it does not count yet.
    """
    path = folder / LIST_FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        raise DatasetRefused(f"{path} is missing; restore it, nothing can be read without it") from None
    parts: list[Part] = []
    for number, line in enumerate(lines[:-1], start=1):
        told = _parts_in(line)
        if told is None and number < len(lines) - 1:
            raise DatasetRefused(f"{path}:{number} is damaged; restore the file from a copy")
        parts += told or []
    return parts


def make_list(folder: Path) -> None:
    """An empty list where there is none yet."""
    with (folder / LIST_FILE).open("ab") as file:
        os.fsync(file.fileno())


def add_to_list(folder: Path, parts: Sequence[Part]) -> None:
    """Makes the parts count, all at once. For the one writer."""
    path = folder / LIST_FILE
    whole = path.read_bytes()
    lines = whole.split(b"\n")
    kept = len(whole) - len(lines[-1])
    if len(lines) > 1 and _parts_in(lines[-2]) is None:
        kept -= len(lines[-2]) + 1
    with path.open("r+b") as file:
        file.truncate(kept)
        file.seek(kept)
        file.write(_line_of(parts))
        file.flush()
        os.fsync(file.fileno())


def replace_list(folder: Path, parts: Sequence[Part]) -> None:
    """Makes exactly these parts count from one moment to the next. For the one writer."""
    draft = folder / f".{LIST_FILE}"
    with draft.open("wb") as file:
        for start in range(0, len(parts), PARTS_PER_LINE):
            file.write(_line_of(parts[start : start + PARTS_PER_LINE]))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / LIST_FILE)
    flush_names(folder)


def begin_change(folder: Path) -> None:
    """Notes that files may soon lie here that no line names."""
    (folder / _UNFINISHED).touch()


def end_change(folder: Path) -> None:
    """The change is whole: every file here is named by a line."""
    (folder / _UNFINISHED).unlink(missing_ok=True)


def mend(folder: Path, *, always: bool = False) -> None:
    """Removes what a killed writer left: files of rows that no line names. For the one writer."""
    if not always and not (folder / _UNFINISHED).exists():
        return
    named = {part.name for part in listed_parts(folder)}
    for name in _found(folder):
        if name not in named:
            (folder / name).unlink(missing_ok=True)
    (folder / f".{LIST_FILE}").unlink(missing_ok=True)
    for left in folder.glob(f"{REWRITE_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    end_change(folder)


def unlisted(folder: Path, parts: Iterable[Part]) -> list[str]:
    """The names of files of rows that are not among the parts."""
    named = {part.name for part in parts}
    return [name for name in _found(folder) if name not in named]


def named_part(folder: Path, draft: Path, into: str, rows: int) -> Part:
    """Flushes a draft to the disk and gives it its name, after its content; it does not count yet."""
    under = folder / into
    under.mkdir(parents=True, exist_ok=True)
    with draft.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_DIGITS]
        os.fsync(file.fileno())
    name = f"part-{_next_number(under):08d}-{digest}.parquet"
    part = Part(f"{into}/{name}", rows, draft.stat().st_size)
    draft.replace(under / name)
    return part


def flush_names(folder: Path) -> None:
    """Makes the names of the files in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _next_number(folder: Path) -> int:
    """A number that no part under the day has: no name is used twice while anybody may read by it."""
    numbers = (part.name.split("-")[1] for part in folder.glob("part-*-*.parquet"))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def _found(folder: Path) -> Iterator[str]:
    for table in TABLES:
        for path in sorted((folder / table).glob("day=*/*.parquet")):
            yield path.relative_to(folder).as_posix()


def _line_of(parts: Sequence[Part]) -> bytes:
    plain = [[part.name, part.rows, part.bytes] for part in parts]
    return json.dumps({"check": _check(plain), "parts": plain}).encode() + b"\n"


def _check(plain: Any) -> str:
    return f"{zlib.crc32(json.dumps(plain).encode()):08x}"


def _parts_in(line: bytes) -> list[Part] | None:
    """The parts that a line names, None when it is not whole."""
    try:
        told = json.loads(line)
        if told["check"] != _check(told["parts"]):
            return None
        return [_part(*plain) for plain in told["parts"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _part(name: str, rows: int, size: int) -> Part:
    table, day, file = name.split("/")
    if table not in TABLES or not day.startswith("day=") or file.startswith("."):
        raise ValueError(name)
    return Part(name, rows, size)
