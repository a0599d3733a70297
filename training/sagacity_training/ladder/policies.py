"""The five ways to choose a trip's plan, as planners for virtual time.

author: the document as it stands. static: our optimizer fed with the log's mean rates, the best that needs no
learning. advised: the learned bundle with launch features that this policy's own calls keep up to date.
informed: the true laws of everything an advisor can see. oracle: also the hidden state at launch. All but
author use the same optimizer, so differences are differences of knowledge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sagacity_data.features import LaunchFeatures
from sagacity_data.recorder import Recorder
from sagacity_engine.advisor import Advice, Launch, author_advice
from sagacity_engine.events import Event
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.saga import Saga
from sagacity_engine.virtual.host import Listener, Planner
from sagacity_engine.worlds import World
from sagacity_models.base_rate_forecaster import BaseRateForecaster
from sagacity_models.bundle import load_bundle
from sagacity_models.forecaster import BundleForecaster
from sagacity_optimizer.advisor import ModelAdvisor
from sagacity_training.ladder.truth import OutageWatcher, TruthForecaster

if TYPE_CHECKING:
    from sagacity_optimizer.advisor import Forecaster


class PolicyName(StrEnum):
    """Who chooses the plan."""

    AUTHOR = "author"  # The document as it stands.
    STATIC = "static"  # The optimizer with the log's mean rates.
    ADVISED = "advised"  # The optimizer with the learned bundle.
    INFORMED = "informed"  # The optimizer with the true laws and an exact filter for what is hidden.
    ORACLE = "oracle"  # The optimizer with the true laws and the hidden state at launch.


@dataclass(frozen=True, slots=True)
class Policy:
    """A planner, and what it must be told of while runs go on."""

    plan: Planner
    listen: Listener


def policy(name: PolicyName, world: World, bundle: Path, warm: LaunchFeatures) -> Policy:
    """The policy `name` for its own copy of a world; `warm` holds the features as of the end of the log."""
    if name is PolicyName.AUTHOR:
        return Policy(lambda saga, _launch: author_advice(saga, "the author's plan"), _deaf)
    if name is PolicyName.STATIC:
        return _optimized(BaseRateForecaster(load_bundle(bundle).base), _deaf)
    if name is PolicyName.ADVISED:
        recorder = Recorder(warm)

        def record(state: RunState, event: Event) -> None:
            recorder.observe(state, event)

        return _optimized(BundleForecaster(load_bundle(bundle), warm), record)
    if name is PolicyName.INFORMED:
        watcher = OutageWatcher(world)
        return _optimized(TruthForecaster(world, watcher.probability_down, "informed"), watcher.listen)
    return _optimized(TruthForecaster(world, _true_state(world), "oracle"), _deaf)


def _optimized(forecaster: Forecaster, listen: Listener) -> Policy:
    advisor = ModelAdvisor(forecaster)

    def plan(saga: Saga, launch: Launch) -> Advice:
        return advisor.plan_for(saga, launch)

    return Policy(plan, listen)


def _deaf(state: RunState, event: Event) -> None:
    """A listener for policies that learn nothing from their runs."""
    del state, event


def _true_state(world: World) -> Callable[[str, float], float]:
    return lambda service, at: float(world.outages[service].down(at))
