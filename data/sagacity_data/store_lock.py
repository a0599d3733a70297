"""Who may change a dataset: one writer at a time, and a lock that dies with its process.

The system gives a lock back when its holder ends, however it ends, so nobody has to guess from a process id
whether a writer still lives, nor whether two containers mean the same process by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from sagacity_data.errors import DatasetRefused
from sagacity_engine import EngineError
from sagacity_engine.sqlite.lease import lock

WAIT_S: Final = 60.0
"""How long a writer waits for another one; publishing takes milliseconds, only a rewrite takes longer."""

_ASK_AGAIN_S: Final = 0.01


@contextmanager
def writing(folder: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Nobody else changes the dataset meanwhile. Raises `DatasetRefused` after `wait_s` seconds in vain."""
    until = time.monotonic() + wait_s
    while (held := taken(folder / "parts")) is None:
        if time.monotonic() >= until:
            raise DatasetRefused(f"{folder} is being written by another process; try again when it has ended")
        time.sleep(_ASK_AGAIN_S)
    try:
        yield
    finally:
        held.close()


def taken(path: Path) -> IO[str] | None:
    """The lock of that name (a file `NAME-lock`), until it is closed; None while somebody else has it."""
    try:
        return lock(path)
    except EngineError:
        raise DatasetRefused(
            f"cannot write to {path.parent}: it must be a folder in which files can be made; "
            "free the disk or choose another folder"
        ) from None
