"""One policy's own copy of a world: the services of virtual runs, with load that this policy itself causes.

Outages follow the world's seed and time alone, so they are the same in every copy. Luck is keyed by trip,
step and attempt. Only the calls in flight differ, because they are this policy's own.
"""

from __future__ import annotations

from collections import defaultdict

from sagacity_engine.errors import FailureClass
from sagacity_engine.events import AttemptStarted, Direction
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.virtual.host import Reply
from sagacity_engine.worlds.draws import log_normal, uniform
from sagacity_engine.worlds.law import CAPACITY, ERROR_TYPES, AttemptLaw, StepLaw, WorldLaw
from sagacity_engine.worlds.outages import Outages


class World:
    """Services for `VirtualHost`. Same law, seed and span: the same world."""

    def __init__(self, law: WorldLaw, *, seed: int, begin: float, span_s: float) -> None:
        self.law = law
        self._seed = seed
        self._in_flight: dict[str, int] = defaultdict(int)
        self.outages = {
            step.service: Outages(step.outages, seed=seed, service=step.service, begin=begin, span_s=span_s)
            for step in law.steps.values()
        }

    def load(self, service: str) -> float:
        """Calls of this policy now in flight at the service, per capacity."""
        return self._in_flight[service] / CAPACITY

    def attempt_law(self, step: str, at: float) -> AttemptLaw:
        """The true law of a call made at `at`, under the present load and the hidden state."""
        law = self.law.steps[step]
        return law.attempt(at=at, load=self.load(law.service), down=self.outages[law.service].down(at))

    def call(self, state: RunState, attempt: AttemptStarted) -> Reply:
        """How this attempt goes; it counts as load until it is settled."""
        law = self.law.steps[attempt.step]
        if attempt.direction is Direction.UNDO:
            return self._undo(law, state, attempt)
        now = self.attempt_law(attempt.step, attempt.at)
        self._in_flight[law.service] += 1
        trip, number = state.started.run_id, attempt.attempt
        duration_s = log_normal(now.median_s, now.sigma, self._draw(trip, attempt.step, number, "duration"))
        if self._draw(trip, attempt.step, number, "service") < now.service_failure:
            unavailable = self._draw(trip, attempt.step, number, "error") < now.unavailable_share
            error_type = "ServiceUnavailable" if unavailable else "ConnectionReset"
            return Reply(duration_s=duration_s, error_type=error_type, failure_class=ERROR_TYPES[error_type])
        if self._draw(trip, attempt.step, 0, "permanent") < law.permanent(state.started.context):
            return Reply(duration_s=duration_s, error_type=law.refusal, failure_class=FailureClass.PERMANENT)
        return Reply(duration_s=duration_s)

    def settled(self, state: RunState, attempt: AttemptStarted, at: float) -> None:
        """The caller stopped waiting: the call no longer counts as load."""
        del state, at
        if attempt.direction is Direction.FORWARD:
            self._in_flight[self.law.steps[attempt.step].service] -= 1

    def jitter(self, run_id: str, step: str, direction: Direction, attempt: int) -> float:
        """The uniform draw for the backoff after an attempt."""
        return self._draw(run_id, step, attempt, f"jitter-{direction.value}")

    def _undo(self, law: StepLaw, state: RunState, attempt: AttemptStarted) -> Reply:
        trip, number = state.started.run_id, attempt.attempt
        duration_s = log_normal(
            law.undo_median_s, law.sigma, self._draw(trip, attempt.step, number, "undo-duration")
        )
        if self._draw(trip, attempt.step, number, "undo") < law.undo_failure:
            return Reply(
                duration_s=duration_s, error_type="ConnectionReset", failure_class=FailureClass.TRANSIENT
            )
        return Reply(duration_s=duration_s)

    def _draw(self, trip: str, step: str, number: int, purpose: str) -> float:
        return uniform(self._seed, trip, step, number, purpose)
