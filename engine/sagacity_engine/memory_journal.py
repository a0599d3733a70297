"""A journal in memory, for tests and trials: durable as long as the object lives.

It encodes every batch and decodes it on reading, as a stored journal must, and settles as late as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice

from sagacity_engine import codec
from sagacity_engine.batch import (
    REQUESTS_MAX,
    Batch,
    JournalConflict,
    Request,
    Settle,
    appended,
    require_whole,
)
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, Status
from sagacity_engine.run_lines import RunSummary, line_after
from sagacity_engine.saga import Saga


class MemoryJournal:
    """Keeps what it is given in dictionaries; one thread at a time may write."""

    def __init__(self) -> None:
        self.opened = False
        self._definitions: dict[str, Saga] = {}
        self._records: dict[str, list[tuple[str, str]]] = {}
        self._runs: dict[str, RunSummary] = {}  # In the order in which they began.
        self._requests: dict[int, Request] = {}  # Those without an answer.
        self._answers: dict[int, str] = {}
        self._asked = 0

    def open(self) -> None:
        """Raises `JournalRefused` when an engine has it open."""
        if self.opened:
            raise JournalRefused("the journal in memory is in use by another engine; give each its own")
        self.opened = True

    def close(self) -> None:
        """What was written stays."""
        self.opened = False

    def submit(self, batch: Batch, settle: Settle) -> None:
        """Durable at once, as far as memory is; settled when the loop comes round."""
        require_whole(batch)
        records = [codec.encode(event) for event in batch.events]  # All or none: what cannot be kept fails.
        refusal = self._refusal(batch)
        if refusal is None:
            self._records.setdefault(batch.run_id, []).extend(records)
            line = line_after(self._runs.get(batch.run_id), batch.events)
            assert line is not None, "a run's first event starts it"
            self._runs[batch.run_id] = line
        asyncio.get_running_loop().call_soon(settle, refusal)

    async def append(self, batch: Batch) -> None:
        """Returns when the batch is kept."""
        await appended(self.submit, batch)

    def _refusal(self, batch: Batch) -> JournalRefused | None:
        if not self.opened:
            return JournalRefused("the journal in memory is not open; open it first")
        last = len(self._records.get(batch.run_id, ()))
        if batch.seq == last + 1:
            return None
        return JournalConflict(
            f"run {batch.run_id!r}: event {batch.seq} does not follow {last}; another writer has been here"
        )

    def define(self, saga: Saga) -> None:
        """Kept by its hash."""
        self._definitions[saga.definition_hash] = saga

    def definition(self, definition_hash: str) -> Saga | None:
        """The kept definition."""
        return self._definitions.get(definition_hash)

    def read(self, run_id: str) -> tuple[Event, ...]:
        """The run's events, decoded."""
        return tuple(codec.decode(kind, body) for kind, body in self._records.get(run_id, ()))

    def run(self, run_id: str) -> RunSummary | None:
        """One run's line."""
        return self._runs.get(run_id)

    def runs(
        self,
        status: Status | None = None,
        limit: int = 100,
        *,
        saga: str | None = None,
        before: str | None = None,
    ) -> tuple[RunSummary, ...]:
        """The newest first."""
        lines = list(self._runs.values())
        if before is not None:
            lines = lines[: self._place(before)]
        return tuple(
            islice(
                (
                    line
                    for line in reversed(lines)
                    if status in (None, line.status) and saga in (None, line.saga)
                ),
                limit,
            )
        )

    def open_runs(self, limit: int | None = None, *, after: str | None = None) -> tuple[RunSummary, ...]:
        """The oldest first."""
        lines = list(self._runs.values())
        if after is not None:
            lines = lines[self._place(after) + 1 :]
        return tuple(islice((line for line in lines if not line.status.ended), limit))

    def counts(self) -> Mapping[Status, int]:
        """Runs by status."""
        held = [line.status for line in self._runs.values()]
        return {status: held.count(status) for status in Status if status in held}

    def ask(self, request: Request) -> int:
        """Refused when `REQUESTS_MAX` are waiting."""
        if len(self._requests) >= REQUESTS_MAX:
            raise JournalRefused(f"{REQUESTS_MAX} requests are waiting; run an engine that answers them")
        self._asked += 1
        self._requests[self._asked] = request
        return self._asked

    def requests(self) -> tuple[tuple[int, Request], ...]:
        """Those without an answer, oldest first."""
        return tuple(self._requests.items())

    def answer(self, number: int, refusal: str = "") -> None:
        """Kept at once."""
        if self._requests.pop(number, None) is not None:
            self._answers[number] = refusal
            self._answers.pop(number - REQUESTS_MAX, None)

    def answer_of(self, number: int) -> str | None:
        """None while the request waits; refused when there is none of this number."""
        if number in self._requests:
            return None
        if number not in self._answers:
            raise JournalRefused(f"the journal in memory has no request {number}; put it in again")
        return self._answers[number]

    def _place(self, run_id: str) -> int:
        for place, known in enumerate(self._runs):
            if known == run_id:
                return place
        raise JournalRefused(f"the journal in memory has no run {run_id!r} to go on from; begin again")
