"""The text of a table: its encoding, its lines, its delimiter and its rows, all bounded.

The encoding is the mark's where there is one, else UTF-8, else, where the bytes are no UTF-8, Western
European (Windows-1252, which is Latin-1 for all letters); the whole file is looked at once to know. The
delimiter is the one that gives the first lines the same number of columns, and the most of them.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.stored_bytes import stored_bytes

LINE_CHARACTERS_MAX: Final = 1_000_000
"""A line longer than this is refused, and so is a row of more characters over its lines."""

BLANK_LINES_MAX: Final = 10_000
"""More blank lines than this, one after the other, are refused."""

DELIMITERS: Final = (",", ";", "\t", "|")
_LINES_SAMPLED: Final = 50
_SAMPLE_CHARACTERS: Final = 256 * 1024
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EUROPEAN: Final = "cp1252"
_AS_TEXT: Final = "save the table as UTF-8 text"


def encoding_of(path: Path, tally: Tally) -> str:
    """The encoding of the file. Raises `ImportRefused` for what is no text."""
    decoder: codecs.IncrementalDecoder | None = None
    name = "utf-8"
    for chunk in stored_bytes(path, tally.saw_bytes):
        if decoder is None:
            name = next((name for mark, name in _MARKS if chunk.startswith(mark)), "utf-8")
            decoder = codecs.getincrementaldecoder(name)()
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            if name != "utf-8":
                raise ImportRefused(path, "", f"is not {error.encoding} text", "save it as UTF-8") from None
            tally.notes["tables that are no UTF-8 were read as Windows-1252"] += 1
            return _EUROPEAN
        if "\0" in text:
            raise ImportRefused(path, "", "holds NUL characters", _AS_TEXT)
    if decoder is None:
        raise ImportRefused(path, "byte 0", "is empty", "export the log again")
    return name


class TableText:
    """The lines of a table, one pass at a time."""

    def __init__(self, path: Path, tally: Tally) -> None:
        """Raises `ImportRefused` for what is no text."""
        self.path = path
        self._tally = tally
        self._encoding = encoding_of(path, tally)

    def rows(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank, with the number of the line each ends on. Raises `ImportRefused`."""
        lines = _Lines(self)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                lines.row_characters = 0
                if row and not (len(row) == 1 and not row[0].strip()):
                    yield reader.line_num, row
        except csv.Error as error:
            place = f"line {reader.line_num}"
            raise ImportRefused(
                self.path, place, f"is no table ({error})"[:120], "check its quotes"
            ) from None

    def delimiter(self) -> str:
        """The delimiter, by what the first lines look like; a line `sep=;` before them is obeyed."""
        sample = self.sample()
        if sample and len(said := sample[0].strip().lower()) == len("sep=;") and said.startswith("sep="):
            return sample[0].strip()[-1]
        return max(DELIMITERS, key=lambda each: _evenness(sample, each))

    def sample(self) -> list[str]:
        """The first lines."""
        taken: list[str] = []
        for line in self.lines():
            taken.append(line)
            if len(taken) >= _LINES_SAMPLED or sum(map(len, taken)) >= _SAMPLE_CHARACTERS:
                break
        return taken

    def lines(self) -> Iterator[str]:
        """The lines with their ends. Raises `ImportRefused` for one that is too long."""
        raw = _Chunks(stored_bytes(self.path, self._tally.saw_bytes))
        errors = "replace" if self._encoding == _EUROPEAN else "strict"
        stream = io.TextIOWrapper(io.BufferedReader(raw), encoding=self._encoding, errors=errors, newline="")
        number = blank = 0
        try:
            while line := stream.readline(LINE_CHARACTERS_MAX + 1):
                number += 1
                if len(line) > LINE_CHARACTERS_MAX:
                    reason = f"has a line of more than {LINE_CHARACTERS_MAX:,} characters"
                    raise ImportRefused(self.path, f"line {number}", reason, "check that it is a table")
                if "\0" in line:
                    raise ImportRefused(self.path, f"line {number}", "holds NUL characters", _AS_TEXT)
                blank = blank + 1 if line.isspace() else 0
                if blank > BLANK_LINES_MAX:
                    reason = f"has more than {BLANK_LINES_MAX:,} blank lines in a row"
                    raise ImportRefused(self.path, f"line {number}", reason, "leave them out")
                yield line
        except UnicodeDecodeError as error:
            reason = f"is not {error.encoding} text to its end"
            raise ImportRefused(self.path, f"line {number + 1}", reason, "copy it again, whole") from None


class _Lines:
    """Lines for a `csv.reader`, which bounds fields but neither rows nor lines."""

    def __init__(self, text: TableText) -> None:
        self.row_characters = 0  # Of the row under way.
        self._path = text.path
        self._lines = text.lines()
        self._number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self.row_characters += len(line)
        if self.row_characters > LINE_CHARACTERS_MAX:
            reason = f"has a row of more than {LINE_CHARACTERS_MAX:,} characters"
            raise ImportRefused(self._path, f"line {self._number}", reason, "check its quotes")
        return line


class _Chunks(io.RawIOBase):
    """Pieces of bytes as a raw stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._left:
            self._left = next(self._chunks, b"")
            if not self._left:
                return 0
        taken = self._left[: len(view)]
        view[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def _evenness(sample: Sequence[str], delimiter: str) -> tuple[float, int]:
    """How much the sample looks like a table with this delimiter."""
    try:
        widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
    except csv.Error:
        return (0.0, 0)
    if not widths or widths[0] < 2:
        return (0.0, 0)
    return (Counter(widths)[widths[0]] / len(widths), widths[0])
