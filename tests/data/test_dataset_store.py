from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptOutcome, AttemptRow, DatasetRefused, DatasetStore, Row, RunRow, row_tables
from sagacity_engine import Direction, FailureClass, Kind, Saga, Status, Step
from sagacity_engine.virtual.host import Reply

Make = Callable[..., AttemptRow]
DAY = 86_400.0


def run_row(run_id: str = "r1", launch_at: float | None = 100.0) -> RunRow:
    return RunRow(
        run_id=run_id,
        saga="trip",
        definition_hash="0" * 64,
        launch_at=launch_at,
        ended_at=None,
        status=Status.COMPENSATED,
        reason="sold out",
        arm="author",
        propensity=0.1,
        fallback=True,
        advice_id="",
        model_version="",
        cost=1 / 3,
        wasted_cost=0.1,
        latency_s=None,
        context={},
    )


def test_history_comes_back_without_features(tmp_path: Path, attempt_row: Make) -> None:
    """What signals are replayed from is the same rows, only their stored features are left out."""
    store = DatasetStore(tmp_path / "data")
    row = attempt_row(features={"rate": 0.5}, context={"season": "high"})
    store.append([row, run_row()])
    assert store.read_history() == [replace(row, features={}), run_row()]


def test_rows_come_back_exactly(tmp_path: Path, attempt_row: Make) -> None:
    """Every field comes back with its value and type: enumerations, missing values, mappings' contents."""
    odd = attempt_row(
        kind=Kind.PIVOT,
        direction=Direction.UNDO,
        outcome=AttemptOutcome.FAILED,
        failure_class=FailureClass.PERMANENT,
        position=None,
        steps_done=None,
        in_flight=None,
        scheduled_at=None,
        started_at=None,
        timeout_s=None,
        maximum_attempts=None,
        ended_at=0.1 + 0.2,
        error_type="Größe",
        context={"whole": 2, "float": 2.0, "flag": True, "text": "2", "empty": ""},
        features={"rate": 1e-300, "third": 1 / 3, "kind": "pivot"},
    )
    store = DatasetStore(tmp_path / "data")
    store.append([odd, run_row()])
    (back,) = store.read_attempts()
    assert back == odd
    assert store.read_runs() == [run_row()]
    assert [type(value) for value in back.context.values()] == [int, float, bool, str, str]
    assert isinstance(back.kind, Kind)
    assert isinstance(back.outcome, AttemptOutcome)


def test_recorded_rows_come_back(tmp_path: Path, play: Callable[..., Any]) -> None:
    """Whatever the recorder gave is read again, in the order of launch, run and start."""
    saga = Saga(name="pair", steps=(Step(name="a"), Step(name="b")))
    script = {"b": [Reply(duration_s=1.0, error_type="No")] * 3}
    rows = play(saga, script, [("r1", 100.0, {"n": 1}), ("r2", 101.0, {"n": 2})]).rows
    store = DatasetStore(tmp_path)
    store.append(rows)
    back = store.read()
    assert sorted(back, key=repr) == sorted(rows, key=repr)
    firsts = [(row.run_id, row.step, row.attempt) for row in store.read_attempts() if row.run_id == "r1"]
    assert firsts == [("r1", "a", 1), ("r1", "a", 1), ("r1", "b", 1), ("r1", "b", 2), ("r1", "b", 3)]


def test_rows_are_kept_by_day_of_launch(tmp_path: Path, attempt_row: Make) -> None:
    """Each UTC day of launch has a folder, rows without a launch time one of their own."""
    store = DatasetStore(tmp_path)
    launches = [0.0, DAY - 1, DAY, None]
    store.append(attempt_row(run_id=f"r{n}", launch_at=at) for n, at in enumerate(launches))
    days = sorted(path.name for path in (tmp_path / "attempts").iterdir())
    assert days == ["day=1970-01-01", "day=1970-01-02", "day=unknown"]


@pytest.mark.parametrize(
    ("since", "until", "runs"),
    [
        (None, None, ["r3", "r0", "r1", "r2"]),
        (0.0, DAY, ["r0", "r1"]),
        (DAY - 1, None, ["r1", "r2"]),
        (None, DAY - 1, ["r0"]),
        (DAY, DAY, []),
    ],
)
def test_reading_is_bounded_by_launch(
    tmp_path: Path, attempt_row: Make, since: float | None, until: float | None, runs: list[str]
) -> None:
    """Bounds are on the launch, the lower one included; rows without a launch need an unbounded reading."""
    store = DatasetStore(tmp_path)
    launches = [0.0, DAY - 1, DAY, None]
    store.append(attempt_row(run_id=f"r{n}", launch_at=at) for n, at in enumerate(launches))
    assert [row.run_id for row in store.read_attempts(since, until)] == runs


def test_appending_again_changes_nothing(tmp_path: Path, attempt_row: Make) -> None:
    """Rows of the same identity are read once, as they were written first; another attempt is another row."""
    first, second = attempt_row(advice_id="first"), attempt_row(attempt=2)
    store = DatasetStore(tmp_path)
    for _ in range(12):
        store.append([first, second, run_row()])
    store.append([attempt_row(advice_id="second"), attempt_row(direction=Direction.UNDO)])
    assert [row.advice_id for row in store.read_attempts() if row.attempt == 1] == ["first", "a1"]
    assert (len(store.read_attempts()), len(store.read_runs())) == (3, 1)


def test_a_failing_write_leaves_the_old_content(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a part cannot be written, nothing is added, no draft stays, and appending again works."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="old")])
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    new: list[Row] = [attempt_row(run_id="new"), run_row("new")]

    def half_written(path: Path, kind: type, rows: Any) -> None:
        if kind is RunRow:
            path.write_bytes(b"PAR1")
            raise OSError(28, "No space left on device")
        row_tables.write_rows(path, kind, rows)

    with monkeypatch.context() as patch:
        patch.setattr("sagacity_data.store_draft.write_rows", half_written)
        with pytest.raises(DatasetRefused, match="No space left on device"):
            store.append(new)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    assert [row.run_id for row in store.read_attempts()] == ["old"]
    store.append(new)
    assert [row.run_id for row in store.read_attempts()] == ["new", "old"]


def test_a_row_that_cannot_be_written_adds_nothing(tmp_path: Path, attempt_row: Make) -> None:
    """A generator that fails halfway, and a value that JSON does not know, leave the store as it was."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])

    def failing() -> Iterator[Row]:
        yield attempt_row(run_id="r2")
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError):
        store.append(failing())
    with pytest.raises(TypeError):
        store.append([attempt_row(run_id="r3"), attempt_row(run_id="r4", launch_at=DAY, context={"x": {1}})])
    assert [row.run_id for row in store.read_attempts()] == ["r1"]
    assert not list(tmp_path.rglob(".draft*"))


def test_drafts_of_a_killed_writer_are_not_read(tmp_path: Path, attempt_row: Make) -> None:
    """What a writer left unfinished is invisible to readers."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (tmp_path / "attempts" / "day=1970-01-01" / ".draft-99999-0").write_bytes(b"PAR1 half")
    assert len(store.read_attempts()) == 1
    assert store.describe().files == 1


def test_an_empty_store_is_described(tmp_path: Path) -> None:
    """A folder that is missing holds nothing, and describing it creates nothing."""
    told = DatasetStore(tmp_path / "none").describe()
    assert (told.attempts, told.runs, told.first_launch_at, told.files) == (0, 0, None, 0)
    assert not (tmp_path / "none").exists()


def test_a_store_describes_itself(tmp_path: Path, attempt_row: Make) -> None:
    """Counts are of distinct rows; sagas, services and the launches' range are told."""
    store = DatasetStore(tmp_path)
    rows: list[Row] = [
        attempt_row(),
        attempt_row(step="pay", service="bank", run_id="r2", launch_at=DAY + 1),
        run_row(),
    ]
    store.append(rows)
    store.append(rows)
    told = store.describe()
    assert (told.attempts, told.runs, told.sagas, told.services) == (2, 1, ("trip",), ("bank", "hotels"))
    assert (told.first_launch_at, told.last_launch_at, told.files) == (100.0, DAY + 1, 6)
    assert told.bytes > 0
    assert json.loads((tmp_path / "dataset.json").read_text("utf-8")) == {
        "kind": "attempts",
        "schema_version": 2,
    }


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (None, "has no dataset.json"),
        ("not json", "is damaged"),
        ("[]", "is damaged"),
        ('{"kind": "attempts"}', "is damaged"),
        ('{"kind": "event_log", "schema_version": 1}', "kind 'event_log', not 'attempts'"),
        ('{"kind": "attempts", "schema_version": 1}', "schema version 1"),
    ],
)
def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, description: str | None, told: str) -> None:
    """A folder of something else, or of a newer version, is refused in one line and left alone."""
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    if description is not None:
        (tmp_path / "dataset.json").write_text(description, "utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetRefused, match=told) as refusal:
        DatasetStore(tmp_path)
    assert "\n" not in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_no_store(tmp_path: Path) -> None:
    """A path that names a file is refused, for reading and for writing."""
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(DatasetRefused):
        DatasetStore(tmp_path / "file")
    with pytest.raises(DatasetRefused):
        DatasetStore(tmp_path / "file" / "below").append([run_row()])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"PAR1" + b"\0" * 200 + b"PAR1",
        lambda content: content[:300] + bytes(64) + content[364:],
        lambda content: content[:400] + bytes([content[400] ^ 1]) + content[401:],
    ],
)
def test_a_damaged_part_is_refused(
    tmp_path: Path, attempt_row: Make, damage: Callable[[bytes], bytes]
) -> None:
    """A truncated, empty or overwritten part is refused in one line that names the file."""
    store = DatasetStore(tmp_path)
    store.append(attempt_row(run_id=f"r{n}", features={"x": n / 7}) for n in range(50))
    (part,) = (tmp_path / "attempts").rglob("*.parquet")
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(DatasetRefused) as refusal:
        store.read_attempts()
    assert str(part) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_foreign_part_is_refused(tmp_path: Path, attempt_row: Make) -> None:
    """A good Parquet file with other columns is refused, and so is a runs table among the attempts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = DatasetStore(tmp_path)
    store.append([attempt_row(), run_row()])
    (part,) = (tmp_path / "attempts").rglob("*.parquet")
    (runs,) = (tmp_path / "runs").rglob("*.parquet")
    for foreign in (
        lambda: pq.write_table(pa.table({"a": [1]}), part),
        lambda: part.write_bytes(runs.read_bytes()),
    ):
        foreign()
        with pytest.raises(DatasetRefused, match="does not have the columns of a table of AttemptRows"):
            store.read_attempts()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("outcome", "exploded", "exploded"),
        ("features", "{", "property name"),
        ("context", "[1]", "no mapping"),
    ],
)
def test_a_foreign_value_is_refused(
    tmp_path: Path, attempt_row: Make, column: str, value: str, told: str
) -> None:
    """A part with our columns and values that are not ours is refused, naming the file and the value."""
    import pyarrow.parquet as pq

    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = (tmp_path / "attempts").rglob("*.parquet")
    table = pq.ParquetFile(part).read()
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(place), [[value]]), part)
    with pytest.raises(DatasetRefused, match=told):
        store.read_attempts()


def test_a_missing_value_that_every_row_has_is_refused(tmp_path: Path, attempt_row: Make) -> None:
    """A row without a run id is not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = (tmp_path / "attempts").rglob("*.parquet")
    table = pq.ParquetFile(part).read()
    pq.write_table(table.set_column(0, table.schema.field(0), pa.array([None], pa.string())), part)
    with pytest.raises(DatasetRefused, match="a value is missing"):
        store.read_attempts()


def test_a_file_that_nobody_listed_is_not_read(tmp_path: Path, attempt_row: Make) -> None:
    """What lies in the folder without being listed is somebody else's, whatever its name."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = (tmp_path / "attempts").rglob("*.parquet")
    other = tmp_path / "attempts" / "day=yesterday"
    other.mkdir()
    (other / "part-00000001-0123456789abcdef.parquet").write_bytes(part.read_bytes())
    assert len(store.read_attempts()) == 1
    assert store.describe().files == 1


def test_attempts_as_a_frame(tmp_path: Path, attempt_row: Make) -> None:
    """One line per attempt with plain values; the context stands in where a row has no features."""
    store = DatasetStore(tmp_path)
    store.append(
        [
            attempt_row(context={"n": 2}, features={"rate": 0.5, "context.n": 2.0}),
            attempt_row(attempt=2, context={"n": 3}, ended_at=None, outcome=AttemptOutcome.TIMED_OUT),
        ]
    )
    frame = store.attempts_frame()
    assert frame["outcome"].tolist() == ["succeeded", "timed_out"]
    assert frame["context.n"].tolist() == [2.0, 3.0]
    assert frame["duration_s"].tolist()[0] == 1.0
    assert math.isnan(frame["duration_s"].tolist()[1])
    assert math.isnan(frame["rate"].tolist()[1])
