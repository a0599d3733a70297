"""Inner runs in virtual time: begun, cancelled and taken back for the runs above them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sagacity_engine.events import AttemptStarted, CancelRequested, Direction, Event, OperatorActed
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.sub_sagas import (
    inner_input,
    inner_outcome,
    inner_run_id,
    sub_saga_of,
    taking_back,
)
from sagacity_engine.saga import SubSaga


class Hosting(Protocol):
    """What the host of the runs does for inner runs."""

    def find(self, run_id: str) -> RunState | None:
        """Where the run stands; None when there is none."""
        ...

    def ask(self, at: float, run_id: str, event: Event) -> None:
        """Books what somebody wants to happen to a run."""
        ...

    def hand_in(self, at: float, run_id: str, event: Event) -> None:
        """Books what happened to a run."""
        ...

    def launch_inner(self, inner: SubSaga, inner_id: str, given: Mapping[str, Any], outer: RunState) -> None:
        """Books the start of an inner run for now."""
        ...


class InnerRuns:
    """Which run waits for which inner run."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._waiting: dict[str, tuple[str, AttemptStarted]] = {}
        self._cancelled: set[str] = set()

    def begin(self, outer: RunState, attempt: AttemptStarted) -> None:
        """Runs the inner run of the attempt's step, or takes it back."""
        run_id, inner_id = outer.started.run_id, inner_run_id(outer, attempt)
        if attempt.direction is Direction.UNDO:
            self._take_back(run_id, inner_id, attempt)
            return
        inner = sub_saga_of(outer, attempt)
        assert inner is not None, "only a step that is a saga has an inner run"
        given = inner_input(outer, attempt, inner)
        if isinstance(given, Mapping):
            self._waiting[inner_id] = (run_id, attempt)
            self._hosting.launch_inner(inner, inner_id, given, outer)
        else:
            self._hosting.hand_in(attempt.at, run_id, given)

    def ended(self, inner: RunState, now: float) -> None:
        """Tells the run that waits for this one, if its end means something to it."""
        waiting = self._waiting.get(inner.started.run_id)
        if waiting is None:
            return
        outer_id, attempt = waiting
        outcome = inner_outcome(attempt, inner, now)
        if outcome is not None:
            del self._waiting[inner.started.run_id]
            self._hosting.hand_in(now, outer_id, outcome)

    def turn_back(self, outer_id: str, now: float) -> None:
        """The outer run turns back: its inner runs that still go forward do so too."""
        for inner_id, (waiting_id, attempt) in tuple(self._waiting.items()):
            forward = attempt.direction is Direction.FORWARD
            if waiting_id == outer_id and forward and inner_id not in self._cancelled:
                self._cancelled.add(inner_id)
                cancel = CancelRequested(at=now, who=f"run {outer_id}", why="it turned back")
                self._hosting.ask(now, inner_id, cancel)

    def _take_back(self, outer_id: str, inner_id: str, attempt: AttemptStarted) -> None:
        wish = taking_back(attempt, self._hosting.find(inner_id), attempt.at, who=f"run {outer_id}")
        if wish is None or isinstance(wish, CancelRequested | OperatorActed):
            self._waiting[inner_id] = (outer_id, attempt)
        if isinstance(wish, CancelRequested | OperatorActed):
            self._hosting.ask(attempt.at, inner_id, wish)
        elif wish is not None:
            self._hosting.hand_in(attempt.at, outer_id, wish)
