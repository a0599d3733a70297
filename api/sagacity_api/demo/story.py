"""The whole loop in one command: log, learn, advise, compare, live through a kill.

Everything is a function of the seed except the live part, whose processes share a real machine. The world and
the author's plan are `sagacity_engine.worlds`' own and were fixed before any policy was run on them. Whatever
falls short is said plainly and makes the exit code 3.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagacity_api.demo.aftermath import LiveReport
from sagacity_api.demo.live import LiveSetting, run_live
from sagacity_api.demo.narration import Narrator
from sagacity_api.demo.telling import tell_ladder, tell_live, tell_log, tell_plan, tell_training, what_next
from sagacity_data.store import DatasetStore
from sagacity_engine.worlds import goa_trip
from sagacity_training.ladder.compare import Comparison, summary
from sagacity_training.ladder.play import TripOutcome
from sagacity_training.ladder.policies import PolicyName
from sagacity_training.ladder.race import Race, run_race
from sagacity_training.ladder.season import Season, log_past

MARK = ".sagacity-demo"


@dataclass(frozen=True, slots=True)
class Scale:
    """How many trips are logged, played afresh under each policy, and run live."""

    logged: int = 4_000
    fresh: int = 2_000
    live: int = 200


FULL = Scale()


class DemoRefused(Exception):
    """The demo cannot use the folder it was given; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo keeps what it makes."""

    root: Path

    @property
    def dataset(self) -> Path:
        """The logged history."""
        return self.root / "dataset"

    @property
    def registry(self) -> Path:
        """The tracking store and its registered models."""
        return self.root / "registry"

    @property
    def bundle(self) -> Path:
        """The trained bundle."""
        return self.root / "bundle"

    @property
    def snapshot(self) -> Path:
        """The launch features as of the end of the history."""
        return self.root / "features.json"

    @property
    def live(self) -> Path:
        """The live part's journal and logs."""
        return self.root / "live"


def run_demo(*, into: Path, seed: int, as_json: bool, workers: int = 2, scale: Scale = FULL) -> int:
    """Plays the whole demo; returns the exit code: 0 when every promise held, 3 when one did not.

    Raises `DemoRefused` when `into` exists and is not an earlier demo's folder, and `LiveFailed` when a
    process of the live part does not start or end.
    """
    began = time.monotonic()
    places = prepare(into)
    narrator = Narrator(quiet=as_json)
    season = Season(seed=seed, logged=scale.logged, fresh=scale.fresh)
    _log(season, places, narrator)
    _train(season, places, narrator)
    tell_plan(narrator, places.bundle, places.snapshot, season.future[0])
    figures, shortfalls = _compare(season, places, narrator, workers)
    live = _live(season, places, narrator, scale.live)
    shortfalls += tell_live(narrator, live, scale.live)
    what_next(narrator, places.root, places.bundle, time.monotonic() - began)
    if as_json:
        print(json.dumps({**figures, "live": live.plain()}))
    return 3 if shortfalls else 0


def prepare(into: Path) -> Places:
    """An empty folder for the demo; an earlier demo's folder is replaced, anything else is left alone."""
    if into.exists() and any(into.iterdir() if into.is_dir() else [into]):
        if not (into / MARK).is_file():
            raise DemoRefused(f"{into} exists and was not made by the demo; name another folder with --into")
        shutil.rmtree(into)
    into.mkdir(parents=True, exist_ok=True)
    (into / MARK).write_text("Made by `sagacity demo`, which may replace this folder.\n", encoding="utf-8")
    return Places(into.resolve())


def _log(season: Season, places: Places, narrator: Narrator) -> None:
    with narrator.progress("logging under author's plan", season.logged) as advance:
        outcomes, features = log_past(season, DatasetStore(places.dataset), advance)
    places.snapshot.write_text(json.dumps(features.snapshot()), encoding="utf-8")
    tell_log(narrator, season, outcomes)


def _train(season: Season, places: Places, narrator: Narrator) -> None:
    from sagacity_models.registry import Registry
    from sagacity_training.train import train_steps

    with narrator.task("training") as tell:
        result = train_steps(
            places.dataset,
            seed=season.seed,
            at=season.future[0].at,
            registry=Registry(places.registry),
            folder=places.bundle,
            progress=tell,
        )
    tell_training(narrator, result)


def _compare(
    season: Season, places: Places, narrator: Narrator, workers: int
) -> tuple[dict[str, Any], list[str]]:
    race = Race(season, places.bundle, places.snapshot)
    # The longest first, so that the processes end at about the same time.
    names = [
        PolicyName.ADVISED,
        PolicyName.INFORMED,
        PolicyName.ORACLE,
        PolicyName.STATIC,
        PolicyName.AUTHOR,
    ]
    with narrator.many([name.value for name in names], season.fresh, "comparing policies") as advance:
        outcomes: dict[str, list[TripOutcome]] = run_race(race, names, workers=workers, progress=advance)
    comparison = Comparison(outcomes, seed=season.seed)
    shown = [name.value for name in PolicyName]
    return summary(comparison, shown), tell_ladder(narrator, comparison, season, shown)


def _live(season: Season, places: Places, narrator: Narrator, sagas: int) -> LiveReport:
    setting = LiveSetting(places.live, places.bundle, places.dataset, season.seed)
    with narrator.progress("live sagas over HTTP", sagas) as advance:
        return run_live(setting, goa_trip(), season.future[:sagas], advance)
