"""The items of Maps as runs inside the execution's, and what is an undo of what on each level.

Whether a state undoes another is told over the whole execution, for a Catch behind a Map may take back what
its items did. In rows an undo is of a step of its own run. So where the two are on different levels, the
levels at which their paths part are: a state behind `BookAll` that takes back what the items of it booked is
the undo of the step `BookAll`; and if it is in a Map itself, all of whose calls take back the same, then that
Map is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sagacity_data.importers import storable
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.run_status import status_of
from sagacity_data.importers.step_functions_calls import Call
from sagacity_data.importers.step_functions_entries import Item
from sagacity_engine import Direction

Placed = tuple[Call, Item | None]
"""A call, and the item that it was made in."""

Levels = Mapping[Item | None, Sequence[ForeignAttempt]]
"""The attempts of the execution's own run, under None, and of each item's."""

REASON_MAX: Final = 500


def flat(calls: Iterable[Placed]) -> tuple[ForeignAttempt, ...]:
    """What was called, all levels together: by this the effects that stand are known."""
    return _numbered(call.attempt() for call, _ in calls if not call.is_map)


def by_level(calls: Sequence[Placed], homes: Mapping[str, tuple[str, ...]]) -> Levels:
    """The attempts where they belong, in the order of the calls, numbered.

    `homes` names the Maps around each step that was done, the outermost first.
    """
    told = {id(call): (call.step, call.direction) for call, _ in calls}
    inside, votes = Counter[int](), defaultdict[int, Counter[str]](Counter)
    maps = [call for call, _ in calls if call.is_map]
    for call, item in calls:
        if call.is_map:
            continue
        chain = () if item is None else item.chain
        inside.update(id(each.call) for each in chain)
        if call.direction is Direction.UNDO:
            home = homes.get(call.step, ())
            level = _shared(chain, home)
            target = home[level] if level < len(home) else call.step
            if level < len(chain):
                told[id(call)] = (call.state, Direction.FORWARD)
                votes[id(chain[level].call)][target] += 1
            else:
                told[id(call)] = (target, Direction.UNDO)
    for call in maps:
        for target, times in votes[id(call)].items():
            if times == inside[id(call)]:
                told[id(call)] = (target, Direction.UNDO)
    levels: dict[Item | None, list[ForeignAttempt]] = {None: []}
    for call, item in calls:
        if call.is_map and not inside[id(call)]:
            continue  # Structure: nothing was called in it.
        step, direction = told[id(call)]
        levels.setdefault(item, []).append(replace(call.attempt(), step=step, direction=direction))
    return {item: _numbered(attempts) for item, attempts in levels.items()}


def item_runs(
    run: ForeignRun, items: Sequence[Item], levels: Levels, calls: Sequence[Placed]
) -> Iterator[ForeignRun]:
    """The items of an execution's Maps that did anything, each a run whose parent is the run it is in."""
    names: dict[Item | None, str] = {None: run.run_id}
    given = Counter[str]()
    within = _within(calls)
    for item in items:
        outer = item.outer[-1] if item.outer else None
        name = storable.name(f"{names[outer]}/{item.of.state}[{item.index}]")
        given[name] += 1
        names[item] = storable.name(f"{name}#{given[name]}" if given[name] > 1 else name)
        if item not in levels:
            continue
        yield replace(
            run,
            run_id=names[item],
            saga=".".join((run.saga, *(each.of.state for each in item.chain))),
            status=status_of(item.end, within[item]),
            attempts=tuple(levels[item]),
            launch_at=item.began_at,
            ended_at=item.ended_at
            if item.began_at is None or (item.ended_at or 0) >= item.began_at
            else None,
            reason=item.reason[:REASON_MAX],
            parent=names[outer],
            input_bytes=None,
        )


def _shared(chain: Sequence[Item], home: Sequence[str]) -> int:
    """How many Maps two paths have in common."""
    level = 0
    while level < min(len(chain), len(home)) and chain[level].of.state == home[level]:
        level += 1
    return level


def _within(calls: Iterable[Placed]) -> dict[Item, list[ForeignAttempt]]:
    """What each item called, deeper levels included; what undoes nothing of the item is work of its own."""
    found: dict[Item, list[ForeignAttempt]] = defaultdict(list)
    done: dict[Item, set[str]] = defaultdict(set)
    for call, item in calls:
        if call.is_map:
            continue
        for each in () if item is None else item.chain:
            attempt = call.attempt()
            if call.direction is Direction.FORWARD:
                done[each].add(call.step)
            elif call.step not in done[each]:
                attempt = replace(attempt, step=call.state, direction=Direction.FORWARD)
            found[each].append(attempt)
    return found


def _numbered(attempts: Iterable[ForeignAttempt]) -> tuple[ForeignAttempt, ...]:
    numbers: Counter[tuple[str, Direction]] = Counter()
    numbered = []
    for tried in attempts:
        key = (tried.step, tried.direction)
        numbers[key] += 1
        numbered.append(replace(tried, attempt=numbers[key]))
    return tuple(numbered)
