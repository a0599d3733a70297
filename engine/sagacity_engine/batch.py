"""What is handed to a journal: batches of events, requests from other processes, and how a journal refuses.

`Batch` is what one run writes at one time; it is kept whole or not at all. A `Request` is an event that some
other process wants to happen to a run; only the engine that has the journal open decides whether it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sagacity_engine import codec
from sagacity_engine.drafts import maker
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event, RunStarted

REQUESTS_MAX = 10_000
"""The most requests that may wait for an engine, and the most answers that are kept."""


class JournalConflict(JournalRefused):
    """The batch does not continue its run: it exists already, or something else has written to it."""


class JournalFenced(JournalRefused):
    """Another process has taken the journal over; the writer that says this will never write again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one run that become durable together; the first is number `seq` of the run, from 1."""

    run_id: str
    seq: int
    events: tuple[Event, ...]


new_batch = maker(Batch)
"""Makes a batch as `Batch(...)` does, faster."""

Settle = Callable[[JournalRefused | None], None]
"""Told exactly once, in the loop's thread, that a batch is durable (None) or why it is not."""


@dataclass(frozen=True, slots=True)
class Request:
    """An event that another process wants to happen to a run, as `codec` writes it."""

    run_id: str
    kind: str
    body: str

    @staticmethod
    def of(run_id: str, event: Event) -> Request:
        """Raises `TypeError` or `ValueError` for what JSON cannot say."""
        return Request(run_id, *codec.encode(event))

    def event(self) -> Event:
        """The event; raises `IllegalEvent` when it is none that this version knows."""
        return codec.decode(self.kind, self.body)


def require_whole(batch: Batch) -> None:
    """Asserts what the callers of `submit` owe: events, of which the run's first and no other starts it."""
    assert batch.seq >= 1, "events are numbered from 1"
    starting = batch.seq == 1
    assert batch.events, "a batch holds events"
    for event in batch.events:
        assert isinstance(event, RunStarted) is starting, "a run starts with RunStarted, once"
        starting = False


async def appended(submit: Callable[[Batch, Settle], None], batch: Batch) -> None:
    """Submits the batch and waits for it: every journal's `append`."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(refusal: JournalRefused | None) -> None:
        if done.done():
            return
        if refusal is None:
            done.set_result(None)
        else:
            done.set_exception(refusal)

    submit(batch, settle)
    await done
