"""From the events of one AWS Step Functions execution to the attempts of its steps.

A step is a Task state; every other state is structure. Within one entry into a state each call is an attempt
(that is what `Retry` makes), and attempts are numbered on when the state is entered again by a loop or by a
redrive. Each item of a Map has attempts of its own (`step_functions_maps`), in a run of its own
(`step_functions_items`).

Which entry an event belongs to is told by the chain of `previousEventId`, so that branches and items that run
side by side stay apart. Where ids are masked, an event goes to the oldest call that it fits.

A history does not show Catch links. A state undoes another if the user or a definition beside the history
says so; or if something went wrong before it and its name takes back that of a step attempted before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from sagacity_data.importers.compensations import UndoNames
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Tally
from sagacity_data.importers.step_functions_calls import Call, call_of, failed_words
from sagacity_data.importers.step_functions_entries import Entry, Waiting
from sagacity_data.importers.step_functions_events import HistoryEvent
from sagacity_data.importers.step_functions_items import Levels, Placed, by_level, flat, item_runs
from sagacity_data.importers.step_functions_maps import Maps
from sagacity_data.importers.step_functions_types import ENDS, FAMILIES, KNOWN, OUTCOMES, TIMEOUTS
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction

STRAY: Final = "ends of tasks without a beginning"


class Attempts:
    """The attempts of one execution, folded from its events in order."""

    def __init__(
        self, undoes: Mapping[str, str], services: Mapping[str, str], tally: Tally, *, trouble: bool = False
    ) -> None:
        self._undoes, self._services, self._tally = undoes, services, tally
        self._of: dict[int, Entry] = {}  # The entry that an event belongs to, by the event's id.
        self._waiting = Waiting()
        self._maps = Maps(self._called, self._map_ended)
        self._homes: dict[str, tuple[str, ...]] = {}  # The Maps around each step.
        self.calls: list[Placed] = []  # In the order in which they were scheduled.
        self._names = UndoNames()
        self._targets: dict[str, str] = {}
        self._trouble = trouble  # Whether something went wrong so far; from then on names may tell of undos.
        self.first_state = ""

    def fold(self, event: HistoryEvent) -> None:
        """Take in the next event."""
        if event.type not in KNOWN:
            self._tally.skipped[event.type or "(no type)"] += 1
        entry = self._entry_of(event)
        if event.type.startswith("Execution"):
            self._run_event(event, entry)
        elif event.type.endswith("StateEntered"):
            entry = self._entered(event, entry)
        elif event.type.startswith("Map"):
            entry = self._maps.take(event, entry)
        elif event.type == "TaskStateAborted":
            self._aborted(event, entry)
        elif event.type == "EvaluationFailed":
            self._never_called(event, entry)
        elif event.type.endswith("StateExited"):
            self._exited(event, entry)
        elif event.type.startswith(FAMILIES):
            entry = self._task_event(event, entry)
        if event.number is not None and entry is not None:
            self._of[event.number] = entry

    def give_up(self, at: float | None) -> None:
        """The execution ended: what was under way has nobody who waits for it."""
        while (entry := self._waiting.oldest_call()) is not None:
            self._cancel(entry, at)
        self._maps.give_up(at)

    def flat(self) -> tuple[ForeignAttempt, ...]:
        """All calls so far as attempts, those of all items together."""
        return flat(self.calls)

    def levels(self) -> Levels:
        """The attempts of the execution's own run, under None, and of each item's."""
        return by_level(self.calls, self._homes)

    def item_runs(self, run: ForeignRun, levels: Levels) -> Iterator[ForeignRun]:
        """The items of Maps, as runs inside the execution's."""
        return item_runs(run, self._maps.items, levels, self.calls)

    def _entry_of(self, event: HistoryEvent) -> Entry | None:
        return None if event.previous is None else self._of.get(event.previous)

    def _entered(self, event: HistoryEvent, before: Entry | None) -> Entry:
        name = event.words("name") or "(unnamed)"
        self.first_state = self.first_state or name
        entry = Entry(name, event.type == "TaskStateEntered", item=None if before is None else before.item)
        entry.is_map, entry.entered_at = event.type == "MapStateEntered", event.at
        if entry.task:
            self._waiting.add(entry)
        return entry

    def _exited(self, event: HistoryEvent, entry: Entry | None) -> None:
        """A state that is left waits for nothing more; without a chain, the oldest of its name is meant."""
        name = event.words("name")
        if event.type == "TaskStateExited" and (entry is None or entry.state != name):
            entry = self._waiting.oldest(name)
        if entry is not None:
            self._waiting.drop(entry)

    def _task_event(self, event: HistoryEvent, entry: Entry | None) -> Entry | None:
        family = next(each for each in FAMILIES if event.type.startswith(each))
        word = event.type.removeprefix(family)
        if word == "Scheduled":
            return self._scheduled(event, entry)
        if word in ("Started", "Submitted"):
            meant = self._meant(event, entry, family)
            if meant is not None and meant.call is not None and word == "Started":
                meant.call.started_at = event.at
            return meant or entry
        if word in OUTCOMES:
            meant = self._meant(event, entry, family) or self._stray(event, entry)
            return entry if meant is None else self._ended(event, meant, OUTCOMES[word])
        return entry

    def _meant(self, event: HistoryEvent, entry: Entry | None, family: str) -> Entry | None:
        """The entry whose call an event tells of: that of its chain if it fits, else the oldest one."""
        called = f"{event.words('resourcetype')}:{event.words('resource')}"
        fits = (family, called if family == "Task" else "")
        if entry is not None and entry.call is not None and (called == ":" or entry.call.fits == fits):
            return entry
        if entry is not None and entry.task and entry.call is None:
            return None
        return self._waiting.oldest_call(fits)

    def _scheduled(self, event: HistoryEvent, entry: Entry | None) -> Entry:
        if entry is None or not entry.task or entry.call is not None:
            entry = self._waiting.oldest()
        call = call_of(event)
        if entry is None:
            self._tally.notes["tasks of a state that the history does not name"] += 1
            entry = Entry(call.service or "(unnamed)", task=True)
        entry.scheduled = True
        self._waiting.call(call.fits, entry)
        return self._begin(entry, call)

    def _begin(self, entry: Entry, call: Call) -> Entry:
        undone = self._undone_by(entry.state)
        call.state = entry.state
        call.step = entry.state if undone is None else undone
        call.direction = Direction.FORWARD if undone is None else Direction.UNDO
        call.service = self._services.get(entry.state) or call.service
        if undone is None:
            self._names.add(entry.state)
            chain = () if entry.item is None else entry.item.chain
            self._homes.setdefault(entry.state, tuple(item.of.state for item in chain))
        entry.call = call
        entry.attempts += 1
        self.calls.append((call, entry.item))
        return entry

    def _called(self, entry: Entry, call: Call) -> None:
        """A Map begins to have its items done."""
        call.state = call.step = entry.state
        call.service = self._services.get(entry.state, "")
        self.calls.append((call, entry.item))

    def _map_ended(self, call: Call) -> None:
        call.end(call.outcome, call.ended_at, self._tally.notes)

    def _undone_by(self, state: str) -> str | None:
        if self._undoes.get(state, state) != state:
            return self._undoes[state]
        if self._trouble and state not in self._targets and (found := self._names.undone_by(state)):
            self._targets[state] = found
        return self._targets.get(state)

    def _ended(self, event: HistoryEvent, entry: Entry, outcome: AttemptOutcome) -> Entry:
        call = self._taken(entry)
        error, message = failed_words(event)
        if error in TIMEOUTS and outcome is AttemptOutcome.FAILED:
            outcome = AttemptOutcome.TIMED_OUT
        if outcome is not AttemptOutcome.SUCCEEDED:
            self._went_wrong(entry, call, error, message)
        call.end(outcome, event.at, self._tally.notes)
        return entry

    def _taken(self, entry: Entry) -> Call:
        """The call under way in an entry, which from now on has none and waits for the next."""
        call = entry.call
        assert call is not None, "only asked of entries with a call under way"
        entry.call = None
        self._waiting.end(call.fits, entry)
        return call

    def _cancel(self, entry: Entry, at: float | None) -> None:
        self._taken(entry).end(AttemptOutcome.CANCELLED, at, self._tally.notes)

    def _stray(self, event: HistoryEvent, entry: Entry | None) -> Entry | None:
        """An end without a beginning: an attempt all the same if its state is known and had none yet."""
        self._tally.notes[STRAY] += 1
        if entry is None or not entry.task or entry.attempts:
            return None
        return self._begin(entry, call_of(replace(event, at=None)))

    def _aborted(self, event: HistoryEvent, entry: Entry | None) -> None:
        if entry is None:
            entry = self._waiting.oldest_call()
        if entry is not None and entry.call is not None:
            self._cancel(entry, event.at)
        if entry is not None:
            self._waiting.drop(entry)

    def _never_called(self, event: HistoryEvent, entry: Entry | None) -> None:
        """A task that failed before it was called, because its input could not be made."""
        self._trouble = True
        if entry is None or not entry.task or entry.scheduled:
            return
        error, message = failed_words(event)
        self._begin(entry, Call(fits=("", ""), scheduled_at=event.at))
        call = self._taken(entry)
        self._went_wrong(entry, call, error, message)
        call.end(AttemptOutcome.FAILED, event.at, self._tally.notes)

    def _went_wrong(self, entry: Entry, call: Call, error: str, message: str) -> None:
        self._trouble = True
        call.error, call.message = error, message
        for item in () if entry.item is None else entry.item.chain:
            item.fault = error, message

    def _run_event(self, event: HistoryEvent, entry: Entry | None) -> None:
        if event.type == "ExecutionFailed" and entry is not None and not entry.attempts:
            self._never_called(event, entry)
        if event.type in ENDS:
            self.give_up(event.at)
