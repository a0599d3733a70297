"""What must hold between a run's events and what its participants really did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from sagacity_engine.events import Direction, Status
from sagacity_engine.testing.checker.settled_story import FORWARD, UNDO
from sagacity_engine.testing.checker.story import Story
from sagacity_engine.testing.effects import Effect


def ledger_breaches(story: Story, ledger: Sequence[Effect]) -> Iterator[str]:
    """Breaches that only the participants can tell."""
    for effect in ledger:
        if (effect.step, effect.direction, effect.attempt) not in story.rounds:
            yield (
                f"I7 step {effect.step!r} took effect ({effect.direction.value}, attempt {effect.attempt}) "
                "without an intent"
            )
    yield from _count_breaches(story, ledger)
    yield from _key_breaches(story, ledger)
    if story.ended is not None:
        yield from _standing_breaches(story, ledger, story.ended.status)


def _count_breaches(story: Story, ledger: Sequence[Effect]) -> Iterator[str]:
    for (step, direction), count in Counter((each.step, each.direction) for each in ledger).items():
        calls = story.calls[step, direction]
        if count > calls:
            yield f"I6 step {step!r} took effect {count} times ({direction.value}) in {calls} calls"
    for key, count in Counter(each.key for each in ledger if each.honours_keys).items():
        if count > 1:
            yield f"I6 key {key} took effect {count} times"


def _key_breaches(story: Story, ledger: Sequence[Effect]) -> Iterator[str]:
    """One key for all attempts of a step in one direction, until it is begun anew; then another."""
    keys: defaultdict[tuple[str, Direction, int], set[str]] = defaultdict(set)
    for each in ledger:
        round_ = story.rounds.get((each.step, each.direction, each.attempt))
        if each.key and round_ is not None:
            keys[each.step, each.direction, round_].add(each.key)
    owners: defaultdict[str, set[tuple[str, Direction, int]]] = defaultdict(set)
    for (step, direction, round_), found in keys.items():
        if len(found) > 1:
            yield f"I6 step {step!r} ({direction.value}) was called under {len(found)} keys"
        for key in found:
            owners[key].add((step, direction, round_))
    for key, who in owners.items():
        if len(who) > 1:
            yield f"I6 key {key} stands for {len(who)} different effects"


def _standing_breaches(story: Story, ledger: Sequence[Effect], status: Status) -> Iterator[str]:
    """An ended run's books agree with what really stands at the participants."""
    standing: dict[str, bool] = {}
    acted: set[tuple[str, int]] = set()
    for each in ledger:
        standing[each.step] = each.direction is FORWARD
        if each.direction is not UNDO:
            acted.add((each.step, story.rounds.get((each.step, FORWARD, each.attempt), -1)))
    for name, step in story.steps.items():
        if not story.leaves_effect(name) or story.saga.by_name[name].sub_saga is not None:
            continue
        if step.landed and not step.skipped and not step.gone and (name, step.round) not in acted:
            yield f"I6 step {name!r} succeeded without an effect"
        if status is Status.COMPENSATED and standing.get(name) and not step.by_hand:
            yield f"I3 step {name!r} took effect and stands though the run is COMPENSATED"
