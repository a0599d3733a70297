from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import (
    AttemptOutcome,
    AttemptRow,
    DatasetRefused,
    DatasetStore,
    FailureKind,
    LabelSource,
    LaunchFeatures,
    Row,
    RunRow,
)
from sagacity_data.erasure import erase
from sagacity_data.sinks import Buffer
from sagacity_data.store_where import Where
from sagacity_data.validation import validate
from sagacity_data.validation_findings import SHOWN_MAX, Check, Validation
from sagacity_data.validation_rows import row_problems
from sagacity_engine import Compensation, Saga, Status, Step
from sagacity_engine.virtual.host import Reply

Make = Callable[..., AttemptRow]
DAY = 86_400.0
NOW = 100 * DAY
TRIP = Saga(
    name="trip",
    steps=(Step(name="book", service="hotels", compensation=Compensation(cost=2.0)), Step(name="pay")),
)


@pytest.fixture
def rows(play: Callable[..., Any]) -> list[Row]:
    """Six runs over two days, one of them refused at its second step, with the features of their launch."""
    script = {"r3: pay": [Reply(duration_s=1.0, error_type="Declined")] * 3}
    launches = [(f"r{n}", 1000.0 + n * DAY / 3, {"season": "high", "party": n}) for n in range(6)]
    told: list[Row] = play(TRIP, script, launches, LaunchFeatures()).rows
    assert all(row.features for row in told if isinstance(row, AttemptRow))
    return told


def kept(folder: Path, rows: list[Row], *, definitions: bool = True) -> DatasetStore:
    store = DatasetStore(folder)
    store.append(rows)
    if definitions:
        store.keep_definitions([TRIP])
    return store


def with_one_changed(rows: list[Row], run_id: str, step: str, **changes: Any) -> list[Row]:
    return [
        replace(row, **changes)
        if isinstance(row, AttemptRow) and row.run_id == run_id and row.step == step
        else row
        for row in rows
    ]


def told_of(report: Validation) -> set[tuple[Check, str, str]]:
    return {(found.check, found.run_id, found.step) for found in report.findings}


def attempts(rows: list[Row]) -> list[AttemptRow]:
    return [row for row in rows if isinstance(row, AttemptRow)]


def test_what_the_recorder_wrote_is_sound(tmp_path: Path, rows: list[Row]) -> None:
    """Recorded rows give no finding: every feature is what a replay of the rows before its launch gives."""
    report = validate(kept(tmp_path, rows), now=NOW)
    assert report.sound
    assert report.findings == []
    assert (report.runs, report.attempts, report.files) == (6, len(attempts(rows)), 4)
    assert report.replayed == report.attempts
    assert not report.notes


@pytest.mark.parametrize(
    ("name", "leaking"),
    [
        ("saga_failure_1d", lambda row, run: float(run.status is not Status.COMPLETED)),
        ("service_last_outcome", lambda row, run: row.outcome.value),
        ("step_log_latency_7d", lambda row, run: row.duration_s),
        ("runs_in_flight", lambda row, run: -1.0),
    ],
)
def test_a_leaking_feature_is_caught(
    tmp_path: Path, rows: list[Row], name: str, leaking: Callable[[AttemptRow, RunRow], Any]
) -> None:
    """A feature with a known name that is computed with the run's own end is told by run and step."""
    runs = {row.run_id: row for row in rows if isinstance(row, RunRow)}
    planted = [
        replace(row, features={**row.features, name: leaking(row, runs[row.run_id])})
        if isinstance(row, AttemptRow) and row.run_id == "r3"
        else row
        for row in rows
    ]
    report = validate(kept(tmp_path, planted), now=NOW)
    assert set(report.counts) == {Check.LEAK}
    assert {found.run_id for found in report.findings} == {"r3"}
    assert name in report.findings[0].words


def test_a_leak_before_an_erasure_of_history_is_not_judged(tmp_path: Path, rows: list[Row]) -> None:
    """Where history is missing, a replay cannot tell a leak; what needs no history is compared still."""
    planted = with_one_changed(rows, "r5", "pay", features={**attempts(rows)[-1].features, "weekday": 9.0})
    store = kept(tmp_path, planted)
    erase(store, Where(run_id="r0"))
    report = validate(store, now=NOW)
    assert told_of(report) == {(Check.LEAK, "r5", "pay")}
    assert all("weekday" in found.words for found in report.findings)
    assert any("erased" in note for note in report.notes)


def test_a_sample_bounds_the_replay(tmp_path: Path, rows: list[Row]) -> None:
    """So many runs are replayed, against all of the history; the checks of rows are of every row."""
    report = validate(kept(tmp_path, rows), now=NOW, sample=2)
    assert report.sound
    assert report.replayed == sum(row.run_id in ("r0", "r3") for row in attempts(rows))
    assert report.attempts == len(attempts(rows))


def test_features_without_their_definition_are_noted(tmp_path: Path, rows: list[Row]) -> None:
    """What cannot be replayed is counted, not passed over in silence."""
    report = validate(kept(tmp_path, rows, definitions=False), now=NOW)
    assert report.sound
    assert report.replayed == 0
    assert report.notes == {"attempts whose definition is not kept: not replayed": len(attempts(rows))}


def test_a_future_row_is_caught(tmp_path: Path, rows: list[Row]) -> None:
    """An attempt that ended later than now, and a label known later than now, are told."""
    last = attempts(rows)[-1]
    assert last.ended_at is not None
    now = last.ended_at + 10.0
    future = replace(last, run_id="r9", ended_at=now + 5.0)
    label = replace(
        last,
        run_id="r8",
        outcome=AttemptOutcome.FAILED,
        failure_kind=FailureKind.TRANSIENT,
        kind_source=LabelSource.HINDSIGHT,
        kind_known_at=now + 1.0,
    )
    report = validate(
        kept(tmp_path, [*rows, replace(future, features={}), replace(label, features={})]), now=now
    )
    assert told_of(report) == {(Check.FUTURE, "r9", "pay"), (Check.FUTURE, "r8", "pay")}
    (of_label,) = (found for found in report.findings if found.run_id == "r8")
    assert of_label.words == f"kind_known_at {now + 1.0!r} is later than now, {now!r}"
    assert of_label.path.startswith("attempts/day=")
    assert (of_label.direction, of_label.attempt) == ("forward", 1)


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"ended_at": 99.0}, Check.TIMES, "ended_at 99.0 lies before started_at 100.0"),
        ({"started_at": 99.0}, Check.TIMES, "started_at 99.0 lies before scheduled_at 100.0"),
        ({"scheduled_at": 99.5}, Check.TIMES, "scheduled_at 99.5 lies before launch_at 100.0"),
        (
            {"scheduled_at": None, "started_at": None, "ended_at": 1.0},
            Check.TIMES,
            "ended_at 1.0 lies before launch_at 100.0",
        ),
        ({"ended_at": 5000.0}, Check.FUTURE, "ended_at 5000.0 is later than now, 1000.0"),
        ({"ended_at": NAN}, Check.RANGE, "ended_at is nan, which is no time"),
        ({"attempt": 0}, Check.RANGE, "attempt is 0, not a number from 1 on"),
        ({"position": -1}, Check.RANGE, "position is -1, not a number from 0 on"),
        ({"timeout_s": float("inf")}, Check.RANGE, "timeout_s is inf, not a number from 0 on"),
        ({"propensity": 0.0}, Check.RANGE, "propensity is 0.0, not in (0, 1]"),
        ({"propensity": 1.5}, Check.RANGE, "propensity is 1.5, not in (0, 1]"),
        ({"propensity": NAN}, Check.RANGE, "propensity is nan, not in (0, 1]"),
        (
            {"error_type": "X"},
            Check.CONTRADICTION,
            "it succeeded and has an error or a failure's class or kind",
        ),
        ({"outcome": AttemptOutcome.OPEN}, Check.CONTRADICTION, "it is open and ended at 101.0"),
        (
            {"kind_source": LabelSource.USER},
            Check.CONTRADICTION,
            "somebody says a kind of failure, and there is none",
        ),
        ({"features": {"luck": 1.0}}, Check.FEATURE, "'luck' is no feature of the catalogue"),
        ({"features": {"weekday": "Monday"}}, Check.FEATURE, "weekday is 'Monday', a str"),
        ({"features": {"step_kind": 1.0}}, Check.FEATURE, "step_kind is 1.0, a float"),
        ({"features": {"weekday": NAN}}, Check.FEATURE, "weekday is nan"),
        (
            {"features": {"context.n": 1.0}},
            Check.FEATURE,
            "context.n is 1.0 and the context says None",
        ),
        (
            {"features": {"attempt_number": 1.0}},
            Check.NOT_AT_LAUNCH,
            "attempt_number is known from the attempt on, not at the launch",
        ),
    ],
)
def test_what_is_wrong_with_one_row(
    attempt_row: Make, changes: dict[str, Any], check: Check, words: str
) -> None:
    """Each rule tells the column, its value and what it should be; nothing else is told."""
    assert list(row_problems(attempt_row(**changes), 1000.0)) == [(check, words)]


def test_a_label_older_than_its_end_is_caught(attempt_row: Make) -> None:
    """Nobody can say what kind a failure is before it has happened."""
    row = attempt_row(
        outcome=AttemptOutcome.FAILED,
        failure_kind=FailureKind.TRANSIENT,
        kind_source=LabelSource.HINDSIGHT,
        kind_known_at=100.5,
    )
    ((check, words),) = row_problems(row, 1000.0)
    assert check is Check.KNOWN_TOO_EARLY
    assert words == "kind_known_at 100.5 lies before the end it is about, 101.0"


def test_a_sound_row_has_no_problem(attempt_row: Make) -> None:
    """Missing values break no rule, and neither do features that say what the context says."""
    bare = attempt_row(scheduled_at=None, started_at=None, ended_at=None, launch_at=None, timeout_s=None)
    told = attempt_row(context={"n": 2}, features={"context.n": 2.0, "weekday": 3.0, "step_kind": "pivot"})
    assert [*row_problems(bare, 1000.0), *row_problems(told, 1000.0)] == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"ended_at": 0.0}, Check.TIMES),
        ({"status": Status.RUNNING}, Check.CONTRADICTION),
        ({"latency_s": 1.0}, Check.CONTRADICTION),
        ({"wasted_cost": 1e9}, Check.CONTRADICTION),
        ({"cost": -1.0, "wasted_cost": None}, Check.RANGE),
        ({"ended_at": NOW + 1.0, "latency_s": None}, Check.FUTURE),
    ],
)
def test_what_is_wrong_with_a_run(rows: list[Row], changes: dict[str, Any], check: Check) -> None:
    """Runs are held to their own rules."""
    run = next(row for row in rows if isinstance(row, RunRow))
    assert list(row_problems(run, NOW)) == []
    assert check in {found for found, _ in row_problems(replace(run, **changes), NOW)}


def test_rows_of_one_run_have_to_agree(tmp_path: Path, rows: list[Row]) -> None:
    """An attempt that names another tenant than its run is told; rows without the other kind are noted."""
    planted = with_one_changed(rows, "r1", "pay", tenant="acme")
    planted = [row for row in planted if not (isinstance(row, RunRow) and row.run_id == "r2")]
    planted = [row for row in planted if not (isinstance(row, AttemptRow) and row.run_id == "r4")]
    report = validate(kept(tmp_path, planted, definitions=False), now=NOW)
    assert told_of(report) == {(Check.RUN, "r1", "pay")}
    assert report.findings[0].words == "tenant is 'acme', and its run's ''"
    assert report.notes["runs that only attempts tell of: they may go on still"] == 1
    assert report.notes["runs without an attempt"] == 1


def test_duplicates_are_counted(tmp_path: Path, rows: list[Row]) -> None:
    """Rows written twice are no fault: they are counted, and looked at once."""
    store = kept(tmp_path, rows)
    store.append(rows)
    report = validate(store, now=NOW)
    assert report.sound
    assert report.attempts == len(attempts(rows))
    assert report.notes == {"rows with the identity of one written before: not read": len(rows)}


def test_damage_is_told_and_the_rest_looked_at(tmp_path: Path, rows: list[Row], attempt_row: Make) -> None:
    """A file that is not the one written, a missing one and an altered definition are told, not raised."""
    planted = [*rows, attempt_row(run_id="r9", step="late", launch_at=10 * DAY, ended_at=NOW + 1)]
    store = kept(
        tmp_path, [replace(row, features={}) if isinstance(row, AttemptRow) else row for row in planted]
    )
    one, two = sorted((tmp_path / "runs").rglob("*.parquet"))
    one.write_bytes(one.read_bytes()[:-1])
    two.unlink()
    (definition,) = (tmp_path / "definitions").iterdir()
    definition.write_text(definition.read_text().replace("hotels", "motels"))
    report = validate(store, now=NOW)
    assert {each.path for each in report.damaged} == {
        one.relative_to(tmp_path).as_posix(),
        two.relative_to(tmp_path).as_posix(),
        f"definitions/{TRIP.definition_hash}.json",
    }
    assert not report.sound
    assert (Check.FUTURE, "r9", "late") in told_of(report)
    assert "features were not replayed, for a file is damaged" in report.notes


def test_a_row_under_another_day_is_caught(tmp_path: Path, attempt_row: Make) -> None:
    """A file that was moved to another day holds rows that a reading by time does not find."""
    from sagacity_data.store_parts import Part, listed_parts, replace_list

    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = listed_parts(tmp_path)
    name = part.name.replace("1970-01-01", "1970-01-05")
    (tmp_path / name).parent.mkdir()
    (tmp_path / part.name).rename(tmp_path / name)
    replace_list(tmp_path, [Part(name, part.rows, part.bytes)])
    report = validate(store, now=NOW)
    assert told_of(report) == {(Check.DAY, "r1", "book")}


def test_strangers_and_buffered_rows_are_looked_at(tmp_path: Path, attempt_row: Make) -> None:
    """A file of rows that nobody listed is noted; a row that has reached no file is held to the rules."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = tmp_path.rglob("*.parquet")
    part.with_name("copy.parquet").write_bytes(part.read_bytes())
    buffer = Buffer(tmp_path)
    buffer.write([attempt_row(run_id="r2", attempt=0)])
    buffer.close()
    report = validate(store, now=NOW)
    assert told_of(report) == {(Check.RANGE, "r2", "book")}
    assert report.findings[0].path == "buffer.db"
    assert report.notes["files of rows that no list names: they are not read"] == 1


def test_many_findings_are_counted_and_some_told(tmp_path: Path, attempt_row: Make) -> None:
    """A fault in every row does not make the report as long as the dataset."""
    store = DatasetStore(tmp_path)
    store.append(attempt_row(run_id=f"r{n}", position=-1) for n in range(SHOWN_MAX + 50))
    report = validate(store, now=NOW)
    assert report.counts == {Check.RANGE: SHOWN_MAX + 50}
    assert len(report.findings) == SHOWN_MAX


def test_no_dataset_cannot_be_validated(tmp_path: Path) -> None:
    """A folder without a dataset is refused instead of found sound."""
    with pytest.raises(DatasetRefused, match="holds no dataset"):
        validate(DatasetStore(tmp_path), now=NOW)
