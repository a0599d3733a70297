"""Telling the dataset what the journal knows and it does not: after a crash, or instead of a listener.

The journal is the truth; rows are derived from it, so none is ever lost for good. `catch_up` is for the
start, before the engine opens: it writes the rows of every ended run that the dataset lacks, and shows the
recorder the runs that are still open, so that their attempts are told whole when they go on.

A `JournalFollower` does the same again and again beside a running engine, from a process of its own: the
engine then has nothing to do with recording at all. Rows told from the journal lack what only the moment
itself knew (see `Recorder.recall`): the service's load from other runs, the breaker's state, the features.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Final

from sagacity_data.recorder import Recorder
from sagacity_data.rows import Row
from sagacity_data.sinks.listener import DefinitionKeeper
from sagacity_data.sinks.port import RowSink
from sagacity_data.telling import Telling
from sagacity_engine import EngineError, Saga
from sagacity_engine.journal import Journal, RunSummary

PAGE: Final = 500
"""Runs that are listed at a time."""

ROWS_AT_ONCE: Final = 5_000
"""Rows that are written at a time, at least."""

REFUSED_MAX: Final = 100
"""Runs that could not be read and are named."""

CHECKS_MAX: Final = 2_000
"""Open runs that a follower looks at in one poll, in turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """What was told from the journal. `refused` names runs that cannot be read, each with the reason."""

    ended: int = 0
    open: int = 0
    rows: int = 0
    refused: tuple[tuple[str, str], ...] = ()


def catch_up(
    journal: Journal,
    sink: RowSink,
    recorder: Recorder,
    known: Container[str],
    *,
    since: float | None = None,
) -> CaughtUp:
    """Writes the rows of the journal's ended runs that are not `known`, and recalls its open runs.

    `known` are the runs whose own row the dataset has; runs that began before `since` (s since 1970) are not
    looked at. Give the recorder of the listener, before the engine opens. Raises `DatasetRefused` when the
    sink does not take the rows and `JournalRefused` when the journal cannot be listed; calling it again then
    is safe.
    """
    telling = _Telling(journal, sink, recorder)
    before: str | None = None
    while lines := journal.runs(None, PAGE, before=before):
        for line in lines:
            if since is not None and line.started_at < since:
                continue
            if not line.status.ended or line.run_id not in known:
                telling.tell(line)
        before = lines[-1].run_id
    telling.write()
    return telling.caught_up()


class _Telling:
    """Runs told from a journal into a sink, many rows at a time."""

    def __init__(self, journal: Journal, sink: RowSink, recorder: Recorder) -> None:
        self._journal = journal
        self._sink = sink
        self._recorder = recorder
        self._sagas: dict[str, Saga] = {}
        self._rows: list[Row] = []
        self._ended = self._open = self._told = 0
        self._refused: list[tuple[str, str]] = []

    def tell(self, line: RunSummary) -> None:
        """Takes in what the journal knows of the run; one that cannot be read is named and passed over."""
        try:
            self._rows += self._recorder.recall(
                self._saga(line.definition_hash), self._journal.read(line.run_id)
            )
        except EngineError as problem:
            if len(self._refused) < REFUSED_MAX:
                self._refused.append((line.run_id, str(problem)))
            return
        self._ended += line.status.ended
        self._open += not line.status.ended
        if len(self._rows) >= ROWS_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Writes what was taken in."""
        if self._rows:
            self._sink.write(self._rows)
            self._told += len(self._rows)
            self._rows = []

    def caught_up(self) -> CaughtUp:
        """What was told so far."""
        return CaughtUp(ended=self._ended, open=self._open, rows=self._told, refused=tuple(self._refused))

    def _saga(self, definition_hash: str) -> Saga:
        saga = self._sagas.get(definition_hash)
        if saga is None:
            saga = self._journal.definition(definition_hash)
            if saga is None:
                raise EngineError(f"the journal lacks the definition {definition_hash[:12]}")
            if isinstance(self._sink, DefinitionKeeper):
                self._sink.keep_definitions([saga])
            self._sagas[definition_hash] = saga
        return saga


class JournalFollower:
    """Tells a dataset of the runs in a journal that another process is writing, each when it has ended.

    Open the journal with `read_only` first. `known` are the runs whose own row the dataset has. A follower is
    used by one thread at a time.
    """

    def __init__(
        self, journal: Journal, sink: RowSink, known: Container[str], telling: Telling | None = None
    ) -> None:
        self._journal = journal
        self._sink = sink
        self._known = known
        self._telling = telling
        self._latest: deque[str] = deque(maxlen=PAGE)
        self._open: OrderedDict[str, None] = OrderedDict()

    def poll(self) -> CaughtUp:
        """Writes the rows of the runs that have ended since the last poll, and of all lacking ones the first
        time. Raises as `catch_up` does; the next poll then tells those runs again."""
        telling = _Telling(self._journal, self._sink, Recorder(telling=self._telling))
        newest, still_open = list[str](), list[str]()
        for line in self._unseen():
            if len(newest) < PAGE:
                newest.append(line.run_id)
            if not line.status.ended:
                still_open.append(line.run_id)
            elif line.run_id not in self._known:
                telling.tell(line)
        done = [line.run_id for line in self._ended_meanwhile(telling.tell)]
        telling.write()
        for run_id in done:
            self._open.pop(run_id, None)
        self._open.update(dict.fromkeys(reversed(still_open)))
        self._latest.extend(reversed(newest))
        return telling.caught_up()

    def finish(self) -> CaughtUp:
        """Polls until each run that was open has been looked at: what had ended before is told then."""
        left = len(self._open)
        done = self.poll()
        for _ in range(CHECKS_MAX, left, CHECKS_MAX):
            more = self.poll()
            done = CaughtUp(
                ended=done.ended + more.ended,
                open=more.open,
                rows=done.rows + more.rows,
                refused=(*done.refused, *more.refused)[:REFUSED_MAX],
            )
        return done

    def follow(self, ended: Callable[[float], bool], pause_s: float = 1.0) -> None:
        """Polls until `ended(pause_s)`, which waits that long and says whether to stop; then it finishes."""
        while not ended(pause_s):
            self.poll()
        self.finish()

    def _unseen(self) -> Iterator[RunSummary]:
        """The runs that began since the last poll, newest first."""
        seen, before = set(self._latest), None
        while lines := self._journal.runs(None, PAGE, before=before):
            for line in lines:
                if line.run_id in seen:
                    return
                yield line
            before = lines[-1].run_id

    def _ended_meanwhile(self, tell: Callable[[RunSummary], None]) -> Iterator[RunSummary]:
        """Those of the open runs that have ended; what is not looked at now is next time."""
        for run_id in list(self._open)[:CHECKS_MAX]:
            line = self._journal.run(run_id)
            if line is None:  # Archived since: its own journal has it.
                del self._open[run_id]
            elif line.status.ended:
                tell(line)
                yield line
            else:
                self._open.move_to_end(run_id)
