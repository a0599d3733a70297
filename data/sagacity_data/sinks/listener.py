"""The dataset recorded while the engine runs: a listener that folds events into rows, written in batches.

Folding is done where the engine tells its listeners, in their thread. Writing is done in a thread of our own,
every `flush_s`, so that a slow disk holds up no other listener and no run. While the sink fails, rows wait
and are tried again, later each time; what finds no more room is dropped and counted.

A run's own row says that the run is all there: it is written after its attempts, and not at all when one of
them was dropped or missed. `catch_up` tells the whole run again from the journal then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, runtime_checkable

from sagacity_data.errors import DatasetRefused
from sagacity_data.recorder import Recorder
from sagacity_data.rows import Row, RunRow
from sagacity_data.sinks.port import RowRefused, RowSink
from sagacity_engine import Saga
from sagacity_engine.events import Event, RunStarted
from sagacity_engine.machine.run_state import RunState

_LOG = logging.getLogger("sagacity_data")

SPOILT_MAX: Final = 100_000
"""Runs remembered as having lost a row; beyond them the oldest is forgotten."""

DEFINITIONS_MAX: Final = 1_000
"""Definitions remembered as kept; beyond them all are handed to the sink once more."""


@runtime_checkable
class DefinitionKeeper(Protocol):
    """A sink that also keeps the definitions that runs are pinned to."""

    def keep_definitions(self, sagas: Iterable[Saga]) -> None:
        """Keeps them; raises `DatasetRefused` when they cannot be kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPolicy:
    """How rows are written: every `flush_s`, at most `rows_at_once` at a time, at most `pending_max` waiting.

    After a refusal the sink is left alone for `retry_s[0]`, then for twice as long each time up to
    `retry_s[1]`.
    """

    flush_s: float = 0.5
    rows_at_once: int = 5_000
    pending_max: int = 100_000
    retry_s: tuple[float, float] = (0.2, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingCounts:
    """What became of the rows so far. `last_error` is "" while the sink takes them."""

    written: int
    pending: int
    dropped: int
    runs_spoilt: int  # Ended runs whose own row was held back because an attempt's was dropped or missed.
    refusals: int  # Of the sink.
    last_error: str


class RecordingListener:
    """Give it to an engine among its `listeners`; `close` it after the engine. It raises nothing into either.

    The sink is used by a thread of the listener's until it is closed, and is closed with it.
    """

    def __init__(
        self, sink: RowSink, recorder: Recorder | None = None, policy: RecordingPolicy | None = None
    ) -> None:
        self._sink = sink
        self._recorder = recorder or Recorder()
        self._policy = policy or RecordingPolicy()
        self._waiting: deque[Row] = deque()  # Filled by the listeners' thread, emptied by ours.
        self._batch: list[Row] = []  # Taken out of it, and not written yet.
        self._spoilt: dict[str, None] = {}
        self._definitions: dict[str, Saga] = {}
        self._defined: set[str] = set()
        self._accepted = self._settled = 0  # Rows: counted by the listeners' thread, and by ours.
        self._written = self._dropped = self._runs_spoilt = self._refusals = 0
        self._last_error = ""
        self._wake = threading.Event()
        self._progress = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def __call__(self, state: RunState, event: Event) -> None:
        """Folds one event; the row it completes waits for the next flush."""
        rows = self._recorder.observe(state, event)
        if rows:
            self._put(rows[0])
        elif isinstance(event, RunStarted) and event.definition_hash not in self._defined:
            if len(self._defined) >= DEFINITIONS_MAX:
                self._defined.clear()
            self._defined.add(event.definition_hash)
            self._definitions[event.definition_hash] = state.saga

    def counts(self) -> RecordingCounts:
        """What became of the rows; may be asked at any time, by any thread."""
        return RecordingCounts(
            written=self._written,
            pending=max(0, self._accepted - self._settled),
            dropped=self._dropped,
            runs_spoilt=self._runs_spoilt,
            refusals=self._refusals,
            last_error=self._last_error,
        )

    def flush(self, within_s: float = 10.0) -> bool:
        """Waits until what was told so far is written or given up; False when that takes longer."""
        upto = self._accepted
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._settled >= upto, within_s)

    def close(self, within_s: float = 10.0) -> None:
        """Writes what waits, drops and counts what cannot be written in that time, and closes the sink.

        A second call does nothing; what is told after the first is dropped and counted.
        """
        if self._closing:
            return
        ends_at = time.monotonic() + within_s
        self.flush(within_s)
        self._closing = True
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(max(0.1, ends_at - time.monotonic()))
        self._dropped += self._accepted - self._settled
        self._accepted = self._settled
        if thread is None or not thread.is_alive():  # A sink that hangs is left behind with its thread.
            self._tried(self._sink.close)

    def _put(self, row: Row) -> None:
        if isinstance(row, RunRow) and not self._recorder.whole:
            self._runs_spoilt += 1
            return
        pending = self._accepted - self._settled
        if pending >= self._policy.pending_max or self._closing:
            self._drop(row)
            return
        self._accepted += 1
        self._waiting.append(row)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sagacity-recording", daemon=True)
            self._thread.start()
        if pending == self._policy.pending_max // 2:
            self._wake.set()

    def _drop(self, row: Row) -> None:
        if not self._dropped:
            _LOG.warning("rows are dropped: %s", self._last_error or "the sink is too slow, or closed")
        self._dropped += 1
        if len(self._spoilt) >= SPOILT_MAX:
            self._spoilt.pop(next(iter(self._spoilt)), None)
        self._spoilt[row.run_id] = None

    def _run(self) -> None:
        wait_s, (first_s, longest_s) = self._policy.flush_s, self._policy.retry_s
        failing_s = 0.0
        while not self._closing:
            self._wake.wait(failing_s or wait_s)
            self._wake.clear()
            refused = not self._write_all()
            failing_s = min(2 * failing_s or first_s, longest_s) if refused else 0.0

    def _write_all(self) -> bool:
        """Writes what waits; False when the sink refuses."""
        if not self._keep_definitions():
            return False
        while batch := self._take():
            if not self._tried(partial(self._write, batch)):
                return False
        return True

    def _write(self, batch: list[Row]) -> None:
        try:
            self._sink.write(batch)
        except RowRefused as refusal:  # It would stand in the way of all others for ever.
            if not any(row is refusal.row for row in batch):
                raise
            self._drop(refusal.row)
            self._batch = []
            self._waiting.extendleft(reversed([row for row in batch if row is not refusal.row]))
            self._settle(1)
        else:
            self._written += len(batch)
            self._batch = []
            self._settle(len(batch))

    def _tried(self, act: Callable[[], None]) -> bool:
        """Whether it was done; if not, the counts say why."""
        try:
            act()
        except Exception as problem:  # noqa: BLE001  whatever a sink raises, rows are kept and tried again
            self._refusals += 1
            told = (
                str(problem)
                if isinstance(problem, DatasetRefused)
                else f"{type(problem).__name__}: {problem}"
            )
            if not self._last_error:
                _LOG.warning("rows wait to be recorded: %s", told)
            self._last_error = told
            return False
        self._last_error = ""
        return True

    def _take(self) -> list[Row]:
        """The next rows to write: those that were refused, and what waits besides."""
        batch, waiting = self._batch, self._waiting
        while waiting and len(batch) < self._policy.rows_at_once:
            row = waiting.popleft()
            if isinstance(row, RunRow) and row.run_id in self._spoilt:
                self._spoilt.pop(row.run_id, None)
                self._runs_spoilt += 1
                self._settle(1)
            else:
                batch.append(row)
        return batch

    def _settle(self, rows: int) -> None:
        """So many rows are written, or given up."""
        with self._progress:
            self._settled += rows
            self._progress.notify_all()

    def _keep_definitions(self) -> bool:
        known = self._definitions
        if not known:
            return True
        if not isinstance(self._sink, DefinitionKeeper):
            known.clear()
            return True
        keeper, sagas = self._sink, dict(known)
        if not self._tried(lambda: keeper.keep_definitions(sagas.values())):
            return False
        for kept in sagas:
            known.pop(kept, None)
        return True
