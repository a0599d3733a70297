"""A journal whose disk can be slow, full, lost with its process, or taken over by another engine.

A `Disk` is what survives; a `SimJournal` is one engine's hold on it. Batches wait for the commit that is
under way and become durable together, and are told a little later still: a process may die, or be fenced, in
between. What a dead process had queued is gone; what it had committed is there, whether it was told or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from enum import Enum
from random import Random

from sagacity_engine import codec
from sagacity_engine.batch import Batch, JournalFenced, Request, Settle, appended, require_whole
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import AttemptStarted, Direction, Event, Status
from sagacity_engine.memory_journal import MemoryJournal
from sagacity_engine.run_lines import RunSummary
from sagacity_engine.saga import Saga
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop

COMMIT_S_MAX = 0.02
"""The longest commit, and the longest time until it is told, in virtual seconds."""


class Fate(Enum):
    """What becomes of one commit."""

    KEPT = "kept"  # It is durable, and told.
    LOST = "lost"  # The process dies before it is durable.
    UNTOLD = "untold"  # The process dies when it is durable and nobody knows yet.


class Disk:
    """What survives of a journal. `kept` may be read at any time; only the latest owner writes.

    While `full`, commits are refused. While the owner `hangs`, another engine may take over. `fate` decides
    over each commit, and `die` is told which journal's process died in it.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        fate: Callable[[list[Batch]], Fate],
        die: Callable[[SimJournal], None],
    ) -> None:
        self.kept = MemoryJournal()
        self.kept.open()
        self.full = False
        self.hangs = False
        self.epoch = 0
        self.owner: SimJournal | None = None
        self.lengths: dict[str, int] = {}  # How many events of a run are durable.
        self.order: list[Batch] = []  # What became durable, in its order.
        self.intents: dict[tuple[str, str, Direction], int] = {}  # The latest attempt that is written down.
        self.refused = 0  # Batches that found it full.
        self.fenced = 0  # Batches of engines that had been taken over.
        self.carried_out = 0  # Requests answered in favour.
        self.forgotten = 0  # Answers that a crash lost.
        self.loop = loop
        self.context = copy_context()
        self.fate = fate
        self.die = die
        self._rng = rng

    def delay_s(self) -> float:
        """How long the disk takes for the next thing."""
        return self._rng.random() * COMMIT_S_MAX

    def keep(self, batch: Batch, settle: Settle) -> None:
        """Makes a batch durable, unless it does not follow what is."""
        if batch.seq == self.lengths.get(batch.run_id, 0) + 1:
            self.lengths[batch.run_id] = batch.seq + len(batch.events) - 1
            self.order.append(batch)
            for event in batch.events:
                if isinstance(event, AttemptStarted):
                    self.intents[batch.run_id, event.step, event.direction] = event.attempt
        self.kept.submit(batch, settle)

    def refusal(self, journal: SimJournal) -> JournalRefused | None:
        """Why nothing that this engine hands in is written now."""
        if journal.epoch != self.epoch:
            return JournalFenced("the simulated journal was taken over by another engine; stop this one")
        if self.full:
            return JournalRefused("the simulated disk is full; make room")
        return None


class SimJournal:
    """One engine's hold on a disk, from `open` until it closes, dies, or is taken over."""

    def __init__(self, disk: Disk) -> None:
        self.opened = False
        self.dead = False
        self.epoch = 0
        self._disk = disk
        self._queue: list[tuple[Batch, Settle]] = []
        self._answers: dict[int, str] = {}
        self._writing = False
        self._told_at = 0.0
        self._context = Context()

    @property
    def unwritten(self) -> bool:
        """Whether something waits to become durable."""
        return bool(self._queue)

    def open(self) -> None:
        """Raises `JournalRefused` while another engine has the disk and answers."""
        disk = self._disk
        if disk.owner is not None and not disk.hangs:
            raise JournalRefused("the simulated journal is in use by another engine; stop that one")
        disk.epoch += 1
        disk.owner, disk.hangs = self, False
        self.epoch = disk.epoch
        self.opened = True
        self._context = copy_context()

    def close(self) -> None:
        """Writes what is queued."""
        if not self.dead:
            self._write(Fate.KEPT)
        self.let_go()

    def let_go(self) -> None:
        """Others may open the disk."""
        self.opened = False
        if self._disk.owner is self:
            self._disk.owner = None

    def die(self) -> None:
        """What is queued will never be written; the operating system lets go of the disk."""
        self._disk.forgotten += len(self._answers)
        self.dead = True
        self.let_go()

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Written with whatever else has come until then."""
        require_whole(batch)
        for event in batch.events:
            codec.encode(event)  # What cannot be kept is refused at once.
        self._queue.append((batch, settle))
        self._begin()

    async def append(self, batch: Batch) -> None:
        """Returns when the batch is kept."""
        await appended(self.submit, batch)

    def define(self, saga: Saga) -> None:
        """Kept by its hash."""
        self._disk.kept.define(saga)

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition."""
        return self._disk.kept.definition(definition_hash)

    def read(self, run_id: str) -> tuple[Event, ...]:
        """What is durable."""
        return self._disk.kept.read(run_id)

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        return self._disk.kept.run(run_id)

    def runs(
        self,
        status: Status | None = None,
        limit: int = 100,
        *,
        saga: str | None = None,
        before: str | None = None,
    ) -> tuple[RunSummary, ...]:
        """The newest first."""
        return self._disk.kept.runs(status, limit, saga=saga, before=before)

    def open_runs(self, limit: int | None = None, *, after: str | None = None) -> tuple[RunSummary, ...]:
        """The oldest first."""
        return self._disk.kept.open_runs(limit, after=after)

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        return self._disk.kept.counts()

    def ask(self, request: Request) -> int:
        """Any process may."""
        return self._disk.kept.ask(request)

    def requests(self) -> tuple[tuple[int, Request], ...]:
        """Those without an answer, durable or not."""
        waiting = self._disk.kept.requests()
        return tuple(each for each in waiting if each[0] not in self._answers) if waiting else ()

    def answer(self, number: int, refusal: str = "") -> None:
        """Durable with the next commit."""
        self._answers[number] = refusal
        self._begin()

    def answer_of(self, number: int) -> str | None:
        """None while the request waits."""
        return self._disk.kept.answer_of(number)

    def _begin(self) -> None:
        if not self._writing and not self.dead:
            self._writing = True
            disk = self._disk
            disk.loop.call_later(disk.delay_s(), self._commit, context=disk.context)

    def _commit(self) -> None:
        self._writing = False
        if self.dead:
            return
        fate = self._disk.fate([batch for batch, _ in self._queue])
        if fate is Fate.LOST:
            self._disk.die(self)
            return
        self._write(fate)
        if fate is Fate.UNTOLD:
            self._disk.die(self)

    def _write(self, fate: Fate) -> None:
        disk, (queue, self._queue) = self._disk, (self._queue, [])
        refusal = disk.refusal(self)
        self._told_at = max(self._told_at, disk.loop.time() + disk.delay_s())
        for batch, settle in queue:
            outcome: list[JournalRefused | None] = []
            if refusal is None:
                disk.keep(batch, outcome.append)
            else:
                outcome.append(refusal)
                disk.fenced += isinstance(refusal, JournalFenced)
                disk.refused += not isinstance(refusal, JournalFenced)
            if fate is Fate.KEPT:
                disk.loop.call_at(self._told_at, _tell, settle, outcome, context=self._context)
        if refusal is None:
            answers, self._answers = self._answers, {}
            for number, words in answers.items():
                disk.kept.answer(number, words)
                disk.carried_out += not words
        elif self._answers and not isinstance(refusal, JournalFenced):
            self._begin()


def _tell(settle: Settle, outcome: list[JournalRefused | None]) -> None:
    settle(outcome[0])
