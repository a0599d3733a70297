"""The stretch of simulated time in which the ladder is played: a logged past and a fresh future.

The past is lived under the author's plan and logged as any engine's runs are. The fresh trips begin a day
after the last logged one. Both belong to one world: outages and laws run on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sagacity_data.features import LaunchFeatures
from sagacity_data.recorder import Recorder
from sagacity_data.rows import AttemptRow, RunRow
from sagacity_data.store import DatasetStore
from sagacity_engine.advisor import author_advice
from sagacity_engine.events import Event
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.worlds import GOA_LAW, Trip, World, goa_trip, trips
from sagacity_engine.worlds.law import DAY_S, WorldLaw
from sagacity_training.ladder.play import TripOutcome, play

BEGIN = 1_736_121_600.0
"""Monday 6 January 2025, 00:00 UTC."""


@dataclass(frozen=True)
class Season:
    """A seeded world with `logged` trips in its past and `fresh` trips to come."""

    seed: int
    logged: int
    fresh: int
    law: WorldLaw = GOA_LAW

    @cached_property
    def past(self) -> list[Trip]:
        """The trips that were run under the author's plan."""
        return trips(self.law, seed=self.seed, label="logged", begin=BEGIN, count=self.logged)

    @cached_property
    def future(self) -> list[Trip]:
        """The trips that every policy is tried on."""
        begin = self.past[-1].at + DAY_S
        return trips(self.law, seed=self.seed, label="fresh", begin=begin, count=self.fresh)

    def world(self) -> World:
        """A new copy of the world, for one policy alone."""
        return World(self.law, seed=self.seed, begin=BEGIN, span_s=self.future[-1].at + DAY_S - BEGIN)


def log_past(
    season: Season, store: DatasetStore, progress: Callable[[int], None]
) -> tuple[list[TripOutcome], LaunchFeatures]:
    """Runs the past under the author's plan and logs it; the outcomes, and the features as of its end."""
    features = LaunchFeatures()
    recorder = Recorder(features)
    rows: list[AttemptRow | RunRow] = []

    def record(state: RunState, event: Event) -> None:
        rows.extend(recorder.observe(state, event))

    outcomes = play(
        goa_trip(),
        season.world(),
        season.past,
        lambda saga, _launch: author_advice(saga, "logging the author's plan"),
        record,
        progress=progress,
    )
    store.append(rows)
    return outcomes, features
