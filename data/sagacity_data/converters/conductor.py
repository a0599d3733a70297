"""A Conductor workflow with its failure workflow as a saga: the same steps, retries, timeouts and undos.

A task that does work is a step, called by its reference name (`conductor_paths`); HUMAN tasks, and WAIT tasks
that somebody ends, are approvals; a SUB_WORKFLOW is a saga of its own where its definition is at hand. What
Conductor computes itself, and what is asked by GET, only reads.

The undos are the tasks of the failure workflow that are named like undos of steps, and those on branches that
turn back; conditions around them go, because a saga undoes only what was done. The last step is the pivot if
nothing undoes it and others are undone: when it has succeeded, nothing can fail any more. Every other step
that nothing undoes is compensatable with an undo that does nothing, and noted. A step that sends an
`Idempotency-Key` is idempotent. Nothing is granted to advice, and no action is bound.
"""

from __future__ import annotations

from dataclasses import replace

from sagacity_data.converters.conductor_calls import only_reads, sends_key, service_of
from sagacity_data.converters.conductor_definitions import (
    Definitions,
    Told,
    read_definitions,
    sub_workflow,
    tasks_in,
    text_in,
)
from sagacity_data.converters.conductor_numbers import Numbers, numbers_of
from sagacity_data.converters.conductor_paths import Way, Work, all_work, way_through
from sagacity_data.converters.converted import Converted, ConvertRefused
from sagacity_data.converters.step_names import step_names, usable
from sagacity_data.importers.conductor_tasks import COMPUTED
from sagacity_engine import Approval, Compensation, Kind, OnTimeout, Saga, SagaRefused, Step, saga_document
from sagacity_engine.rules.number_rules import SECONDS_MAX
from sagacity_engine.rules.step_rules import SUB_SAGA_DEPTH_MAX
from sagacity_engine.saga import SubSaga


def convert_conductor(document: object, name: str = "") -> Converted:
    """The saga of a workflow definition, or of a list of definitions that belong together.

    The list may hold the failure workflow, sub-workflows and task definitions; the workflow that no other one
    refers to is meant. `name` becomes the saga's; the workflow's own if left out. Raises `ConvertRefused`,
    naming the task and the way out.
    """
    label = name or "the definition"
    definitions = read_definitions(document, label)
    try:
        draft = _Draft(definitions.main, definitions, label, ())
        saga = draft.saga(name or text_in(definitions.main.get("name")))
    except SagaRefused as refusal:
        reason = f"makes no saga: {refusal}"
        raise ConvertRefused(label, "", reason, "change it, or write the saga yourself") from None
    return Converted(saga, saga_document(saga), tuple(dict.fromkeys(draft.all_notes())))


class _Draft:
    """A saga while it is put together; `within` are the workflows that run this one."""

    def __init__(
        self, definition: Told, definitions: Definitions, label: str, within: tuple[str, ...]
    ) -> None:
        self._definition, self._definitions, self._label = definition, definitions, label
        self._within = (*within, text_in(definition.get("name")))
        self._way: Way = way_through(definition, label)
        self._names = step_names(work.ref for work in self._way.works)
        self._notes: list[str] = list(self._way.notes)
        self._notes_of: dict[str, list[str]] = {}  # The reference names, by what is noted of them.
        self._undos = self._found_undos()
        self._pivot = "" if within else self._last_without_undo()

    def all_notes(self) -> list[str]:
        """What is noted of the whole and of single tasks, those alike together."""
        renamed = [f"{ref!r} is the step {step!r}" for ref, step in self._names.items() if ref != step]
        of_tasks = [f"{', '.join(dict.fromkeys(refs))}: {note}" for note, refs in self._notes_of.items()]
        return [*renamed, *self._notes, *of_tasks]

    def saga(self, name: str) -> Saga:
        """The saga. Raises `SagaRefused` where ours has no such thing, `ConvertRefused` for bad numbers."""
        saga = Saga(
            name=usable(name, "saga"),
            version=self._version(),
            steps=tuple(self._step(work) for work in self._way.works),
            deadline_s=self._deadline_s(),
        )
        if self._pivot:
            self._note(
                self._pivot, "it is the pivot: a person is asked when nobody knows whether it took effect"
            )
        return replace(saga, stages=_stages(saga)) if self._way.forks else saga

    def _step(self, work: Work) -> Step:
        after = tuple(self._names[each] for each in work.after)
        name, optional = self._names[work.ref], work.told.get("optional") is True
        if work.type in ("HUMAN", "WAIT"):
            waits = Approval(signal=name)
            return Step(name=name, kind=Kind.READ_ONLY, after=after, approval=waits, optional=optional)
        inner = self._sub_saga(work)
        if inner is not None:
            return Step(name=name, service=service_of(work), after=after, sub_saga=inner, optional=optional)
        numbers, kind, idempotent = self._numbers(work), self._kind(work), sends_key(work.told)
        gives_up = numbers.gives_up and idempotent and kind not in (Kind.PIVOT, Kind.READ_ONLY)
        return Step(
            name=name,
            service=service_of(work),
            kind=kind,
            after=after,
            retry=numbers.retry,
            idempotent=idempotent,
            optional=optional,
            start_to_close_timeout_s=numbers.start_to_close_timeout_s,
            schedule_to_start_timeout_s=numbers.schedule_to_start_timeout_s,
            schedule_to_close_timeout_s=numbers.schedule_to_close_timeout_s,
            on_timeout=OnTimeout.COMPENSATE if gives_up else None,
            compensation=self._compensation(work) if kind is Kind.COMPENSATABLE else None,
        )

    def _kind(self, work: Work) -> Kind:
        if work.ref in self._undos:
            return Kind.COMPENSATABLE
        if work.ref == self._pivot:
            return Kind.PIVOT
        return Kind.READ_ONLY if only_reads(work) else Kind.COMPENSATABLE

    def _compensation(self, work: Work) -> Compensation:
        undo = self._undos.get(work.ref)
        if undo is None:
            self._note(work.ref, "nothing undoes it: in a run that turns back its undo is empty")
            return Compensation()
        numbers = self._numbers(undo)
        if numbers.retry.maximum_attempts == 1:
            self._note(undo.ref, "it undoes, and is tried once, as in Conductor: give it every chance")
        timeout_s = numbers.start_to_close_timeout_s
        return Compensation(start_to_close_timeout_s=timeout_s, retry=numbers.retry)

    def _numbers(self, work: Work) -> Numbers:
        numbers = numbers_of(work, self._definitions, self._label)
        for note in numbers.notes:
            self._note(work.ref, note)
        return numbers

    def _note(self, ref: str, note: str) -> None:
        self._notes_of.setdefault(note, []).append(repr(ref))

    def _found_undos(self) -> dict[str, Work]:
        """The task that undoes each step, by the step's reference name."""
        undos: dict[str, Work] = {}
        order: list[int] = []
        places = {work.ref: place for place, work in enumerate(self._way.works)}
        for work in (*self._failure_work(), *self._way.back):
            step = self._way.undone_by(work)
            if step is None:
                if work.type not in COMPUTED and work.type != "WAIT":
                    self._note(work.ref, "its name does not tell what it undoes: it is left out")
            elif step in undos:
                self._note(work.ref, f"it undoes {step!r} as {undos[step].ref!r} does: one undo is kept")
            else:
                undos[step] = work
                order.append(places[step])
        if order != sorted(order, reverse=True):
            self._notes.append("the failure workflow undoes in another order: here in reverse start order")
        return undos

    def _failure_work(self) -> list[Work]:
        wanted = text_in(self._definition.get("failureWorkflow"))
        failure = self._definitions.workflows.get(wanted)
        if wanted and failure is None:
            self._notes.append(
                f"the failure workflow {wanted!r} is not given: give its file, too, for its undos"
            )
        if failure is None:
            return []
        return list(all_work(tasks_in(failure.get("tasks"), self._label, wanted), self._label))

    def _last_without_undo(self) -> str:
        """The reference name of the pivot: the last step, which all others lead to and nothing undoes."""
        last = self._way.works[-1]
        plain = last.type not in ("HUMAN", "WAIT") and not last.beside and not only_reads(last)
        plain = plain and not (last.type == "SUB_WORKFLOW" and self._definition_of(last) is not None)
        required = last.told.get("optional") is not True
        return last.ref if self._undos and last.ref not in self._undos and plain and required else ""

    def _sub_saga(self, work: Work) -> SubSaga | None:
        """The saga that a SUB_WORKFLOW runs, where its definition is at hand and no task undoes it."""
        if work.type != "SUB_WORKFLOW" or work.ref in self._undos or work.ref == self._pivot:
            return None
        name = sub_workflow(work.told)[0]
        definition = self._definition_of(work)
        if definition is None:
            self._note(work.ref, "the definition of its workflow is not given: it is one step")
            return None
        if name in self._within or len(self._within) >= SUB_SAGA_DEPTH_MAX:
            self._note(work.ref, "workflows within workflows go too deep for a saga: it is one step")
            return None
        draft = _Draft(definition, self._definitions, self._label, self._within)
        saga = draft.saga(name or work.ref)
        self._notes += [f"in {saga.name!r}: {note}" for note in draft.all_notes()]
        return SubSaga(saga=saga)

    def _definition_of(self, work: Work) -> Told | None:
        """The definition of what a SUB_WORKFLOW runs, if it is at hand."""
        name, inline = sub_workflow(work.told)
        return inline if inline.get("tasks") else self._definitions.workflows.get(name)

    def _version(self) -> str:
        version = self._definition.get("version")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < 10**9:
            return "1"
        return str(version)

    def _deadline_s(self) -> float | None:
        """How long the workflow may take; a timeout that only alerts ends nothing."""
        told = self._definition.get("timeoutSeconds")
        if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < SECONDS_MAX:
            return None
        if text_in(self._definition.get("timeoutPolicy")).upper() == "TIME_OUT_WF":
            return float(told)
        self._notes.append("its timeoutSeconds only alert in Conductor, and are left out")
        return None


def _stages(saga: Saga) -> tuple[tuple[str, ...], ...]:
    """Steps that start together: by how many others must be settled one after the other before them."""
    depth: dict[str, int] = {}
    for name in saga.names:
        depth[name] = 1 + max((depth[each] for each in saga.arcs[name]), default=-1)
    levels: list[list[str]] = [[] for _ in range(1 + max(depth.values()))]
    for name in saga.names:
        levels[depth[name]].append(name)
    return tuple(map(tuple, levels))
