"""One batch of a run on its way to the disk, offered again until the journal takes it.

When the journal cannot take a batch, for instance because the disk is full, the run is parked: the same batch
is offered again after a while, nothing is called meanwhile, and what happens to the run waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sagacity_engine.batch import JournalConflict, JournalFenced, new_batch
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import Event
from sagacity_engine.machine.machine import Launch
from sagacity_engine.machine.run_state import RunState

if TYPE_CHECKING:
    from sagacity_engine.hosting.driver import RunDriver

_LOG = logging.getLogger("sagacity_engine")

PARKED_S = (0.1, 5.0)
"""The first and the longest wait before a batch that the journal refused is offered again, in seconds."""

Told = list[tuple[RunState, Event]] | None
"""What listeners are to be told, each event with the state after it; None when nobody listens."""

Asked = tuple[Event, asyncio.Future[str]]
"""What somebody wants to happen to the run, and who waits for the answer."""


class Offer:
    """The events that follow a run's last durable one, and what is to be done once they are durable too."""

    __slots__ = ("_driver", "_wait_s", "accepted", "events", "launches", "parked", "told")

    def __init__(
        self,
        driver: RunDriver,
        events: Iterable[Event],
        launches: Sequence[Launch],
        told: Told,
        accepted: Sequence[Asked] = (),
    ) -> None:
        self.events = tuple(events)
        self.launches = launches  # The calls that these events allow.
        self.told = told
        self.accepted = accepted  # What was asked for, and is among the events.
        self.parked = False  # Refused for now, and not on its way.
        self._driver = driver
        self._wait_s = PARKED_S[0]

    def submit(self) -> None:
        """Hands the batch to the journal, unless the run has stopped; its driver is told what becomes of it.

        Raises `TypeError` or `ValueError` for events that no journal can keep.
        """
        driver = self._driver
        if not driver.stopped:
            driver.services.journal.submit(
                new_batch(driver.run_id, driver.seq + 1, self.events), self._settled
            )

    def cancel(self) -> None:
        """The events will not be written from here: whoever asked for some of them waits no longer."""
        for _, answer in self.accepted:
            answer.cancel()

    def _settled(self, problem: JournalRefused | None) -> None:
        driver = self._driver
        if problem is None:
            if driver.services.parked:
                driver.services.parked.pop(driver.run_id, None)
            driver.durable(self)
        elif isinstance(problem, JournalConflict | JournalFenced) or driver.stopped:
            driver.refused(self, problem)
        else:
            self._park(problem)

    def _park(self, problem: JournalRefused) -> None:
        run_id, services = self._driver.run_id, self._driver.services
        if not services.parked:
            _LOG.error("run %s waits for its journal: %s", run_id, problem)
        services.parked[run_id] = str(problem)
        self.parked = True
        services.loop.call_later(self._wait_s, self._again)
        self._wait_s = min(PARKED_S[1], 2 * self._wait_s)

    def _again(self) -> None:
        self.parked = False
        try:
            self.submit()
        except (TypeError, ValueError) as problem:
            self._driver.refused(self, problem)
