"""A state machine of AWS Step Functions as values: its states and where each leads, checked.

Only the shape is read here: what leads where, by `Next`, by a Choice, by a Catch. What a definition says in
words that a machine would not run (a state that is not there, a Type nobody knows) is refused with its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.converters.converted import ConvertRefused

STATES_MAX: Final = 500
NESTING_MAX: Final = 20
_TYPES: Final = frozenset({"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"})
_WORKING: Final = frozenset({"Task", "Map"})


@dataclass(frozen=True, slots=True)
class Catch:
    """Where a failure with one of these error names leads."""

    errors: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One state; `follows` are the states that may come next when nothing fails, the default choice first."""

    name: str
    type: str
    told: Mapping[str, Any]
    follows: tuple[str, ...]
    catches: tuple[Catch, ...] = ()
    branches: tuple[Machine, ...] = ()

    @property
    def works(self) -> bool:
        """Whether it does work of its own, or has a service do it: a Task, or a Map over items."""
        return self.type in _WORKING

    @property
    def fails(self) -> bool:
        """Whether the execution ends here, and badly."""
        return self.type == "Fail"

    @property
    def ends_well(self) -> bool:
        """Whether the execution may end here, and well."""
        return not self.follows and not self.fails


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A state machine, or a branch of one: branches have states of their own."""

    start: str
    states: Mapping[str, State]

    def working(self) -> Iterator[State]:
        """Every state in it that does work, those of branches included."""
        for state in self.states.values():
            if state.works:
                yield state
            for branch in state.branches:
                yield from branch.working()


def read_machine(document: object, name: str) -> tuple[Machine, Mapping[str, Any]]:
    """The machine of a definition, or of what `describe-state-machine` says of one; and its outermost object.

    Raises `ConvertRefused` for anything that is no definition.
    """
    for _ in range(2):
        if isinstance(document, Mapping) and "States" not in document and "definition" in document:
            document = document["definition"]
        if isinstance(document, str):
            document = _parsed(document, name)
    if not isinstance(document, Mapping):
        raise ConvertRefused(name, "", "is no object", "give a definition in Amazon States Language")
    machine = _machine(document, name, "", 0)
    if (count := _count(machine)) > STATES_MAX:
        raise ConvertRefused(name, "", f"has {count} states", f"the most is {STATES_MAX}: split it")
    names = [state.name for state in machine.working()]
    if twice := next((each for each in names if names.count(each) > 1), ""):
        raise ConvertRefused(name, f"state {twice!r}", "stands there twice", "name every state once")
    return machine, document


def _parsed(text: str, name: str) -> object:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        raise ConvertRefused(name, "definition", "is no JSON", "give the definition as it stands") from None
    return parsed


def _machine(told: Mapping[str, Any], name: str, place: str, depth: int) -> Machine:
    if depth > NESTING_MAX:
        raise ConvertRefused(name, place, f"nests more than {NESTING_MAX} deep", "make it flatter")
    states, start = told.get("States"), told.get("StartAt")
    if not isinstance(states, Mapping) or not states:
        raise ConvertRefused(name, place, "has no States", "give a definition in Amazon States Language")
    if not isinstance(start, str) or start not in states:
        raise ConvertRefused(name, place, "has a StartAt that is none of its States", "name the first state")
    if len(states) > STATES_MAX:
        raise ConvertRefused(name, place, f"has {len(states)} states", f"the most is {STATES_MAX}: split it")
    machine = Machine(start, {str(key): _state(str(key), each, name, depth) for key, each in states.items()})
    for state in machine.states.values():
        for target in (*state.follows, *(catch.target for catch in state.catches)):
            if target not in machine.states:
                reason = f"leads to {target[:80]!r}, which is no state there"
                raise ConvertRefused(name, f"state {state.name!r}", reason, "name a state beside it")
    return machine


def _state(key: str, told: object, name: str, depth: int) -> State:
    place = f"state {key[:80]!r}"
    if not isinstance(told, Mapping):
        raise ConvertRefused(name, place, "is no object", "write it as Amazon States Language has it")
    kind = told.get("Type")
    if not isinstance(kind, str) or kind not in _TYPES:
        way_out = f"choose one of {', '.join(sorted(_TYPES))}"
        raise ConvertRefused(name, place, f"has the Type {str(kind)[:40]!r}", way_out)
    branches = told.get("Branches") if kind == "Parallel" else ()
    if kind == "Parallel" and not (isinstance(branches, list) and branches):
        raise ConvertRefused(name, place, "is a Parallel without Branches", "give it at least one")
    inner = [each if isinstance(each, Mapping) else {} for each in branches or ()]
    return State(
        name=key,
        type=kind,
        told=told,
        follows=_follows(told, kind, name, place),
        catches=_catches(told, name, place),
        branches=tuple(_machine(each, name, f"{place}, a branch", depth + 1) for each in inner),
    )


def _follows(told: Mapping[str, Any], kind: str, name: str, place: str) -> tuple[str, ...]:
    if kind in ("Succeed", "Fail"):
        return ()
    if kind != "Choice":
        if told.get("End") is True:
            return ()
        return (_target(told.get("Next"), name, place),)
    rules = told.get("Choices")
    if not isinstance(rules, list) or not rules:
        raise ConvertRefused(name, place, "is a Choice without Choices", "give it at least one")
    targets = [
        _target(rule.get("Next") if isinstance(rule, Mapping) else None, name, place) for rule in rules
    ]
    if "Default" in told:
        targets.insert(0, _target(told["Default"], name, place))
    return tuple(dict.fromkeys(targets))


def _catches(told: Mapping[str, Any], name: str, place: str) -> tuple[Catch, ...]:
    catches = told.get("Catch", [])
    if not isinstance(catches, list):
        raise ConvertRefused(name, place, "has a Catch that is no list", "make it a list of catchers")
    errors: dict[str, list[str]] = {}
    for each in catches:
        catcher: Mapping[str, Any] = each if isinstance(each, Mapping) else {}
        errors.setdefault(_target(catcher.get("Next"), name, place), []).extend(error_names(catcher))
    return tuple(Catch(tuple(names), target) for target, names in errors.items())


def error_names(told: Mapping[str, Any]) -> tuple[str, ...]:
    """The error names of a retrier or catcher."""
    names = told.get("ErrorEquals")
    return tuple(each for each in names if isinstance(each, str)) if isinstance(names, list) else ()


def _target(target: object, name: str, place: str) -> str:
    if not isinstance(target, str):
        raise ConvertRefused(name, place, "does not say what comes next", "give it Next, or End: true")
    return target


def _count(machine: Machine) -> int:
    inner = (branch for state in machine.states.values() for branch in state.branches)
    return len(machine.states) + sum(_count(branch) for branch in inner)
