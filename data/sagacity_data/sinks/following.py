"""The other side of `RecordingProcess`: follows a journal until its standard input ends.

The input ends when the process that started this one closes it or dies, however it dies, unless that one had
forked and its copy holds the input open; so a follower also looks whether its parent is there, and never
outlives its engine. It tells of its progress in one line of JSON per look that found something. Ctrl-C at a
terminal reaches both processes and is left to the other one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from sagacity_data.errors import DatasetRefused
from sagacity_data.sinks.catching_up import CaughtUp, JournalFollower
from sagacity_data.sinks.compaction import DatasetSink
from sagacity_data.telling import Telling
from sagacity_engine import JournalRefused, SqliteJournal

RETRY_MAX_S: Final = 30.0
COLLECT_AFTER: Final = 50_000
"""Objects between two searches for cycles: rows and events are many, and have none."""

Wait = Callable[[float], bool]
"""Waits so many seconds, or until the input has ended; whether it has."""


def follow(
    journal: Path,
    dataset: Path,
    every_s: float,
    ended: Wait,
    tell: Callable[[CaughtUp], None],
    *,
    telling: Telling | None = None,
) -> None:
    """Records every run of the journal that ends, until `ended`; waits for a journal to appear.

    While journal or dataset refuse, it tries again, later each time; what refuses to the last is raised.
    """
    opened = _opened(journal, every_s, ended)
    if opened is None:
        return
    with closing(opened), closing(DatasetSink(dataset)) as sink:
        follower = JournalFollower(opened, sink, known=sink.recorded(), telling=telling)
        pause_s = every_s
        while True:
            last = ended(pause_s)
            try:
                tell(follower.finish() if last else follower.poll())
                pause_s = every_s
            except (DatasetRefused, JournalRefused) as refusal:
                if last:
                    raise
                sys.stderr.write(f"{refusal}\n")
                sys.stderr.flush()
                pause_s = min(2 * pause_s, RETRY_MAX_S)
            if last:
                return


def _opened(path: Path, every_s: float, ended: Wait) -> SqliteJournal | None:
    """The journal, once it can be read; None if there never was one."""
    last = False
    while True:
        if path.exists():
            journal = SqliteJournal(path, read_only=True)
            try:
                journal.open()
            except JournalRefused:  # Perhaps it is just being made.
                if last:
                    raise
            else:
                return journal
        elif last:
            return None
        last = ended(every_s)


def main(journal: str, dataset: str, settings: str) -> None:
    """Follows until the standard input ends; totals go to the standard output, what was refused to the error.

    `settings` are JSON: `every_s`, `nice`, `parent`, the process that this one belongs to, and `telling`,
    `module:name` of one or "".
    """
    told = json.loads(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(int(told["nice"]))
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    over = threading.Event()
    threading.Thread(target=_await_end, args=(over,), daemon=True).start()

    def ended(seconds: float) -> bool:
        return over.wait(seconds) or os.getppid() != told["parent"]

    totals = {"runs": 0, "rows": 0, "refused": 0}

    def tell(done: CaughtUp) -> None:
        totals["runs"] += done.ended
        totals["rows"] += done.rows
        totals["refused"] += len(done.refused)
        for run_id, reason in done.refused:
            sys.stderr.write(f"run {run_id} cannot be recorded: {reason}\n")
        sys.stderr.flush()
        if done.ended or done.refused:
            sys.stdout.write(f"{json.dumps(totals)}\n")
            sys.stdout.flush()

    try:
        telling = _named(told["telling"]) if told["telling"] else None
        follow(Path(journal), Path(dataset), float(told["every_s"]), ended, tell, telling=telling)
    except (DatasetRefused, JournalRefused) as refusal:
        sys.exit(str(refusal))


def _named(name: str) -> Telling:
    """The embedder's own, by `module:name`; whatever is wrong with it, nothing is recorded without it."""
    module, _, attribute = name.partition(":")
    try:
        telling = getattr(importlib.import_module(module), attribute)
    except Exception as problem:  # noqa: BLE001  the module is foreign code
        raise DatasetRefused(
            f"the telling {name} cannot be had: {type(problem).__name__}: {problem}"
        ) from None
    if not isinstance(telling, Telling):
        raise DatasetRefused(f"{name} is a {type(telling).__name__}, not a Telling")
    return telling


def _await_end(over: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    over.set()


if __name__ == "__main__":
    main(*sys.argv[1:])
