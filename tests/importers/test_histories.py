"""Importing files of one format: whole files or nothing, once each, in bounded memory, with what was met."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sagacity_data import AttemptOutcome
from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import FORMATS, shelf
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun, rows_of
from sagacity_data.importers.formats import files_of
from sagacity_data.importers.histories import TOLD_TWICE, HistoriesReport, import_histories
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptRow
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, Status

T0 = 1_700_000_000.0


def read_lines(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """A fake format: a line `id step outcome` per run; `?type` is skipped, `!` is refused, `#` is a bug."""
    if not path.is_file():
        raise ImportRefused(path, "", "does not exist", "check the path")
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        if line.startswith("?"):
            tally.skipped[line[1:]] += 1
        elif line == "!":
            raise ImportRefused(path, f"line {number + 1}", "breaks off", "export it again")
        elif line == "#":
            raise KeyError(line)
        else:
            run_id, step, outcome = line.split()
            at = T0 + 100.0 * number
            tried = ForeignAttempt(
                step=step, outcome=AttemptOutcome(outcome), started_at=at, ended_at=at + 1.0
            )
            yield ForeignRun(
                run_id=run_id, saga="trip", status=Status.COMPLETED, attempts=(tried,), launch_at=at
            )


def imported(store: DatasetStore, *paths: Path, hints: Hints | None = None) -> HistoriesReport:
    return import_histories("lines", read_lines, paths, store, taxonomy=default_taxonomy(), hints=hints)


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "set")


def test_what_is_imported_is_counted_and_stored(tmp_path: Path, store: DatasetStore) -> None:
    """Runs, attempts, outcomes and skipped types of all files add up, and the rows are in the dataset."""
    one = written(tmp_path / "one", "r1 book succeeded", "?timer", "r2 book failed")
    two = written(tmp_path / "two", "r3 book succeeded", "?timer", "?marker")
    report = imported(store, one, two)
    assert (report.files, report.read, report.refused) == (2, 2, [])
    assert (report.runs, report.attempts) == (3, 3)
    assert dict(report.outcomes) == {"succeeded": 2, "failed": 1}
    assert dict(report.statuses) == {"COMPLETED": 3}
    assert dict(report.skipped_event_types) == {"timer": 2, "marker": 1}
    assert [row.run_id for row in store.read_runs()] == ["r1", "r3", "r2"]
    assert {row.source for row in store.read_attempts()} == {"lines"}


def test_a_file_that_breaks_half_way_adds_nothing_of_itself(tmp_path: Path, store: DatasetStore) -> None:
    """The rows and the counts of a refused file are gone, and what it says of its sagas; others stay."""
    good = written(tmp_path / "good", "r1 book succeeded")
    bad = written(tmp_path / "bad", "r2 fly succeeded", "?timer", "!")
    also = written(tmp_path / "also", "r3 book succeeded")
    report = imported(store, good, bad, also)
    assert [(Path(each.path).name, each.place) for each in report.refused] == [("bad", "line 3")]
    assert (report.read, report.runs, dict(report.skipped_event_types)) == (2, 2, {})
    assert {row.run_id for row in store.read_attempts()} == {"r1", "r3"}
    assert report.sagas["trip"].names == ("book",)


@pytest.mark.parametrize("held", [1, 3, 4, 7, 100])
def test_long_files_are_whole_or_not_there_either(
    tmp_path: Path, store: DatasetStore, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """However few rows may wait in memory, good files arrive whole and bad ones not at all."""
    monkeypatch.setattr(shelf, "ROWS_HELD", held)
    names = ["a", "bad", "b", "bad2", "c"]
    paths = [
        written(
            tmp_path / name,
            *(f"{name}{number} book succeeded" for number in range(5)),
            *(["!"] if name.startswith("bad") else []),
        )
        for name in names
    ]
    report = imported(store, *paths)
    assert (report.read, len(report.refused), report.runs) == (3, 2, 15)
    told = {f"{name}{number}" for name in "abc" for number in range(5)}
    assert {row.run_id for row in store.read_runs()} == told
    assert {row.run_id for row in store.read_attempts()} == told


def test_importing_again_adds_no_rows_that_count(tmp_path: Path, store: DatasetStore) -> None:
    """A second import of the same file leaves the dataset with the rows it had."""
    path = written(tmp_path / "one", "r1 book succeeded", "r2 book failed")
    imported(store, path)
    before = store.read()
    again = imported(store, path)
    assert (again.read, again.runs) == (1, 2)
    assert store.read() == before


def test_a_run_in_two_files_is_noted(tmp_path: Path, store: DatasetStore) -> None:
    """A run that a second file tells again is told to the user; the first telling counts."""
    one = written(tmp_path / "one", "r1 book succeeded")
    two = written(tmp_path / "two", "r1 book failed")
    report = imported(store, one, two)
    assert dict(report.notes) == {TOLD_TWICE: 1}
    assert [row.outcome for row in store.read_attempts()] == [AttemptOutcome.SUCCEEDED]


def test_a_mistake_of_a_reader_costs_its_file_only(tmp_path: Path, store: DatasetStore) -> None:
    """Whatever else a reader raises is a refusal of that file in words."""
    report = imported(store, written(tmp_path / "bug", "r1 book succeeded", "#"), tmp_path / "none")
    reasons = [each.reason for each in report.refused]
    assert reasons == ["could not be understood (KeyError)", "does not exist"]
    assert (report.read, report.runs) == (0, 0)
    assert not store.folder.exists()


def test_files_without_runs_and_folders_without_files_are_refused(
    tmp_path: Path, store: DatasetStore
) -> None:
    """A file that holds no run was not what its user meant, and neither was an empty folder."""
    (tmp_path / "empty").mkdir()
    report = imported(store, written(tmp_path / "nothing", "?timer"), tmp_path / "empty")
    assert [each.reason for each in report.refused] == ["holds no run", "holds no file of this format"]
    assert dict(report.skipped_event_types) == {}


def test_what_the_user_says_of_tenant_and_services_is_kept(tmp_path: Path, store: DatasetStore) -> None:
    """Hints name the tenant of every run, and the service of the steps they map."""
    path = written(tmp_path / "one", "r1 book succeeded", "r2 fly succeeded")
    imported(store, path, hints=Hints(tenant="acme", services={"book": "hotels"}))
    assert [(row.step, row.service) for row in store.read_attempts()] == [("book", "hotels"), ("fly", "fly")]
    assert {row.tenant for row in store.read()} == {"acme"}


def test_definitions_are_kept_beside_the_rows(tmp_path: Path, store: DatasetStore) -> None:
    """The definition inferred for each saga type lies in the dataset under its hash."""
    report = imported(store, written(tmp_path / "one", "r1 book succeeded"))
    assert store.definitions() == {report.sagas["trip"].definition_hash: report.sagas["trip"]}


def test_progress_is_told_at_the_start_and_the_end_of_a_file(tmp_path: Path, store: DatasetStore) -> None:
    """Whoever watches hears of every file, and of long ones on the way."""
    path = written(tmp_path / "one", *(f"r{number} book succeeded" for number in range(450)))
    told: list[Path] = []
    import_histories(
        "lines",
        read_lines,
        [path],
        store,
        taxonomy=default_taxonomy(),
        progress=lambda path, _: told.append(path),
    )
    assert told == [path] * 4


def test_folders_are_looked_through_in_order(tmp_path: Path) -> None:
    """Every fitting file below a folder is found once, sorted, hidden ones and other suffixes apart."""
    for name in ("b.json", "a.JSON", "sub/c.json.gz", "sub/.hidden.json", ".git/d.json", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, "x")
    lone = tmp_path / "e.txt"
    found = files_of([tmp_path, lone, tmp_path / "sub/../b.json", tmp_path / "gone"], (".json", ".json.gz"))
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["a.JSON", "b.json", "sub/c.json.gz", "e.txt", "gone"]


def test_links_in_a_circle_are_not_followed(tmp_path: Path) -> None:
    """A folder that links to the one above it is looked through once."""
    written(tmp_path / "a.json", "x")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [path.name for path in files_of([tmp_path], (".json",))] == ["a.json"]


def test_every_format_has_a_reader() -> None:
    """Each format names a module whose `read_runs` takes a path, hints and a tally."""
    assert {name: callable(shape.reader()) for name, shape in FORMATS.items()} == dict.fromkeys(FORMATS, True)


RUN = ForeignRun(
    run_id="r",
    saga="trip",
    status=Status.NEEDS_ATTENTION,
    launch_at=T0,
    attempts=(
        ForeignAttempt(step="a", outcome=AttemptOutcome.SUCCEEDED, started_at=T0, ended_at=T0 + 1),
        ForeignAttempt(step="b", outcome=AttemptOutcome.FAILED, started_at=T0 + 1, ended_at=T0 + 2),
        ForeignAttempt(
            step="b", attempt=2, outcome=AttemptOutcome.TIMED_OUT, started_at=T0 + 3, ended_at=T0 + 5
        ),
        ForeignAttempt(
            step="a",
            direction=Direction.UNDO,
            outcome=AttemptOutcome.SUCCEEDED,
            started_at=T0 + 5,
            ended_at=T0 + 6,
        ),
    ),
)


def attempts_of(run: ForeignRun) -> list[AttemptRow]:
    return [row for row in rows_of(run, "test", default_taxonomy()) if isinstance(row, AttemptRow)]


def test_what_follows_from_the_whole_run_is_worked_out() -> None:
    """Positions, ranks and steps done follow from the order and the times of all attempts."""
    rows = attempts_of(RUN)
    assert [row.position for row in rows] == [0, 1, 1, 0]
    assert [row.rank for row in rows] == [0, 1, 2, 3]
    assert [row.steps_done for row in rows] == [0, 1, 1, 1]
    assert [row.kind.value for row in rows] == ["compensatable", "retriable", "retriable", "compensatable"]


def test_a_step_that_succeeds_twice_is_done_once() -> None:
    """Steps done counts steps, not attempts, and without a start it is not known."""
    again = replace(RUN.attempts[0], attempt=2, started_at=T0 + 1, ended_at=T0 + 1.5)
    last = replace(RUN.attempts[1], started_at=T0 + 2)
    run = replace(RUN, attempts=(RUN.attempts[0], again, last, replace(last, started_at=None)))
    assert [row.steps_done for row in attempts_of(run)] == [0, 1, 1, None]


def test_steps_of_one_instant_are_done_in_the_order_of_the_history() -> None:
    """Of attempts that begin and end at one instant only the earlier ones are done."""
    moment = [replace(RUN.attempts[0], step=step, ended_at=T0) for step in "abc"]
    assert [row.steps_done for row in attempts_of(replace(RUN, attempts=tuple(moment)))] == [0, 1, 2]


def test_what_no_dataset_can_hold_is_cut_to_what_it_can(tmp_path: Path) -> None:
    """Odd texts, numbers and times become storable, and the rows come back as they were stored."""
    odd = replace(
        RUN.attempts[0],
        step="a\x00\ud800" + "x" * 1_000,
        attempt=2**70,
        started_at=-5.0,
        ended_at=float("nan"),
        timeout_s=float("inf"),
        maximum_attempts=2**70,
        message="\udfff",
    )
    run = replace(
        RUN,
        attempts=(odd,),
        launch_at=1e18,
        context={"n": float("inf"), "big": 2**80, "ok": 3.0, "t": "\ud800"},
        reason="r" * 5_000,
    )
    rows = rows_of(run, "test", default_taxonomy())
    store = DatasetStore(tmp_path / "set")
    store.append(rows)
    assert store.read() == rows
    (row,) = store.read_attempts()
    assert (row.started_at, row.ended_at, row.timeout_s, row.maximum_attempts) == (None, None, None, None)
    assert (row.step[:3], len(row.step), row.attempt) == ("a??", 300, 1)
    assert row.context == {"ok": 3.0, "t": "?"}
    assert row.launch_at is None
    assert len(store.read_runs()[0].reason) == 1_000


def test_steps_that_storage_cannot_tell_apart_are_numbered_on() -> None:
    """Two names that become one text share its numbers, so that no attempt is lost."""
    tried = [replace(RUN.attempts[0], step=step, attempt=number) for step, number in _ODD]
    rows = attempts_of(replace(RUN, attempts=tuple(tried)))
    assert [(row.step, row.attempt) for row in rows] == [("a?", 1), ("a?", 2), ("a?", 3), ("b", 3), ("b", 1)]


_ODD = [("a?", 1), ("a?", 2), ("a\ud800", 1), ("b", 3), ("b", 1)]


def test_the_report_of_an_import_is_plain(tmp_path: Path, store: DatasetStore) -> None:
    """Counters of a report are JSON objects with text keys."""
    report = imported(store, written(tmp_path / "one", "r1 book succeeded", "?timer"))
    assert json.loads(json.dumps(report.skipped_event_types)) == {"timer": 1}
