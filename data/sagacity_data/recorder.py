"""From engine events to rows: what the engine tells its listeners becomes the execution dataset.

A row is made when its attempt or run ends, from the event, the run's state and what was noted when the
attempt started. That note lives in memory only. After a crash the engine closes every open attempt as
unknown; a recorder that did not see the start, neither live nor in the journal (`recall`), writes that row
with the start's columns missing, never guessed. The same events feed `LaunchFeatures`, so features are
computed once, at the launch, before anything of the run is folded in.

| in a run | in the dataset |
|---|---|
| an attempt of a step, or of its undo | a row when it ends |
| a second call beside a slow one (a hedge) | the same attempt, thus its row, from the first call's start |
| a probe | no row: it asks about an attempt whose row says that its outcome was unknown |
| a wait for an approval | no row: no service is at work |
| a step that is a saga | no row: the inner run has rows of its own, and names this one as its `parent` |
| the end | the run's row; a run that a person re-opens ends again, and the dataset keeps its first end |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sagacity_data.errors import HistoryAhead
from sagacity_data.features import LaunchFeatures
from sagacity_data.open_run import OpenRun, attempts_of, input_bytes, steps_done
from sagacity_data.plan_facts import PlanFacts
from sagacity_data.recorded_rows import Ending, Launched, Start, attempt_row, run_row
from sagacity_data.rows import NO_FEATURES, AttemptRow, Row, RunRow
from sagacity_data.signals import CallStarted, RunClosed, RunOpened, call_ended
from sagacity_data.telling import NO_WORDS, Telling, Words
from sagacity_engine import Saga
from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    RunEnded,
    RunStarted,
)
from sagacity_engine.machine import machine
from sagacity_engine.machine.run_state import RunState, begin

RUNS_MAX: Final = 100_000
"""Unfinished runs the recorder remembers; beyond it the oldest is forgotten, as after a restart."""


class Recorder:
    """Folds the events of any number of runs into rows. Give each event once, in the order it happened.

    Not safe for use from several threads at once.
    """

    def __init__(self, features: LaunchFeatures | None = None, telling: Telling | None = None) -> None:
        self._features = features
        self._telling = telling or Telling()
        self._plans = PlanFacts()
        self._runs: dict[str, OpenRun] = {}
        self._in_flight: dict[str, int] = {}
        self._recalling = False
        self._whole = True

    @property
    def whole(self) -> bool:
        """Whether the attempts of the run that ended last have all become rows here.

        Not so for a run of which events were missed, for instance because it began in a former process and
        was not recalled: its journal can still tell all of it.
        """
        return self._whole

    def observe(self, state: RunState, event: Event) -> tuple[Row, ...]:
        """The row that `event` completes, if any; `state` is the run's state with the event folded in.

        Rows carry no features when there is no `LaunchFeatures`, when the launch was not seen, or when the
        clock had stepped back before it, so that the history was ahead of the launch.
        """
        match event:
            case AttemptStarted():
                self._start(state, event)
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown():
                row = self._end(state, event)
                return () if row is None else (row,)
            case RunStarted():
                self._open_run(state, event)
            case RunEnded():
                return (self._close_run(state, event),)
            case _:
                pass
        return ()

    def recall(self, saga: Saga, events: Iterable[Event]) -> list[Row]:
        """The rows of one run from its journal, and, if it is still open, what is needed to go on with it.

        They are those that were made live, but for what only that moment knew: calls of other runs under way
        (`in_flight` is None), the breaker's state, and the features, which `replayed` works out from the
        whole dataset. Nothing is told to `LaunchFeatures`. Raises `IllegalEvent` for a journal that is none.
        """
        told = iter(events)
        started = next(told, None)
        if not isinstance(started, RunStarted):
            raise IllegalEvent("a run's journal must begin with RunStarted")
        state = begin(saga, started)
        if started.run_id in self._runs:
            self._forget(started.run_id)
        self._recalling = True
        try:
            rows = list(self.observe(state, started))
            for event in told:
                machine.fold(state, event)
                rows += self.observe(state, event)
        except BaseException:
            if started.run_id in self._runs:
                self._forget(started.run_id)
            raise
        finally:
            self._recalling = False
        return rows

    @property
    def _live_features(self) -> LaunchFeatures | None:
        return None if self._recalling else self._features

    def _open_run(self, state: RunState, event: RunStarted) -> None:
        run = self._run(state)
        if (features := self._live_features) is None:
            return
        try:
            run.features = features.features(state.saga, run.launched.context, event.at)
        except HistoryAhead:
            run.features = {}
        features.observe(RunOpened(at=event.at, run_id=event.run_id, saga=state.saga.name))

    def _run(self, state: RunState) -> OpenRun:
        run = self._runs.get(state.started.run_id)
        if run is None:
            if len(self._runs) >= RUNS_MAX:
                self._forget(next(iter(self._runs)))
            facts = self._plans.of(state.saga, state.plan)
            run = OpenRun(self._launched(state), facts, attempts_of(state, facts))
            self._runs[state.started.run_id] = run
        return run

    def _launched(self, state: RunState) -> Launched:
        context = self._telling.redaction.of_context(state.started.context)
        return Launched(context, self._telling.tenant(context), input_bytes(state.started.input))

    def _start(self, state: RunState, event: AttemptStarted) -> None:
        place = (event.step, event.direction)
        run = self._runs.get(state.started.run_id)
        facts = (self._plans.of(state.saga, state.plan) if run is None else run.facts).get(place)
        if facts is None or not facts.is_call:
            return
        if run is None:
            run = self._run(state)  # The state counts this attempt already.
        else:
            run.started += 1
        service = facts.step.service
        busy = self._in_flight.get(service, 0)
        self._in_flight[service] = busy + 1
        run.starts[place] = Start(
            service=service,
            at=event.at,
            scheduled_at=run.due.pop(place, event.at),
            steps_done=steps_done(state),
            in_flight=None if self._recalling else busy,
            rank=run.started - 1,
            breaker_state="" if self._recalling else self._telling.state_of_breaker(service),
        )
        if (features := self._live_features) is not None:
            features.observe(_call_started(state, event, service))

    def _end(self, state: RunState, event: Ending) -> AttemptRow | None:
        run = self._run(state)
        place = (event.step, event.direction)
        words = NO_WORDS if isinstance(event, AttemptSucceeded) else self._words(run, event)
        facts = run.facts.get(place)
        if facts is None or not facts.is_call:
            return None
        start = run.starts.pop(place, None)
        if start is not None:
            self._call_over(start.service)
        due_at = state.steps[event.step].due_at
        if due_at is not None:
            run.due[place] = due_at
        run.told += 1
        features = run.features.get(event.step, NO_FEATURES)
        row = attempt_row(state, event, run.launched, facts, start=start, features=features, words=words)
        if (fold := self._live_features) is not None:
            fold.observe(call_ended(row, event.at))
        return row

    def _words(self, run: OpenRun, event: AttemptFailed | AttemptUnknown) -> Words:
        words = self._telling.words(event)
        run.remember(event.message, words.kept)
        return words

    def _close_run(self, state: RunState, event: RunEnded) -> RunRow:
        run = self._run(state)
        self._whole = run.told + len(run.starts) == attempts_of(state, run.facts)
        self._forget(state.started.run_id)
        if (features := self._live_features) is not None:
            features.observe(
                RunClosed(at=event.at, run_id=state.started.run_id, saga=state.saga.name, status=event.status)
            )
        reason = self._telling.redaction.of_words(run.kept_of(event.reason))
        return run_row(state, event, run.launched, reason)

    def _forget(self, run_id: str) -> None:
        for start in self._runs.pop(run_id).starts.values():
            self._call_over(start.service)

    def _call_over(self, service: str) -> None:
        left = self._in_flight[service] - 1
        if left:
            self._in_flight[service] = left
        else:
            del self._in_flight[service]


def _call_started(state: RunState, event: AttemptStarted, service: str) -> CallStarted:
    return CallStarted(
        at=event.at,
        run_id=state.started.run_id,
        saga=state.saga.name,
        step=event.step,
        service=service,
        direction=event.direction,
        attempt=event.attempt,
    )
