"""What must hold between the runs of a simulated day, which the checker of one run cannot see.

I9: no two runs hold one resource at the same time. I3: what a run says it took back, it took back within its
inner runs too, unless people decided otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sagacity_engine.batch import Batch
from sagacity_engine.events import Action, Event, LocksAcquired, OperatorActed, RunEnded, RunStarted, Status


def lock_breaches(order: Iterable[Batch]) -> Iterator[str]:
    """Breaches by runs that hold what others hold, told by the order in which batches became durable."""
    keys: dict[str, tuple[str, ...]] = {}
    holders: dict[str, str] = {}
    for batch in order:
        for event in batch.events:
            match event:
                case RunStarted():
                    keys[batch.run_id] = event.locks
                case LocksAcquired():
                    for key in keys[batch.run_id]:
                        other = holders.setdefault(key, batch.run_id)
                        if other != batch.run_id:
                            yield f"run {batch.run_id}: I9 took {key!r}, which run {other} holds"
                case RunEnded() if event.status is not Status.NEEDS_ATTENTION:
                    for key in keys[batch.run_id]:
                        if holders.get(key) == batch.run_id:
                            del holders[key]
                case _:
                    pass


def nesting_breaches(runs: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Breaches by inner runs that stand though the run above them says that it was taken back."""
    for run_id, events in runs.items():
        started = events[0]
        outer = runs.get(started.parent, ()) if isinstance(started, RunStarted) else ()
        if not outer or _by_hand(outer) or _by_hand(events):
            continue
        if _ended(outer) is Status.COMPENSATED and _ended(events) is Status.COMPLETED:
            yield f"run {run_id}: I3 it stands though the run above it is COMPENSATED"


def _ended(events: Sequence[Event]) -> Status | None:
    last = events[-1]
    return last.status if isinstance(last, RunEnded) else None


def _by_hand(events: Sequence[Event]) -> bool:
    """Whether a person, not the run above, decided what became of some effect."""
    hands_on = (Action.RESOLVE, Action.SKIP, Action.REDRIVE, Action.ABANDON)
    return any(
        isinstance(event, OperatorActed) and event.action in hands_on and not event.who.startswith("run ")
        for event in events
    )
