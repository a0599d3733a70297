"""An engine with the real journal and its writer thread, in which nothing depends on how fast anything is.

What one turn of the event loop submits is handed to the writer thread together, and the loop stands still
until the thread sleeps again: so the same run makes the same commits, of the same batches, every time. Other
time is virtual. When the disk says that the process is dead, the loop is left at once, for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.kill_points.troubles import Killed

from sagacity_engine.batch import Batch, Settle
from sagacity_engine.errors import JournalRefused
from sagacity_engine.sqlite.connection import Connect
from sagacity_engine.sqlite.file import Durability
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.sqlite.writer import SqliteWriter
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop

T = TypeVar("T")
Blocking = TypeVar("Blocking")


LOG_PAGES = 14
"""A log laid out in a few writes, each a place like any other; thousands would leave no time for the rest."""


class Mortal(Protocol):
    """Something that knows whether the process is dead."""

    @property
    def dead(self) -> bool: ...


class StepwiseJournal(SqliteJournal):
    """Keeps what is submitted until the loop has nothing else to do; `kept` is all that was acknowledged."""

    def __init__(
        self,
        path: Path,
        connect: Connect,
        clock: Callable[[], float],
        kept: list[Batch],
        durability: Durability,
    ) -> None:
        super().__init__(
            path, connect=connect, clock=clock, durability=durability, lease_s=30.0, log_pages=LOG_PAGES
        )
        self.kept = kept
        self._submitted: list[tuple[Batch, Settle]] = []

    def submit(self, batch: Batch, settle: Settle) -> None:
        def settled(refusal: JournalRefused | None) -> None:
            if refusal is None:
                self.kept.append(batch)
            settle(refusal)

        self._submitted.append((batch, settled))

    def hand_over(self) -> bool:
        """Writes what was submitted; whether anything was."""
        writer = self._writer
        if writer is None:
            return False
        _until_asleep(writer)
        submitted, self._submitted = self._submitted, []
        if not submitted:
            return False
        with writer._gate:
            writer._sleeping = False  # The first of them wakes nobody.
        for batch, settle in submitted:
            super().submit(batch, settle)
        with writer._gate:
            writer._sleeping = True
            writer._wake()
        _until_asleep(writer)
        return True

    def close(self) -> None:
        self.hand_over()
        super().close()

    def bury(self) -> None:
        """Ends the threads and connections of a process that is dead."""
        self._submitted.clear()
        super().close()


def _until_asleep(writer: SqliteWriter) -> None:
    while not writer._sleeping and writer._thread.is_alive():
        time.sleep(0.00002)


class _Select:
    """Before any time passes, the journal writes."""

    def __init__(self, loop: StepwiseLoop, leap: Any) -> None:
        self._loop = loop
        self._leap = leap

    def select(self, timeout_s: float | None) -> list[object]:
        wrote = self._loop.journal.hand_over()
        if self._loop.disk.dead:
            raise Killed
        return [] if wrote else list(self._leap.select(timeout_s))


class StepwiseLoop(VirtualLoop):
    """A loop in virtual time around one journal on one disk."""

    def __init__(self, journal: StepwiseJournal, disk: Mortal) -> None:
        super().__init__()
        self.journal = journal
        self.disk = disk
        self.set_debug(False)  # The writer thread tells a loop that stands still.
        setattr(self, "_selector", _Select(self, self._selector))  # noqa: B010  the virtual loop's is its own kind

    def run_blocking(
        self, func: Callable[[], Blocking]
    ) -> tuple[Blocking | None, BaseException | None, float]:
        done = super().run_blocking(func)
        if self.disk.dead:
            raise Killed
        return done


def run_life(loop: StepwiseLoop, main: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns; raises `Killed` when the process died, of which nothing is left then."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    except Killed:
        _bury(loop)
        raise
    finally:
        if loop.journal.opened or loop.disk.dead:
            loop.journal.bury()
        asyncio.set_event_loop(None)
        loop.close()


def _bury(loop: StepwiseLoop) -> None:
    """Unwinds what the dead process was doing, where it reaches nobody."""
    for task in asyncio.all_tasks(loop):
        setattr(task, "_log_destroy_pending", False)  # noqa: B010  the attribute is no part of the declared type
        made: Any = task.get_coro()
        for _ in range(20):
            try:
                made.close()
            except (RuntimeError, ValueError):  # It awaits while it is unwound: it is told again.
                continue
            break
