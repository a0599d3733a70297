"""The ways through a state machine: the one on which everything succeeds, and those that failures open.

The main way gives a saga its steps. A Choice on it is taken where it leads on: a branch that can only end in
Fail, or begins by undoing a step before it, is a way back like a Catch, for the step just done. Where several
branches lead on, the one with the most work is taken, and what is left out is noted: a saga has no
alternatives by data. A branch that leads back to where the way has been is a loop and not followed.

Ways back are followed as far as they do not join the main way again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sagacity_data.converters.asl_states import Machine, State
from sagacity_data.converters.converted import ConvertRefused

Undoes = Callable[[str, Iterable[str]], str | None]
"""Says which of some steps a state undoes, by its name."""


@dataclass(frozen=True, slots=True, eq=False)
class WayBack:
    """Where a failure leads: the work on the way, in order, and where it joins the main way again."""

    tasks: tuple[State, ...]
    joins: str = ""
    errors: tuple[str, ...] = ()  # Empty for one that a Choice takes.


@dataclass(slots=True, eq=False)
class Work:
    """A state of the main way that does work: a step. `after` are the steps whose end it waits for."""

    state: State
    after: tuple[str, ...]
    beside: bool  # Whether a branch of a Parallel holds it.
    backs: list[WayBack] = field(default_factory=list)
    own: list[WayBack] = field(default_factory=list)  # Of `backs`, those of its own Catch.


@dataclass(slots=True, eq=False)
class MainWay:
    """The steps in order, and what was decided on the way, in words."""

    works: list[Work] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main_way(machine: Machine, name: str, undoes: Undoes) -> MainWay:
    """The way on which everything succeeds. Raises `ConvertRefused` if there is none, or no work on it."""
    way = MainWay()
    _Walk(machine, name, undoes, way, False).go(())
    if not way.works:
        reason = "has no Task on the way to its end"
        raise ConvertRefused(name, "", reason, "convert the machine that does the work")
    return way


class _Walk:
    """One machine's main way, and the ways back of the steps on it."""

    def __init__(self, machine: Machine, name: str, undoes: Undoes, way: MainWay, beside: bool) -> None:
        self._machine, self._name, self._undoes, self._way = machine, name, undoes, way
        self._beside = beside
        self._visited: dict[str, None] = {}
        self._leads_on = _reaching(machine, lambda state: state.ends_well)
        self._back_from: dict[str, tuple[tuple[State, ...], str]] = {}
        self._back_at: list[tuple[list[Work], str, tuple[str, ...], bool]] = []

    def go(self, before: tuple[str, ...]) -> tuple[str, ...]:
        """Walks; gives the steps that were last, or `before` where there are none."""
        at: str | None = self._machine.start
        while at is not None:
            state = self._machine.states[at]
            self._visited[at] = None
            if state.fails:
                reason = "is a Fail to which the way leads without any failure"
                raise ConvertRefused(self._name, f"state {at!r}", reason, "let the way end in Succeed")
            before = self._through(state, before)
            at = self._next(state, before)
        for works, target, errors, own in self._back_at:
            back = self._way_back(target, errors)
            for work in works:
                work.backs.append(back)
                if own:
                    work.own.append(back)
        return before

    def _through(self, state: State, before: tuple[str, ...]) -> tuple[str, ...]:
        first = len(self._way.works)
        if state.works:
            self._way.works.append(Work(state, before, self._beside))
            before = (state.name,)
        elif state.type == "Parallel":
            walks = [_Walk(each, self._name, self._undoes, self._way, True) for each in state.branches]
            before = tuple(dict.fromkeys(last for walk in walks for last in walk.go(before)))
        elif state.type == "Wait":
            self._way.notes.append(f"the Wait {state.name!r} is left out: a saga does not wait by the clock")
        works = self._way.works[first:]
        for catch in state.catches:
            self._back_at.append((works, catch.target, catch.errors, state.works))
        return before

    def _next(self, state: State, before: tuple[str, ...]) -> str | None:
        if state.type == "Choice":
            return self._chosen(state, before)
        if not state.follows:
            return None
        if state.follows[0] in self._visited:
            self._way.notes.append(f"{state.name!r} leads back to {state.follows[0]!r}: the loop is left out")
            return None
        return state.follows[0]

    def _chosen(self, state: State, before: tuple[str, ...]) -> str | None:
        fresh = [each for each in state.follows if each not in self._visited]
        on = [each for each in fresh if each in self._leads_on and not self._turns_back(each)]
        if not on:
            if any(self._machine.states[each].ends_well for each in state.follows):
                return None
            reason = "is a Choice of which no branch leads on to an end that succeeds"
            raise ConvertRefused(self._name, f"state {state.name!r}", reason, "let one of them lead on")
        last = [work for work in self._way.works if work.state.name in before]
        for target in (each for each in fresh if each not in on):
            self._back_at.append((last, target, (), False))
            if last:
                asked = ", ".join(repr(work.state.name) for work in last)
                self._way.notes.append(
                    f"the Choice {state.name!r} turns back over {target!r} on what {asked} answers: have its "
                    "action refuse instead"
                )
        taken = max(on, key=self._work_beyond)
        others = ", ".join(repr(each) for each in on if each != taken)
        if others:
            note = f"the Choice {state.name!r} is taken to {taken!r}; not in the saga: the way over {others}"
            self._way.notes.append(note)
        if len(fresh) < len(state.follows):
            self._way.notes.append(f"the Choice {state.name!r} can lead back: the loop is left out")
        return taken

    def _turns_back(self, target: str) -> bool:
        """Whether the first work from there takes back what was done."""
        done = [work.state.name for work in self._way.works]
        state = self._machine.states[target]
        for _ in self._machine.states:
            if state.works or len(state.follows) != 1 or state.type == "Parallel":
                break
            state = self._machine.states[state.follows[0]]
        first = [state, *(each for branch in state.branches for each in branch.working())]
        return any(self._undoes(each.name, done) is not None for each in first if each.works)

    def _work_beyond(self, target: str) -> int:
        reached = _reached(self._machine, target, self._visited)
        return sum(state.works or state.type == "Parallel" for state in reached)

    def _way_back(self, target: str, errors: tuple[str, ...]) -> WayBack:
        if target not in self._back_from:
            self._back_from[target] = self._followed(target)
        return WayBack(*self._back_from[target], errors)

    def _followed(self, target: str) -> tuple[tuple[State, ...], str]:
        """The work from there until the main way is joined again, and where it is."""
        tasks: dict[str, State] = {}
        joins = "" if target not in self._visited else target
        for state in _reached(self._machine, target, self._visited):
            if state.works:
                tasks[state.name] = state
            for branch in state.branches:
                tasks.update((each.name, each) for each in branch.working())
            joins = joins or next((each for each in state.follows if each in self._visited), "")
        return tuple(tasks.values()), joins


def _reached(machine: Machine, start: str, stop: Mapping[str, None]) -> Iterator[State]:
    """The states from `start` on when nothing else fails, each once and after one that leads to it."""
    seen, ahead = {start}, [start]
    while ahead:
        at = ahead.pop(0)
        if at in stop:
            continue
        state = machine.states[at]
        yield state
        for each in state.follows:
            if each not in seen:
                seen.add(each)
                ahead.append(each)


def _reaching(machine: Machine, wanted: Callable[[State], bool]) -> frozenset[str]:
    """The states from which one that is wanted can be reached when nothing fails."""
    leads: dict[str, list[str]] = {name: [] for name in machine.states}
    for state in machine.states.values():
        for target in state.follows:
            leads[target].append(state.name)
    ahead = [state.name for state in machine.states.values() if wanted(state)]
    found = set(ahead)
    while ahead:
        for each in leads[ahead.pop()]:
            if each not in found:
                found.add(each)
                ahead.append(each)
    return frozenset(found)
