"""The way through a workflow definition on which everything succeeds, and the undos beside it.

A task comes after the one before it in its list, and after whatever its inputs refer to (`${ref.output.x}`).
The branches of a fork start together; what follows its join needs what the join waits for. Of a decision the
branch with the most work is taken, for a saga has no alternatives by data; what else has work is noted. A
branch that begins by undoing something that was done, or ends in a TERMINATE that is no success, is a way
back: its tasks are undos, not steps. A loop's tasks are steps once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sagacity_data.converters.conductor_definitions import (
    NESTING_MAX,
    Told,
    inner_lists,
    tasks_in,
    text_in,
    told_in,
    too_deep,
)
from sagacity_data.converters.converted import ConvertRefused
from sagacity_data.importers.conductor_names import StepNames
from sagacity_engine.rules.saga_rules import STEPS_MAX

FORKS: Final = ("FORK_JOIN", "FORK")
JOINS: Final = ("JOIN", "EXCLUSIVE_JOIN")
CHOICES: Final = ("SWITCH", "DECISION")
PASSED_OVER: Final = ("SET_VARIABLE", "NOOP")
_REFERENCE: Final = re.compile(r"\$\{\s*([^.}\s]+)\.(?:output|input|status)\b")


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A task that does work. `after` are the reference names of the work that it waits for."""

    ref: str
    type: str
    told: Told
    after: tuple[str, ...] = ()
    beside: bool = False  # Whether a branch of a fork holds it.

    @property
    def task(self) -> str:
        """The name of its task definition."""
        return text_in(self.told.get("name")) or self.ref


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a list of tasks stands: in a branch of a fork or not, and how deep."""

    beside: bool = False
    depth: int = 0

    def inner(self, *, beside: bool = False) -> _Spot:
        return _Spot(self.beside or beside, self.depth + 1)


@dataclass(slots=True, eq=False)
class Way:
    """Steps in order, the work on ways back, and what was decided, in words."""

    works: list[Work] = field(default_factory=list)
    names: StepNames = field(default_factory=StepNames)
    back: list[Work] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    forks: bool = False

    def undone_by(self, undo: Work) -> str | None:
        """The reference name of the step that a task undoes by its names."""
        return self.names.undone_by(undo.ref, undo.task)


def way_through(definition: Told, name: str) -> Way:
    """The way on which everything succeeds. Raises `ConvertRefused` if there is no work on it."""
    walk = _Walk(name)
    place = f"workflow {text_in(definition.get('name'))!r}"
    walk.go(tasks_in(definition.get("tasks"), name, place), (), _Spot())
    if not walk.way.works:
        raise ConvertRefused(name, place, "has no task that does work", "convert the workflow that does it")
    return walk.way


def all_work(tasks: Iterable[Told], name: str, depth: int = 0) -> Iterator[Work]:
    """Every task that does work, whichever branch holds it, in the order of the definition."""
    if depth > NESTING_MAX:
        raise too_deep(name)
    for told in tasks:
        kind = kind_of(told)
        if is_work(kind):
            yield Work(_ref(told, name), kind, told)
        for each in inner_lists(told):
            yield from all_work(tasks_in(each, name, f"task {_ref(told, name)!r}"), name, depth + 1)


def kind_of(told: Told) -> str:
    """A task's type; SIMPLE where it has none."""
    return text_in(told.get("type")) or text_in(told.get("workflowTaskType")) or "SIMPLE"


def is_work(kind: str) -> bool:
    """Whether a task of this type is a step; waits are looked at by themselves."""
    return kind not in (*FORKS, *JOINS, *CHOICES, *PASSED_OVER, "DO_WHILE", "TERMINATE")


def waits_by_the_clock(told: Told) -> bool:
    """Whether a WAIT ends by itself, and not when somebody says so."""
    given = told_in(told.get("inputParameters"))
    return kind_of(told) == "WAIT" and bool(given.get("duration") or given.get("until"))


def _ref(told: Told, name: str) -> str:
    ref = text_in(told.get("taskReferenceName")) or text_in(told.get("name"))
    if not ref:
        raise ConvertRefused(name, "", "has a task without a name", "give it a taskReferenceName")
    return ref


class _Walk:
    """One workflow's way; `_ends` are the steps in which each task ends, by its reference name."""

    def __init__(self, name: str) -> None:
        self.way = Way()
        self._name = name
        self._ends: dict[str, tuple[str, ...]] = {}
        self._needs: dict[str, frozenset[str]] = {}  # Every step that must come before, by step.

    def go(self, tasks: Sequence[Told], before: tuple[str, ...], spot: _Spot) -> tuple[str, ...] | None:
        """Walks a list of tasks; gives the steps it ends in, None where the workflow itself ends."""
        if spot.depth > NESTING_MAX:
            raise too_deep(self._name)
        for place, told in enumerate(tasks):
            kind, ref = kind_of(told), _ref(told, self._name)
            after = None if kind == "TERMINATE" else self._through(told, ref, before, spot)
            if after is None:
                if place + 1 < len(tasks):
                    self.way.notes.append(f"what comes after {ref!r} is left out: the workflow ends there")
                return None
            before = self._ends[ref] = after
        return before

    def _through(self, told: Told, ref: str, before: tuple[str, ...], spot: _Spot) -> tuple[str, ...] | None:
        kind = kind_of(told)
        if kind in JOINS:
            return self._joined(told, before)
        if kind in FORKS:
            return self._fork(told, ref, before, spot)
        if kind in CHOICES:
            return self._choice(told, ref, before, spot)
        if kind == "DO_WHILE":
            self.way.notes.append(f"the loop {ref!r} runs its steps once: a saga does not loop")
            return self.go(self._list(told.get("loopOver"), ref), before, spot.inner())
        if kind in PASSED_OVER:
            return before
        if waits_by_the_clock(told):
            self.way.notes.append(f"the WAIT {ref!r} is left out: a saga does not wait by the clock")
            return before
        if kind == "FORK_JOIN_DYNAMIC":
            note = "is one step: what it forks is known only when it runs"
            self.way.notes.append(f"the dynamic fork {ref!r} {note}")
        return self._work(Work(ref, kind, told, before, spot.beside))

    def _work(self, work: Work) -> tuple[str, ...]:
        ref, before = work.ref, work.after
        if ref in self._needs:
            way_out = "give every task its own reference name"
            raise ConvertRefused(self._name, f"task {ref!r}", "stands there twice", way_out)
        if len(self._needs) == STEPS_MAX:
            reason = f"has more than {STEPS_MAX} tasks that do work"
            raise ConvertRefused(self._name, "", reason, "split it")
        known = frozenset(before).union(*(self._needs[each] for each in before))
        further = [each for each in dict.fromkeys(self._referred(work.told)) if each not in known]
        self._needs[ref] = known.union(further, *(self._needs[each] for each in further))
        self.way.works.append(replace(work, after=(*before, *further)))
        self.way.names.add(ref, work.task)
        return (ref,)

    def _referred(self, told: Told) -> Iterator[str]:
        """The steps before it to whose results a task refers, other than by standing behind them."""
        written = json.dumps([told.get("inputParameters"), told.get("subWorkflowParam")], default=str)
        for ref in _REFERENCE.findall(written):
            yield from (ref,) if ref in self._needs else ()

    def _fork(self, told: Told, ref: str, before: tuple[str, ...], spot: _Spot) -> tuple[str, ...]:
        branches = told.get("forkTasks")
        self.way.forks = True
        ends: dict[str, None] = {}
        for branch in branches if isinstance(branches, list) else ():
            ended = self.go(self._list(branch, ref), before, spot.inner(beside=True))
            ends.update(dict.fromkeys(ended or ()))
        return tuple(ends) or before

    def _joined(self, told: Told, before: tuple[str, ...]) -> tuple[str, ...]:
        """What a join waits for: the tasks it names, else whatever came before it."""
        on = told.get("joinOn")
        named = [each for each in on if isinstance(each, str)] if isinstance(on, list) else []
        return tuple(dict.fromkeys(end for each in named for end in self._ends.get(each, ()))) or before

    def _choice(self, told: Told, ref: str, before: tuple[str, ...], spot: _Spot) -> tuple[str, ...] | None:
        cases = {str(key): value for key, value in told_in(told.get("decisionCases")).items()}
        branches = {f"case {key[:40]!r}": self._list(value, ref) for key, value in cases.items()}
        branches["its default"] = self._list(told.get("defaultCase"), ref)
        on: dict[str, Sequence[Told]] = {}
        for key, tasks in branches.items():
            work = list(all_work(tasks, self._name, spot.depth + 1))
            if self._turns_back(tasks, work):
                self.way.back += work
            elif work:
                on[key] = tasks
        if not on:
            return before
        taken = max(on, key=lambda key: sum(1 for _ in all_work(on[key], self._name)))
        if len(on) > 1:
            others = ", ".join(key for key in on if key != taken)
            self.way.notes.append(f"the choice {ref!r} is taken to {taken}; not in the saga: {others}")
        else:
            self.way.notes.append(f"the choice {ref!r} always goes to {taken}: a saga has no conditions")
        return self.go(on[taken], before, spot.inner())

    def _turns_back(self, tasks: Sequence[Told], work: Sequence[Work]) -> bool:
        last = tasks[-1] if tasks else {}
        status = text_in(told_in(last.get("inputParameters")).get("terminationStatus")).upper()
        if kind_of(last) == "TERMINATE" and status in ("FAILED", "TERMINATED"):
            return True
        return bool(work) and self.way.undone_by(work[0]) is not None

    def _list(self, value: object, ref: str) -> Sequence[Told]:
        return tasks_in(value, self._name, f"task {ref!r}")
