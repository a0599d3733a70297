"""Real histories; every figure below was read by eye from the JSON."""

from pathlib import Path

import pytest

from sagacity_data.importers.cadence import read_runs
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun
from sagacity_data.importers.reading import Hints, Tally
from sagacity_engine import Status


@pytest.fixture
def folder(shared_data: Path) -> Path:
    if not (shared_data / "cadence").is_dir():
        pytest.skip("the real Cadence histories are not on this machine")
    return shared_data / "cadence/go-client"


def read(path: Path, tally: Tally | None = None) -> ForeignRun:
    (run,) = read_runs(path, Hints(), tally or Tally())
    return run


def lasted(tried: ForeignAttempt) -> float:
    assert tried.started_at is not None
    assert tried.ended_at is not None
    return tried.ended_at - tried.started_at


def test_every_history_is_read(folder: Path) -> None:
    """One run each, and no event type is unknown."""
    files = sorted(folder.glob("*.json"))
    assert len(files) >= 15
    for path in files:
        tally = Tally()
        read(path, tally)
        assert not tally.skipped


def test_three_calls_of_one_activity(folder: Path) -> None:
    """Each succeeded at once; the history ends before the run did."""
    run = read(folder / "basic.json")
    assert [(tried.step, tried.attempt, tried.outcome.value) for tried in run.attempts] == [
        ("main.helloworldActivity", 1, "succeeded"),
        ("main.helloworldActivity#2", 1, "succeeded"),
        ("main.helloworldActivity#3", 1, "succeeded"),
    ]
    assert [lasted(tried) for tried in run.attempts] == pytest.approx(
        [0.007304, 0.003683, 0.005432], abs=2e-6
    )
    assert (run.status, run.ended_at) == (Status.RUNNING, None)


def test_three_activities_in_a_row(folder: Path) -> None:
    """Greeting, name, and both together."""
    run = read(folder / "greetings.json")
    took = {tried.step: lasted(tried) for tried in run.attempts}
    assert took == pytest.approx(
        {
            "main.getGreetingActivity": 0.014941,
            "main.getNameActivity": 0.011512,
            "main.sayGreetingActivity": 0.012223,
        },
        abs=2e-6,
    )
    assert {tried.timeout_s for tried in run.attempts} == {60}
    assert run.status is Status.COMPLETED


def test_parallel_branches_are_in_start_order(folder: Path) -> None:
    """The third was scheduled before the first two had started, and all three succeeded."""
    run = read(folder / "branch.json")
    assert [tried.step for tried in run.attempts] == [
        "main.sampleActivity",
        "main.sampleActivity#2",
        "main.sampleActivity#3",
    ]
    starts = [tried.started_at for tried in run.attempts]
    assert starts == pytest.approx([1679416556.033170, 1679416556.034104, 1679416556.068643], abs=2e-6)


def test_a_run_that_timed_out_with_activities_nobody_took_up(folder: Path) -> None:
    """One activity took 5.008284 s; two calls to `bad_tl` stayed open."""
    run = read(folder / "activity.cancel.sm.repro.json")
    told = {tried.step: (tried.outcome.value, tried.service) for tried in run.attempts}
    assert told == {
        "Prefix_ToUpperWithDelay": ("succeeded", ""),
        "Prefix_ToUpper": ("open", "bad_tl"),
        "Prefix_ToUpper#2": ("open", "bad_tl"),
    }
    assert lasted(run.attempts[-1]) == pytest.approx(5.008284, abs=2e-6)
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "timed out")


def test_a_child_workflow(folder: Path) -> None:
    """It goes by the type that the parent asked for, and took 10.230202 s."""
    (tried,) = read(folder / "child_bug.json").attempts
    assert (tried.step, tried.outcome.value, tried.timeout_s) == ("child", "succeeded", 30)
    assert lasted(tried) == pytest.approx(10.230202, abs=2e-6)


def test_local_activities(folder: Path) -> None:
    """13 markers of 13 types; when they started is not told."""
    run = read(folder / "localActivities.json")
    assert len({tried.step for tried in run.attempts}) == 13
    assert {(tried.outcome.value, tried.started_at) for tried in run.attempts} == {("succeeded", None)}
    assert run.attempts[0].ended_at == pytest.approx(1595342431.763850, abs=2e-6)


def test_a_cron_run_that_timed_out_and_goes_on(folder: Path) -> None:
    """The schedule continued it as new although it had failed, so it has failed."""
    run = read(folder / "continue_as_new.json")
    assert (run.status, run.attempts) == (Status.COMPENSATED, ())
    assert run.reason.endswith("continued as new: 06c2468c-2d2d-44f7-ac7a-ff3c383f6e90")
