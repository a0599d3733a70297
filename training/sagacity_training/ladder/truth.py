"""What a world's true laws say about one launch: the forecasts of the *informed* and *oracle* policies.

Informed knows every law and what can be seen at launch; the hidden outages only through the exact filter over
the calls that this policy's own copy has finished. Oracle is also told each service's state at launch, but
nothing of the future. Load is frozen at its launch value in both. A step is the exact mixture of four
regimes: input permanently refused or not, service down or up.
"""

from __future__ import annotations

from collections.abc import Callable

from sagacity_engine.advisor import Context
from sagacity_engine.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
)
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.saga import Saga
from sagacity_engine.worlds import StepLaw, World
from sagacity_engine.worlds.law import AttemptLaw
from sagacity_models.forecast import Latency, Regime, SagaForecast, StepForecast, UndoForecast
from sagacity_training.ladder.outage_filter import OutageFilter

DownProbability = Callable[[str, float], float]
"""P(the service is down at a time), as far as a policy may know it."""


class TruthForecaster:
    """Forecasts from a world's own laws and a policy's knowledge of the outages."""

    def __init__(self, world: World, down: DownProbability, version: str) -> None:
        self._world = world
        self._down = down
        self._version = version

    def forecast(self, saga: Saga, context: Context, at: float) -> SagaForecast:
        """The exact laws of the saga's steps for a launch at `at`."""
        steps = {name: self._step(self._world.law.steps[name], context, at) for name in saga.names}
        return SagaForecast(steps=steps, model_version=self._version)

    def _step(self, law: StepLaw, context: Context, at: float) -> StepForecast:
        permanent = law.permanent(context)
        down = self._down(law.service, at)
        load = self._world.load(law.service)
        regimes: list[Regime] = []
        for state_weight, is_down in ((1 - down, False), (down, True)):
            attempt = law.attempt(at=at, load=load, down=is_down)
            latency = Latency(attempt.median_s, attempt.sigma)
            for weight, refused in ((1 - permanent, False), (permanent, True)):
                if state_weight * weight > 0:
                    regimes.append(Regime(state_weight * weight, attempt.failures(refused), latency, latency))
        undo = UndoForecast(law.undo_failure, Latency(law.undo_median_s, law.sigma))
        return StepForecast(regimes=tuple(regimes), undo=undo)


class OutageWatcher:
    """Feeds each service's exact filter with the calls that one copy of a world has finished."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._filters = {law.service: OutageFilter(law.outages) for law in world.law.steps.values()}
        self._open: dict[tuple[str, str], tuple[float, AttemptLaw, AttemptLaw]] = {}

    def probability_down(self, service: str, at: float) -> float:
        """P(the service is down at `at`) given every call finished so far."""
        return self._filters[service].probability_down(at)

    def listen(self, state: RunState, event: Event) -> None:
        """Told of every event of every run, as it happens."""
        match event:
            case AttemptStarted(direction=Direction.FORWARD):
                law = self._world.law.steps[event.step]
                load = self._world.load(law.service)
                self._open[state.started.run_id, event.step] = (
                    event.at,
                    law.attempt(at=event.at, load=load, down=False),
                    law.attempt(at=event.at, load=load, down=True),
                )
            case AttemptSucceeded() | AttemptFailed() | AttemptUnknown() if (
                event.direction is Direction.FORWARD
            ):
                start_at, up, down = self._open.pop((state.started.run_id, event.step))
                self._filters[self._world.law.steps[event.step].service].observe(start_at, event, up, down)
            case _:
                pass
