"""Where words go: data to stdout, everything else to stderr, and nothing that a script would trip over.

Tables are plain aligned text, equal on a terminal and in a file. Progress is drawn on stderr, and only if
that is a terminal; rich honours NO_COLOR there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def say(text: str) -> None:
    """One line for a reader, on stderr."""
    print(text, file=sys.stderr, flush=True)


def put(lines: Sequence[str]) -> None:
    """Data as text, on stdout."""
    print("\n".join(lines))


def put_json(value: object) -> None:
    """Data as one JSON document, on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned lines, two spaces apart; columns in `right` are aligned to the right.

    >>> table([["step", "s"], ["pay", "10"]], right=frozenset({1}))
    ['step   s', 'pay   10']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """A progress display on stderr, or None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield progress
