"""How the demo talks: results on stdout, progress on stderr, and only where somebody is watching.

With `--json` stdout carries the final line alone, and what fell short is said on stderr instead. When piped
there are no progress bars.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

Advance = Callable[[int], None]


class Narrator:
    """Tells the story of the demo to whoever reads it."""

    def __init__(self, *, quiet: bool) -> None:
        self._out = Console(quiet=quiet, highlight=False)
        self._err = Console(stderr=True, highlight=False)
        self._warnings = self._err if quiet else self._out
        self.seconds: dict[str, float] = {}

    def say(self, text: str = "") -> None:
        """One paragraph of results."""
        self._out.print(text, markup=False)

    def point(self, text: str) -> None:
        """One item of a list; its further lines are indented."""
        wrapped = Text(text.replace(" %", "%")).wrap(self._out, self._out.width - 2)
        for number, line in enumerate(wrapped):
            self._out.print("  " if number else "- ", line, sep="", end="\n")

    def verbatim(self, text: str) -> None:
        """Lines that stay as they are however narrow the terminal: commands, aligned figures."""
        self._out.print(text, markup=False, soft_wrap=True)

    def shortfalls(self, texts: Sequence[str]) -> None:
        """What the demo promised and did not keep; said in every mode."""
        for text in texts:
            self._warnings.print(f"FELL SHORT: {text}", markup=False, soft_wrap=True)

    def heading(self, letter: str, text: str) -> None:
        """The beginning of a part."""
        self._out.print()
        self._out.print(f"[bold]({letter}) {text}[/bold]")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """A table with one line for each row; all columns but the first `left` are aligned to the right."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for position, column in enumerate(columns):
            table.add_column(column, justify="left" if position < left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._out.print(table)

    @contextmanager
    def progress(self, task: str, total: int) -> Iterator[Advance]:
        """A bar on stderr where it is a terminal; the time the part took is kept under `task`."""
        began = time.monotonic()
        with self._bars() as bars:
            bar = bars.add_task(task, total=total)
            yield lambda done: bars.update(bar, completed=done)
        self.seconds[task] = time.monotonic() - began

    @contextmanager
    def task(self, name: str) -> Iterator[Callable[[str], None]]:
        """A pulsing bar that says what is being done now."""
        began = time.monotonic()
        with self._bars() as bars:
            bar = bars.add_task(name, total=None)
            yield lambda what: bars.update(bar, description=f"{name}: {what}")
        self.seconds[name] = time.monotonic() - began

    @contextmanager
    def many(self, tasks: list[str], total: int, name: str) -> Iterator[Callable[[str, int], None]]:
        """One bar for each of several tasks that run side by side."""
        began = time.monotonic()
        with self._bars() as bars:
            ids = {task: bars.add_task(task, total=total) for task in tasks}
            yield lambda task, done: bars.update(ids[task], completed=done)
        self.seconds[name] = time.monotonic() - began

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not sys.stderr.isatty(),
        )
