"""A state machine in Amazon States Language as a saga: the same steps, retries, timeouts and compensations.

A Task is a step; so is a Map, for all its items together. A step needs the one before it, because a state's
input is what the state before it left; the branches of a Parallel need only what came before them, and start
together. Pass, Choice, Wait, Succeed and Fail are no steps.

What undoes a step is recovered from the Catch chains (`asl_undos`). A step whose own Catch leads to its undo
is undone when it was refused, too (`after_failure`). The last step whose failure turns the run back is the
pivot if nothing undoes it: after it nothing is undone there either, and what follows is retriable. A Catch
that joins the main way again makes its step optional, or gives it an alternative, where a saga can say so.

A step without an undo before the pivot is compensatable with an undo that does nothing, unless its service
only reads. Nothing is granted to advice, no step is declared idempotent, and no action is bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sagacity_data.converters.asl_differences import differences
from sagacity_data.converters.asl_numbers import WIDE, Numbers, numbers_of, seconds_in
from sagacity_data.converters.asl_paths import MainWay, WayBack, Work, main_way
from sagacity_data.converters.asl_services import called, name_in_arn, region_in_arn, service_of
from sagacity_data.converters.asl_states import Machine, State, read_machine
from sagacity_data.converters.asl_undos import Undos, takes_back, undone, undos_of
from sagacity_data.converters.converted import Converted, ConvertRefused
from sagacity_data.converters.step_names import step_names, unused, usable
from sagacity_engine import Compensation, Kind, Saga, SagaRefused, Step, saga_document

_READS: Final = re.compile(r"(get|list|describe|head|query|scan|batchGet)([A-Z]\w*)?")


def convert_asl(document: object, name: str) -> Converted:
    """The saga of a definition (an object, its JSON text, or what `describe-state-machine` says of it).

    `name` becomes the saga's. Raises `ConvertRefused`, naming the state and the way out.
    """
    machine, outermost = read_machine(document, name)
    way = main_way(machine, name, undone)
    undos = undos_of(way)
    draft = _Draft(name, machine, outermost, way, undos)
    try:
        saga = draft.saga()
    except SagaRefused as refusal:
        reason = f"makes no saga: {refusal}"
        raise ConvertRefused(name, "", reason, "change the definition, or write the saga yourself") from None
    notes = (*way.notes, *undos.notes, *draft.notes, *draft.notes_of_states())
    return Converted(saga, saga_document(saga), tuple(dict.fromkeys(notes)))


class _Draft:
    """A saga while it is put together."""

    def __init__(
        self, name: str, machine: Machine, outermost: Mapping[str, Any], way: MainWay, undos: Undos
    ) -> None:
        self._name, self._outermost, self._way, self._undos = name, outermost, way, undos
        self._states = machine.states
        self._names = step_names(work.state.name for work in way.works)
        self._pivot = _pivot(way.works, undos)
        self.notes: list[str] = [
            f"{state!r} is the step {step!r}" for state, step in self._names.items() if state != step
        ]
        self._notes_of: dict[str, list[str]] = {}  # The names of states, by what is noted of them.

    def notes_of_states(self) -> list[str]:
        """What is noted of single states, those alike together."""
        return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in self._notes_of.items()]

    def _numbers(self, state: State) -> Numbers:
        numbers = numbers_of(state, self._name)
        for note in numbers.notes:
            self._notes_of.setdefault(note, []).append(repr(state.name))
        return numbers

    def saga(self) -> Saga:
        """The saga. Raises `SagaRefused` where ours has no such thing, `ConvertRefused` for bad numbers."""
        steps: list[Step] = []
        for place, work in enumerate(self._way.works):
            step = self._step(place, work)
            steps += self._with_ways_round(work, step)
        deadline_s = seconds_in(self._outermost, "TimeoutSeconds", self._name)
        saga = Saga(name=usable(self._name, "saga"), steps=tuple(steps), deadline_s=deadline_s)
        bare = [each.state for place, each in enumerate(self._way.works) if self._is_bare(place, each.state)]
        self.notes += differences(self._way.works, self._undos, bare, self._pivot)
        parallel = any(state.type == "Parallel" for state in self._states.values())
        return replace(saga, stages=_stages(saga)) if parallel else saga

    def _step(self, place: int, work: Work) -> Step:
        state = work.state
        numbers = self._numbers(state)
        kind = self._kind(place, state)
        service, region = _service(state)
        return Step(
            name=self._names[state.name],
            service=service,
            region=region,
            kind=kind,
            after=tuple(self._names[each] for each in work.after),
            retry=numbers.retry,
            start_to_close_timeout_s=numbers.start_to_close_timeout_s,
            heartbeat_timeout_s=numbers.heartbeat_timeout_s,
            compensation=self._compensation(work) if kind is Kind.COMPENSATABLE else None,
        )

    def _kind(self, place: int, state: State) -> Kind:
        if state.name in self._undos.of:
            return Kind.COMPENSATABLE
        if self._pivot is not None and place >= self._pivot:
            return Kind.PIVOT if place == self._pivot else Kind.RETRIABLE
        return Kind.READ_ONLY if _only_reads(state) else Kind.COMPENSATABLE

    def _compensation(self, work: Work) -> Compensation:
        undo = self._undos.of.get(work.state.name)
        if undo is None:
            return Compensation()
        numbers = self._numbers(undo)
        if numbers.retry.maximum_attempts == 1:
            note = "it undoes, and is tried once, as in Step Functions: give it every chance"
            self._notes_of.setdefault(note, []).append(repr(undo.name))
        own = any(task.name == undo.name for back in work.backs for task in back.tasks if not back.joins)
        return Compensation(
            start_to_close_timeout_s=numbers.start_to_close_timeout_s,
            retry=numbers.retry,
            after_failure=own,
        )

    def _with_ways_round(self, work: Work, step: Step) -> list[Step]:
        """The step, made optional or with its alternative, where its own Catch joins the main way again."""
        joining = [back for back in work.own if back.joins]
        if not joining:
            return [step]
        back, follows = joining[0], work.state.follows
        plain = len(joining) == len(work.own) == 1 and back.joins in follows and step.kind is not Kind.PIVOT
        if plain and not back.tasks:
            self._note_errors(work, back)
            return [replace(step, optional=True)]
        taken = {other.state.name for other in self._way.works}
        if plain and len(back.tasks) == 1 and back.tasks[0].name not in taken:
            self._note_errors(work, back)
            return [step, self._alternative(back.tasks[0], step)]
        tasks = ", ".join(repr(task.name) for task in back.tasks) or "nothing"
        self.notes.append(
            f"a Catch of {work.state.name!r} goes on to {back.joins!r} over {tasks}: a saga cannot say that; "
            "here its failure turns the run back"
        )
        return [step]

    def _note_errors(self, work: Work, back: WayBack) -> None:
        if not set(WIDE).intersection(back.errors):
            errors = ", ".join(back.errors) or "no error"
            note = f"a Catch of {work.state.name!r} is for {errors} alone: here it is for every error"
            self.notes.append(note)

    def _alternative(self, state: State, step: Step) -> Step:
        numbers = self._numbers(state)
        service, region = _service(state)
        return Step(
            name=unused(usable(state.name, "step"), set(self._names.values())),
            service=service,
            region=region,
            kind=step.kind,
            after=step.after,
            retry=numbers.retry,
            start_to_close_timeout_s=numbers.start_to_close_timeout_s,
            heartbeat_timeout_s=numbers.heartbeat_timeout_s,
            alternative_to=step.name,
        )

    def _is_bare(self, place: int, state: State) -> bool:
        return state.name not in self._undos.of and self._kind(place, state) is Kind.COMPENSATABLE


def _pivot(works: list[Work], undos: Undos) -> int | None:
    """The place of the last step whose failure turns the run back, if it ends the time of undoing."""
    turning = [place for place, work in enumerate(works) if takes_back(work, undos)]
    if not turning or works[turning[-1]].state.name in undos.of or _only_reads(works[turning[-1]].state):
        return None
    last = turning[-1]
    return None if works[last].beside else last


def _only_reads(state: State) -> bool:
    service, action = called(str(state.told.get("Resource", "")))
    return bool(service) and _READS.fullmatch(action) is not None


def _service(state: State) -> tuple[str, str]:
    """The service and its region; empty where nothing tells, so that the step's name stands for it."""
    resource = str(state.told.get("Resource", ""))
    service, action = called(resource)
    parameters = state.told.get("Parameters", state.told.get("Arguments"))
    if action:
        return service_of(service, parameters), ""
    return name_in_arn(resource), region_in_arn(resource)


def _stages(saga: Saga) -> tuple[tuple[str, ...], ...]:
    """Steps that start together: by how many others must be settled one after the other before them."""
    depth: dict[str, int] = {}
    for name in saga.names:
        depth[name] = 1 + max((depth[each] for each in saga.arcs[name]), default=-1)
    return tuple(
        tuple(name for name in saga.names if depth[name] == level) for level in range(1 + max(depth.values()))
    )
