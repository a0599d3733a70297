"""Short histories: sagas run in virtual time against services that answer as a script says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, LaunchFeatures, Recorder, Row
from sagacity_engine import Direction, FailureClass, Kind, Launch, Saga
from sagacity_engine.advisor import author_advice
from sagacity_engine.events import AttemptStarted, Event
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.virtual.host import Reply, VirtualHost

Script = Mapping[str, Sequence[Reply]]


USUAL = Reply(duration_s=1.0)


@dataclass
class Scripted:
    """Answers the n-th attempt of `step` (or `undo step`) with the n-th scripted reply, else after 1 s."""

    script: Script

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        name = attempt.step if attempt.direction is Direction.FORWARD else f"undo {attempt.step}"
        replies = self.script.get(f"{state.started.run_id}: {name}", self.script.get(name, ()))
        return replies[attempt.attempt - 1] if attempt.attempt <= len(replies) else USUAL

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """Nothing to do."""


@dataclass
class Played:
    """What a play left: rows as the recorder gave them, and every run's events and last state."""

    rows: list[Row] = field(default_factory=list)
    events: dict[str, list[Event]] = field(default_factory=dict)
    states: dict[str, RunState] = field(default_factory=dict)

    @property
    def attempts(self) -> list[AttemptRow]:
        return [row for row in self.rows if isinstance(row, AttemptRow)]


Play = Callable[..., Played]


@pytest.fixture
def play() -> Play:
    """Run `saga` once per launch (run id, time, context) under the script; waits take half their ceiling."""

    def play_(
        saga: Saga,
        script: Script | None = None,
        launches: Sequence[tuple[str, float, Mapping[str, Any]]] = (("r1", 100.0, {}),),
        features: LaunchFeatures | None = None,
    ) -> Played:
        played, recorder = Played(), Recorder(features)

        def listen(state: RunState, event: Event) -> None:
            played.events.setdefault(state.started.run_id, []).append(event)
            played.states[state.started.run_id] = state
            played.rows.extend(recorder.observe(state, event))

        host = VirtualHost(Scripted(script or {}), lambda *_: 0.5, listen)
        for run_id, at, context in launches:
            launch = Launch(run_id=run_id, context=context, at=at)
            host.launch(saga, launch, lambda saga, _: author_advice(saga, "no advisor"))
        host.run()
        return played

    return play_


_ROW = AttemptRow(
    run_id="r1",
    saga="trip",
    definition_hash="0" * 64,
    step="book",
    service="hotels",
    region="",
    kind=Kind.COMPENSATABLE,
    direction=Direction.FORWARD,
    attempt=1,
    position=0,
    steps_done=0,
    in_flight=0,
    scheduled_at=100.0,
    started_at=100.0,
    timeout_s=10.0,
    maximum_attempts=3,
    ended_at=101.0,
    outcome=AttemptOutcome.SUCCEEDED,
    error_type="",
    failure_class=None,
    launch_at=100.0,
    arm="advised",
    propensity=0.9,
    fallback=False,
    advice_id="a1",
    model_version="7",
    context={},
    features={},
)


@pytest.fixture
def attempt_row() -> Callable[..., AttemptRow]:
    """Make a successful attempt of one second at second 100, with whatever is to differ."""

    def make(**changes: Any) -> AttemptRow:
        if changes.get("outcome") is AttemptOutcome.FAILED:
            changes = {"error_type": "Refused", "failure_class": FailureClass.UNKNOWN, **changes}
        return replace(_ROW, **changes)

    return make
