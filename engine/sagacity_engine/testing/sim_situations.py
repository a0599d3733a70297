from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine.events import Event
from sagacity_engine.saga import Saga
from sagacity_engine.testing.effects import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    saga: Saga
    events: tuple[Event, ...]
    ledger: tuple[Effect, ...]
    marks: frozenset[str]
    cuts: tuple[int, ...]
def situations_of(run): return run.marks
