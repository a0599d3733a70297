"""What a watch finds in a growing dataset, what it remembers, and what it does about it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.train_watch import Watch
from sagacity_data.rows import AttemptOutcome, AttemptRow, RunRow
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction, Kind, Status
from sagacity_models.bundle import Bundle
from sagacity_models.errors import RegistryRefused
from sagacity_training.loop.watched import (
    STATE,
    WatchState,
    drifted,
    moved,
    seen_in,
    worse_than_the_holdout,
)
from sagacity_training.loop.watching import Trained, WatchPolicy
from sagacity_training.train import fit_bundle

BEGIN = 1_760_000_000.0
MINUTE = 60.0


def attempt(number: int, *, fails: bool, heat: float = 0.0, place: str = "north") -> AttemptRow:
    at = BEGIN + MINUTE * number
    return AttemptRow(
        run_id=f"run-{number:05}", saga="trip", definition_hash="h", step="pay", service="bank", region="",
        kind=Kind.COMPENSATABLE, direction=Direction.FORWARD, attempt=1, position=0, steps_done=0,
        in_flight=0, scheduled_at=at, started_at=at, timeout_s=None, maximum_attempts=1, ended_at=at + 1,
        outcome=AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED,
        error_type="Busy" if fails else "",
        failure_class=None, launch_at=at, arm="author", propensity=1.0, fallback=False, advice_id="",
        model_version="", context={}, features={"heat": heat, "place": place},
    )  # fmt: skip


def attempts(first: int, count: int, rate: float, **columns: Any) -> list[AttemptRow]:
    draw = random.Random(first)
    return [
        attempt(number, fails=draw.random() < rate, **{"heat": draw.gauss(0.0, 1.0), **columns})
        for number in range(first, first + count)
    ]


def runs(count: int, *, extra: float, begin: float = BEGIN) -> list[RunRow]:
    """Runs half of which are advised, at a cost of 10 and `extra` for the advised."""
    draw = random.Random(count)
    return [
        RunRow(
            run_id=f"told-{number:05}", saga="trip", definition_hash="h", launch_at=begin + 600.0 * number,
            ended_at=begin + 600.0 * number + 1, status=Status.COMPLETED, reason="",
            arm="advised" if number % 2 else "author", propensity=0.5, fallback=False, advice_id="",
            model_version="1", cost=10.0 + extra * (number % 2) + draw.gauss(0.0, 1.0), wasted_cost=0.0,
            latency_s=1.0, context={},
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The mean rate of 200 attempts, of which a tenth failed."""
    return fit_bundle(attempts(0, 200, 0.1), seed=1, at=BEGIN + 200 * MINUTE, parts=False).model


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetStore:
    store = DatasetStore(tmp_path / "dataset")
    store.append(attempts(0, 200, 0.1))
    return store


def test_a_step_that_fails_more_often_than_forecast_drifts(bundle: Bundle) -> None:
    """A tenth as forecast is no drift over 600 outcomes; a half is, soon, and it says which way."""
    assert drifted(bundle, attempts(300, 600, 0.1)) == ()
    first, *_ = drifted(bundle, attempts(300, 600, 0.5))
    assert (first.step, first.more) == ("trip/pay", True)
    assert first.outcomes < 60


def test_outcomes_of_launches_without_features_are_passed_over(bundle: Bundle) -> None:
    """What would have been forecast for them is not known."""
    bare = [replace(row, features={}) for row in attempts(300, 300, 0.9)]
    assert drifted(bundle, bare) == ()


def test_features_that_moved_are_named_farthest_first() -> None:
    """Numbers and categories that moved are found, those that did not are not, and few rows tell nothing."""
    before = attempts(0, 800, 0.1)
    assert moved(before, attempts(1000, 800, 0.1)) == ()
    found = moved(before, attempts(2000, 800, 0.1, place="south"))
    assert [each.feature for each in found] == ["place"]
    found = moved(before, attempts(3000, 800, 0.1, heat=9.0, place="south"))
    assert {each.feature for each in found} == {"heat", "place"}
    assert found[0].index >= found[1].index
    assert "heat is not what it was in training (stability index" in " ".join(each.words for each in found)
    assert moved(before, attempts(4000, 400, 0.1, heat=9.0)) == ()


def test_a_look_counts_runs_and_compares_only_what_is_new(dataset: DatasetStore, bundle: Bundle) -> None:
    """Without a training or a champion nothing is compared; else the launches since the training are."""
    dataset.append(runs(3, extra=0.0))
    dataset.append(attempts(300, 300, 0.6))
    early, late = Trained(at=BEGIN + 250 * MINUTE, runs=0), Trained(at=BEGIN + 700 * MINUTE, runs=0)
    told = seen_in(dataset.folder, bundle, None)
    assert (told.runs, told.alarms, told.moved) == (seen_in(dataset.folder, None, early).runs, (), ())
    assert seen_in(dataset.folder, bundle, early).alarms[0].step == "trip/pay"
    assert seen_in(dataset.folder, bundle, late).alarms == ()


def test_the_holdout_takes_back_only_what_is_surely_worse(dataset: DatasetStore) -> None:
    """Advised runs that cost a fifth more are surely worse than the holdout; later than all, nothing is."""
    dataset.append(runs(1_200, extra=2.0))
    assert "surely more than nothing" in worse_than_the_holdout(dataset.folder, BEGIN)
    assert worse_than_the_holdout(dataset.folder, BEGIN + 1e9) == ""


@pytest.mark.parametrize("extra", [0.0, -2.0])
def test_the_holdout_lets_the_rest_be(dataset: DatasetStore, extra: float) -> None:
    """No difference, or a gain, takes nothing back."""
    dataset.append(runs(1_200, extra=extra))
    assert worse_than_the_holdout(dataset.folder, BEGIN) == ""


def test_what_is_remembered_comes_back_and_nonsense_is_a_new_start(tmp_path: Path) -> None:
    """The state is read as it was written; a missing, broken or strange file is an empty state."""
    state = WatchState(trained=Trained(at=5.0, runs=7), champion="3", champion_since=4.0)
    state.write(tmp_path / "new")
    assert WatchState.read(tmp_path / "new") == state
    assert WatchState.read(tmp_path / "none") == WatchState()
    for text in (
        "",
        "[]",
        '{"trained": 5}',
        '{"trained": {"at": "x"}, "champion": 1, "champion_since": 0}',
        "[" * 9999,
    ):
        (tmp_path / "new" / STATE).write_text(text, "utf-8")
        assert WatchState.read(tmp_path / "new") == WatchState()


class Shelf:
    """A registry that remembers who its champion is, and has one version before it."""

    def __init__(self, folder: Path, line: list[str]) -> None:
        self.folder, self.line, self.reasons = folder, line, list[str]()

    def version(self) -> str | None:
        return self.line[-1] if self.line else None

    def verified_folder(self) -> Path:
        raise RegistryRefused("the champion's folder is gone; train again")

    def rollback(self, *, reason: str, by: str) -> tuple[str, str]:
        self.reasons.append(f"{by}: {reason}")
        gone = self.line.pop()
        return gone, self.line[-1]


Trains = Callable[[float], Any]


def watching(dataset: DatasetStore, shelf: Any, train: Trains, now: float) -> Watch:
    return Watch(dataset=dataset.folder, registry=shelf, train=train, as_json=True, clock=lambda: now)


def never(at: float) -> Any:
    raise AssertionError(f"trained at {at}")


def done(*, promoted: bool) -> Any:
    told = {"promoted": promoted, "reasons": ["because"]}
    return SimpleNamespace(verdict=SimpleNamespace(promoted=promoted), version="1", as_json=lambda: told)


def test_it_trains_once_on_the_same_data(
    dataset: DatasetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first look trains and says so; the next, of another process, finds nothing new and is silent."""
    asked: list[float] = []

    def train(at: float) -> Any:
        asked.append(at)
        return done(promoted=False)

    dataset.append(runs(30, extra=0.0))
    shelf = Shelf(tmp_path / "registry", [])
    assert watching(dataset, shelf, train, 1e10).run(WatchPolicy(), once=True) == 3
    event = json.loads(capsys.readouterr().out)
    assert (event["trained"], event["promoted"], event["at"]) == ("nothing was trained yet", False, 1e10)
    assert watching(dataset, shelf, train, 1e10 + 1e9).run(WatchPolicy(), once=True) == 0
    assert capsys.readouterr().out == ""
    assert asked == [1e10]


def test_a_refused_training_is_one_line_and_rests(
    dataset: DatasetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What training refuses ends no watch, and is not tried again before the rest is over."""

    def train(at: float) -> Any:
        raise BadInput(f"nothing to learn as of {at:.0f}")

    dataset.append(runs(900, extra=0.0))
    shelf = Shelf(tmp_path / "registry", [])
    assert watching(dataset, shelf, train, 1e10).run(WatchPolicy(), once=True) == 3
    assert "nothing to learn as of 10000000000" in capsys.readouterr().err
    assert watching(dataset, shelf, train, 1e10 + 60).run(WatchPolicy(), once=True) == 0
    assert capsys.readouterr().err == ""
    assert watching(dataset, shelf, train, 1e10 + 3600).run(WatchPolicy(), once=True) == 3


def test_a_champion_that_harms_is_taken_back_once(
    dataset: DatasetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs launched while it was champion decide; the version before it starts with a clean record."""
    shelf = Shelf(tmp_path / "registry", ["1", "2"])
    WatchState(trained=Trained(at=BEGIN, runs=1_200), champion="2", champion_since=BEGIN).write(shelf.folder)
    dataset.append(runs(1_200, extra=2.0))
    now = BEGIN + 600.0 * 1_200
    assert watching(dataset, shelf, never, now).run(WatchPolicy(rest_s=1e9), once=True) == 0
    event = json.loads(capsys.readouterr().out)
    assert (event["rolled_back"], event["champion"], shelf.line) == ("2", "1", ["1"])
    assert "surely more than nothing" in shelf.reasons[0]
    assert WatchState.read(shelf.folder).champion_since == now
    watching(dataset, shelf, never, now + 60).run(WatchPolicy(rest_s=1e9), once=True)
    assert shelf.line == ["1"]


def test_a_look_that_fails_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset that cannot be read is told, and the watch goes on."""
    shelf = Shelf(tmp_path / "registry", [])
    store = DatasetStore(tmp_path / "broken")
    store.folder.mkdir()
    (store.folder / "dataset.json").write_text("{", "utf-8")
    assert watching(store, shelf, never, 5.0).run(WatchPolicy(), once=True) == 0
    told = capsys.readouterr().err
    assert "looking again later" in told
    assert told.count("\n") == 1
