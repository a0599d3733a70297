"""All policies over the same fresh trips, side by side in separate processes."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from sagacity_data.features import LaunchFeatures
from sagacity_engine.worlds import goa_trip
from sagacity_training.ladder.play import TripOutcome, play
from sagacity_training.ladder.policies import PolicyName, policy
from sagacity_training.ladder.season import Season

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Race:
    """What each process needs to play its policy: values and paths only."""

    season: Season
    bundle: Path
    snapshot: Path


def run_race(
    race: Race, names: Sequence[PolicyName], *, workers: int, progress: Progress
) -> dict[str, list[TripOutcome]]:
    """Every policy's outcomes, by name; `progress(name, trips done)` is called as they advance."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        reports: Queue[tuple[str, int]] = manager.Queue()
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = {pool.submit(play_policy, race, name, reports): name for name in names}
            _follow(set(futures), reports, progress)
            return {name.value: future.result() for future, name in futures.items()}


def play_policy(race: Race, name: PolicyName, reports: Queue[tuple[str, int]] | None) -> list[TripOutcome]:
    """One policy's play, in this process."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    # Policies already share the cores; threads inside one would only wait for each other.
    with threadpool_limits(1):
        return _played(race, name, reports)


def _played(race: Race, name: PolicyName, reports: Queue[tuple[str, int]] | None) -> list[TripOutcome]:
    world = race.season.world()
    warm = LaunchFeatures.restore(json.loads(race.snapshot.read_text(encoding="utf-8")))
    chosen = policy(name, world, race.bundle, warm)

    def report(done: int) -> None:
        if reports is not None and done % 50 == 0:
            reports.put((name.value, done))

    return play(goa_trip(), world, race.season.future, chosen.plan, chosen.listen, progress=report)


def _follow(pending: set[Future[Any]], reports: Queue[tuple[str, int]], progress: Progress) -> None:
    while pending:
        _, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        while True:
            try:
                progress(*reports.get_nowait())
            except Empty:
                break
