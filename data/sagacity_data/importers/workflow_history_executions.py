"""Which calls of a workflow history are tries of the same thing, and what their steps are called.

A step is one *execution* of an activity type, a local activity type or a child workflow type, and takes the
type's name. A workflow may call a type several times for different things; the history tells the calls apart,
so they are steps of their own: `Charge`, `Charge#2`, `Charge#3`, numbered in the order in which the workflow
scheduled them. A workflow that runs the same code schedules in the same order, so the names are the same in
every run of its type. (Local activities leave a marker when they *end*; where their ids are numbers, which
count the calls, those give the order.)

A call continues an earlier execution, as its next attempts, when it is a retry made by the workflow or its
client library: of the same type, scheduled after that execution had failed or timed out, and with the same
input or the same id of the user's. Servers retry within one call instead, and a local activity whose marker
says that it backs off is continued by the next marker of its type with a higher attempt number.

A step that undoes another goes by the name of what it undoes (`compensations`). If that was executed several
times, an undo belongs to the execution that had the same input, else to the latest that still stands: sagas
undo in reverse order. A name that looks like an undo's is none where nothing before it could be undone,
unless the user says so.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sagacity_data.importers.compensations import UndoNames
from sagacity_data.importers.reading import Hints
from sagacity_data.importers.workflow_history_calls import Call, CallKind, Moment
from sagacity_data.importers.workflow_history_values import whole_in
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction

PASSED_MAX: Final = 16
"""Among more executions that await a retry and do not fit a call it is not looked for one that does."""


@dataclass(slots=True, eq=False)
class Execution:
    """Calls that are tries of the same thing, in the order in which they were scheduled."""

    name: str  # Of the type.
    kind: CallKind
    place: int
    calls: list[Call] = field(default_factory=list)
    step: str = ""
    direction: Direction = Direction.FORWARD
    service: str = ""  # Where the step's own name would be no name of a service.
    awaits_retry: bool = False
    undone: bool = False
    local_attempts: int = 0  # Of local activities, whose markers number them from the execution's first.

    def add(self, call: Call) -> None:
        """Take a call for the next of this execution."""
        if call.kind is CallKind.LOCAL_ACTIVITY:
            call.told = max(1, (call.told or 1) - self.local_attempts)
            self.local_attempts += call.told
        self.awaits_retry = False
        self.calls.append(call)


def executions_in(moments: Iterable[Moment], hints: Hints) -> list[Execution]:
    """The executions in the order in which they were first scheduled, with the names of their steps."""
    gathered = _Gathered()
    for moment in moments:
        if moment.ended:
            gathered.end(moment.call)
        else:
            gathered.begin(moment.call)
    _name(gathered.executions)
    _find_undos(gathered.executions, hints)
    return gathered.executions


class _Gathered:
    """Executions while the history is gone through."""

    def __init__(self) -> None:
        self.executions: list[Execution] = []
        self._of_call: dict[int, Execution] = {}
        self._failed: dict[tuple[CallKind, str, str, str], deque[Execution]] = defaultdict(deque)

    def begin(self, call: Call) -> None:
        execution = self._continued(call)
        if execution is None:
            execution = Execution(call.name, call.kind, call.place)
            self.executions.append(execution)
        execution.add(call)
        self._of_call[id(call)] = execution

    def end(self, call: Call) -> None:
        execution = self._of_call.get(id(call))
        if execution is None or call.outcome not in (AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT):
            return
        if call.kind is CallKind.LOCAL_ACTIVITY and not call.backs_off:
            return
        execution.awaits_retry = True
        for likeness in _likenesses(call):
            self._failed[likeness].append(execution)

    def _continued(self, call: Call) -> Execution | None:
        for likeness in _likenesses(call):
            found = _next_fitting(self._failed.get(likeness, deque()), call)
            if found is not None:
                return found
        return None


def _likenesses(call: Call) -> Iterator[tuple[CallKind, str, str, str]]:
    if call.call_id and call.kind is not CallKind.LOCAL_ACTIVITY:
        yield call.kind, call.name, "id", call.call_id
    yield call.kind, call.name, "input", call.key


def _next_fitting(waiting: deque[Execution], call: Call) -> Execution | None:
    """The execution that has waited longest for a call like this one; it is taken out."""
    passed: list[Execution] = []
    found: Execution | None = None
    while waiting and found is None and len(passed) < PASSED_MAX:
        execution = waiting.popleft()
        if not execution.awaits_retry:
            continue
        if _may_continue(execution, call):
            found = execution
        else:
            passed.append(execution)
    waiting.extendleft(reversed(passed))
    return found


def _may_continue(execution: Execution, call: Call) -> bool:
    return call.kind is not CallKind.LOCAL_ACTIVITY or (call.told or 1) > execution.local_attempts


def _name(executions: list[Execution]) -> None:
    alike: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        alike[execution.name].append(execution)
    for name, same in alike.items():
        for number, execution in enumerate(_as_called(same), 1):
            execution.step = name if number == 1 else f"{name}#{number}"
            execution.service = "" if number == 1 else name


def _as_called(same: list[Execution]) -> list[Execution]:
    numbers = [whole_in(execution.calls[0].call_id) for execution in same]
    if any(execution.kind is not CallKind.LOCAL_ACTIVITY for execution in same) or None in numbers:
        return same
    return [same[at] for at in sorted(range(len(same)), key=lambda at: numbers[at] or 0)]


def _find_undos(executions: list[Execution], hints: Hints) -> None:
    names, standing = UndoNames(), _Standing()
    for execution in executions:
        said = hints.undoes.get(execution.step, hints.undoes.get(execution.name, execution.name))
        target = said if said != execution.name else names.undone_by(execution.name)
        of = None if target is None else standing.latest(target, execution)
        if of is not None:
            of.undone = True
            execution.step, execution.service = of.step, of.service
            execution.direction = Direction.UNDO
        elif said != execution.name:
            execution.step, execution.service, execution.direction = said, "", Direction.UNDO
        else:
            names.add(execution.name)
            standing.add(execution)


class _Standing:
    """Forward executions by type and input, by type, and by step: what an undo may be meant for."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, str], list[Execution]] = defaultdict(list)
        self._by_step: dict[str, Execution] = {}

    def add(self, execution: Execution) -> None:
        self._by_step[execution.step] = execution
        if execution.calls[-1].outcome is not AttemptOutcome.FAILED:
            for key in (execution.calls[0].key or _ANY, _ANY):
                self._stacks[execution.name, key].append(execution)

    def latest(self, name: str, undo: Execution) -> Execution | None:
        """What an undo of the type, or the step, `name` undoes; None where that was not executed before."""
        for key in (undo.calls[0].key or _ANY, _ANY):
            stack = self._stacks.get((name, key), [])
            while stack and stack[-1].undone:
                stack.pop()
            if stack:
                return stack[-1]
        return self._by_step.get(name)


_ANY = "*"
