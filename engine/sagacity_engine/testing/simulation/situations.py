"""The table of situations that a simulation must have met, each a small predicate over one run.

A generator is only as good as what it gets to; so the situations that matter have names and are counted. What
a run's events and ledger can tell is told by predicates, in the files of their subjects. What they cannot
tell is marked as it happens: those are `MARKS`, known by run, and `NOTES`, known by day.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagacity_engine.testing.simulation.run import Predicate, Run
from sagacity_engine.testing.simulation.situations_crashes import CRASHES
from sagacity_engine.testing.simulation.situations_doubts import DOUBTS
from sagacity_engine.testing.simulation.situations_people import PEOPLE
from sagacity_engine.testing.simulation.situations_ways import WAYS

MARKS = (
    "call of an engine that had been taken over",
    "denied action came after all and was refused",
    "hedge won",
    "late effect after undo at a participant without a barrier",
    "late effect after undo, stopped by its key",
    "late effect after undo, stopped by the barrier",
    "repeated key took no second effect",
    "start cut off by a crash",
    "start whose caller did not wait for it",
    "started twice at once",
    "undo found nothing to take back",
    "undo made though the breaker was open",
)

NOTES = (
    "answered request was asked again after a crash",
    "clock set back by a day between two engines",
    "clock set forward by a day between two engines",
    "crash after a commit that was not told",
    "crash before a commit",
    "crash while an engine was opening",
    "crash while somebody's request was on its way",
    "crash with a batch that was not durable",
    "engine was closed in good order in the middle of runs",
    "fence refused a stale writer",
    "request of a person was refused",
    "request through the journal was carried out",
    "runs were parked until the disk had room",
    "second engine was refused",
    "start refused by the journal",
    "start rejected because a resource is held",
)

PREDICATES: dict[str, Predicate] = {**CRASHES, **DOUBTS, **WAYS, **PEOPLE}

SITUATIONS = tuple(sorted((*PREDICATES, *MARKS, *NOTES)))
"""Everything that must come up."""


def situations_of(run: Run) -> Iterator[str]:
    """The situations that this run met."""
    yield from run.marks
    for name, holds in PREDICATES.items():
        if holds(run):
            yield name
