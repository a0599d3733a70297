"""Executions of Conductor workflows, as `GET /workflow/{id}?includeTasks=true` gives them, as runs.

What a file may hold is said in `conductor_files`, what becomes of a task in `conductor_tasks`, and what of a
failure workflow in `conductor_runs`. What is decided here:

* A failure workflow and the execution it was started for are one run where one import reads both, from one
  file or from two, or where the failure workflow's input carries the failed execution. Tasks of it that undo
  nothing by name stay a run of their own, whose parent is the failed one. Alone it is such a run, too, which
  is noted.
* Across files only ids link the two, which Conductor writes into the input of the one and the output of the
  other: a correlation id is the user's own, and may mean many runs of many files.
* A search may give summaries without tasks: such runs have no attempts, and one that failed needs attention.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sagacity_data.importers.conductor_files import executions_in
from sagacity_data.importers.conductor_runs import Execution, run_of, without_undos
from sagacity_data.importers.foreign_runs import ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.run_status import End

HELD_MAX: Final = 20_000
"""So many tasks of executions may wait for their other half in another file; then the oldest go without."""

JOINED_MAX: Final = 1_000_000
"""So many runs that were put together are remembered, lest a half that comes again stands for them."""


def read_runs(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """The runs of a file that is read alone; raises as `ConductorReader` does."""
    reader = ConductorReader()
    yield from reader(path, hints, tally)
    yield from reader.left(hints, tally, every=True)


def joining_reader() -> ConductorReader:
    """What reads the files of one import."""
    return ConductorReader()


class ConductorReader:
    """Reads files one after the other; a half of a run waits for the other, which a later file may hold."""

    def __init__(self) -> None:
        self._held: dict[str, Execution] = {}  # The oldest first.
        self._weight = 0
        self._undoing: dict[str, list[str]] = defaultdict(list)  # Held failure workflows, by the failed one.
        self._joined: set[int] = set()

    def __call__(self, path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
        """The runs of a file that are whole, with what waited for it; what is not whole waits.

        Raises `ImportRefused` for what is no JSON, too large or too deep, and for a file without execution.
        """
        read = executions_in(path, hints, tally)
        waited = self._waiting_for(read)
        executions = {**read, **{run_id: each for run_id, each in waited.items() if _counts(each, read)}}
        started_for = failure_workflows(executions)
        undoing: dict[str, list[Execution]] = defaultdict(list)
        for run_id, failed in started_for.items():
            undoing[failed].append(executions[run_id])
        halves: list[Execution] = []
        for run_id, execution in executions.items():
            if run_id in started_for:
                rest = without_undos(execution, executions[started_for[run_id]], hints)
                if rest.tasks or not execution.tasks:
                    yield run_of(rest, (), hints, tally)
            elif not undoing[run_id] and _is_half(execution):
                halves.append(execution)
            else:
                yield run_of(execution, undoing[run_id], hints, tally)
        tally.held_back += self._hold(halves, waited)
        if len(self._joined) < JOINED_MAX:
            self._joined.update(hash(run_id) for run_id in (*started_for, *started_for.values()))

    def left(self, hints: Hints, tally: Tally, *, every: bool) -> Iterator[ForeignRun]:
        """The oldest halves, while too many wait, or all of them: runs of their own."""
        while self._held and (every or self._weight > HELD_MAX):
            execution = self._let_go(next(iter(self._held)))
            if execution.undoing:
                tally.notes["failure workflows without the run they undo: give both to one import"] += 1
            yield run_of(execution, (), hints, tally)

    def _waiting_for(self, read: Mapping[str, Execution]) -> dict[str, Execution]:
        """The held halves that executions of a file link to, or that link to them."""
        linked = dict.fromkeys(
            run_id
            for execution in read.values()
            for run_id in (
                execution.run_id,
                execution.undoing,
                execution.undone_in,
                *self._undoing.get(execution.run_id, ()),
            )
            if run_id in self._held
        )
        return {run_id: self._held[run_id] for run_id in linked}

    def _hold(self, halves: list[Execution], waited: Mapping[str, Execution]) -> int:
        """Lets those that waited no more go and keeps the others; how many of a file's own were kept."""
        still = {execution.run_id: execution for execution in halves}
        for run_id, execution in waited.items():
            if still.get(run_id) is not execution:
                self._let_go(run_id)
        for execution in halves:
            if execution.run_id not in self._held and hash(execution.run_id) not in self._joined:
                self._held[execution.run_id] = execution
                self._weight += 1 + len(execution.tasks)
                self._undoing[execution.undoing].append(execution.run_id)
        return len(halves)

    def _let_go(self, run_id: str) -> Execution:
        execution = self._held.pop(run_id)
        self._weight -= 1 + len(execution.tasks)
        self._undoing[execution.undoing].remove(run_id)
        if not self._undoing[execution.undoing]:
            del self._undoing[execution.undoing]
        return execution


def _counts(waited: Execution, read: Mapping[str, Execution]) -> bool:
    """Whether what waited counts before what a file says of it again: unless only that has ended."""
    again = read.get(waited.run_id)
    return again is None or waited.end is not End.OPEN or again.end is End.OPEN


def _is_half(execution: Execution) -> bool:
    """Whether the other half may be in another file: the failed execution, or its failure workflow."""
    if execution.undoing:
        return True
    failed = execution.end in (End.FAILED, End.TERMINATED) and execution.tells_tasks
    return failed and (execution.may_be_undone or bool(execution.undone_in))


def failure_workflows(executions: Mapping[str, Execution]) -> dict[str, str]:
    """Which executions are failure workflows, and of which others; never of one that is one itself."""
    by_correlation: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run_id, execution in executions.items():
        if execution.failure_workflow and execution.correlation:
            by_correlation[execution.failure_workflow, execution.correlation].append(run_id)
    told = {run_id: execution.undone_in for run_id, execution in executions.items() if execution.undone_in}
    links = {undoing: failed for failed, undoing in told.items() if undoing in executions}
    for run_id, execution in executions.items():
        alike = by_correlation.get((execution.saga, execution.correlation), [])
        failed = execution.undoing or (alike[0] if len(alike) == 1 else "")
        if failed in executions and failed != run_id:
            links.setdefault(run_id, failed)
    return {run_id: failed for run_id, failed in links.items() if failed not in links and failed != run_id}
