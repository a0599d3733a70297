from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagacity_data import AttemptRow, DatasetRefused, DatasetStore, store_draft
from sagacity_data.store_lock import taken, writing
from sagacity_engine import Saga, Step

Make = Callable[..., AttemptRow]
DAY = 86_400.0


def runs_in(store: DatasetStore) -> list[str]:
    return sorted({row.run_id for row in store.read_attempts()})


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def test_nothing_is_seen_before_it_is_kept(tmp_path: Path, attempt_row: Make) -> None:
    """A draft's rows count from `keep` on, all of them at once, whatever day they are of."""
    store = DatasetStore(tmp_path)
    with store.adding() as draft:
        draft.add(attempt_row(run_id=f"r{n}", launch_at=n * DAY) for n in range(3))
        assert store.read_attempts() == []
        draft.keep()
        assert runs_in(store) == ["r0", "r1", "r2"]
        draft.add([attempt_row(run_id="later")])
    assert runs_in(store) == ["r0", "r1", "r2"]


def test_a_draft_that_is_left_leaves_nothing(tmp_path: Path, attempt_row: Make) -> None:
    """Leaving without `keep`, and leaving by an error, remove what was written, and nothing else."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="old")])
    before = files_in(tmp_path)

    def failing() -> Iterator[AttemptRow]:
        yield attempt_row(run_id="new")
        draft._write_until(0)
        assert len(files_in(tmp_path)) == len(before) + 1
        raise RuntimeError("the source failed")

    with store.adding() as draft, pytest.raises(RuntimeError):
        draft.add(failing())
    assert files_in(tmp_path) == before
    assert runs_in(store) == ["old"]


def test_what_is_dropped_is_forgotten(tmp_path: Path, attempt_row: Make) -> None:
    """`drop` forgets what was added since the last `keep`, in memory and on the disk."""
    store = DatasetStore(tmp_path)
    with store.adding() as draft:
        draft.add([attempt_row(run_id="good")])
        draft.keep()
        draft.add([attempt_row(run_id="bad")])
        draft._write_until(0)
        draft.add([attempt_row(run_id="bad too")])
        draft.drop()
        draft.add([attempt_row(run_id="good too")])
        draft.keep()
    assert runs_in(store) == ["good", "good too"]


def test_memory_is_bounded(tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are added, at most `ROWS_HELD` are in memory and in one part."""
    monkeypatch.setattr(store_draft, "ROWS_HELD", 10)
    store = DatasetStore(tmp_path)
    most = 0
    with store.adding() as draft:
        for n in range(100):
            draft.add([attempt_row(run_id=f"r{n}", launch_at=(n % 7) * DAY)])
            most = max(most, draft._count)
        draft.keep()
    assert most < 10
    assert len(runs_in(store)) == 100


def test_a_draft_without_rows_makes_no_dataset(tmp_path: Path) -> None:
    """Keeping nothing writes nothing."""
    with DatasetStore(tmp_path / "data").adding() as draft:
        draft.add([])
        draft.keep()
    assert not (tmp_path / "data").exists()


def test_the_first_of_a_draft_counts(tmp_path: Path, attempt_row: Make) -> None:
    """Of two rows with one identity the first added is read, though parts are sorted otherwise."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(saga="z", advice_id="first"), attempt_row(saga="a", advice_id="second")])
    assert [row.advice_id for row in store.read_attempts()] == ["first"]


@pytest.mark.slow
def test_a_killed_writer_adds_nothing_and_is_cleaned_up_after(tmp_path: Path, attempt_row: Make) -> None:
    """One that ends between writing and keeping leaves a hidden draft, which the next writer removes."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="old")])
    script = """
import os, sys
from dataclasses import replace
from sagacity_data import DatasetStore
store = DatasetStore(sys.argv[1])
draft = store.adding()
draft.add([replace(store.read_attempts()[0], run_id="new")])
draft._write_until(0)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    assert len(list(tmp_path.glob(".draft-*"))) == 1
    assert runs_in(store) == ["old"]
    store.append([attempt_row(run_id="next")])
    assert not list(tmp_path.glob(".draft-*"))
    assert runs_in(store) == ["next", "old"]


def test_a_living_writers_draft_is_left_alone(tmp_path: Path, attempt_row: Make) -> None:
    """A draft that is being written survives other writers, and can be kept after them."""
    store = DatasetStore(tmp_path)
    with store.adding() as draft:
        draft.add([attempt_row(run_id="slow")])
        draft._write_until(0)
        store.append([attempt_row(run_id="quick")])
        draft.keep()
    assert runs_in(store) == ["quick", "slow"]


@pytest.mark.parametrize("step", ["flush_names", "add_to_list"])
def test_a_writer_that_stops_while_publishing_adds_nothing(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Files that have their names and are in no list are not read; the next writer removes them."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="old")])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_draft, step, full)
        with pytest.raises(DatasetRefused, match="No space left"):
            store.append([attempt_row(run_id="new")])
    assert runs_in(store) == ["old"]
    assert len(files_in(tmp_path)) == 2
    store.append([attempt_row(run_id="next")])
    assert runs_in(store) == ["next", "old"]
    assert len(files_in(tmp_path)) == 2


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_that_is_not_whole_does_not_count(tmp_path: Path, attempt_row: Make, cut: int) -> None:
    """A list whose last line was torn is the list without it, and the next addition takes its place."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="old")])
    store.append([attempt_row(run_id="torn")])
    listed = tmp_path / "parts.jsonl"
    listed.write_bytes(listed.read_bytes()[:-cut])
    assert runs_in(store) == ["old"]
    store.append([attempt_row(run_id="next")])
    assert runs_in(store) == ["next", "old"]
    assert all(json.loads(line) for line in listed.read_text().splitlines())


def test_a_damaged_list_is_refused(tmp_path: Path, attempt_row: Make) -> None:
    """A list that was altered in the middle, or is missing, is refused by its place, never read as less."""
    store = DatasetStore(tmp_path)
    for name in ("a", "b"):
        store.append([attempt_row(run_id=name)])
    listed = tmp_path / "parts.jsonl"
    whole = listed.read_text()
    listed.write_text(whole.replace('", 1,', '", 2,', 1))
    with pytest.raises(DatasetRefused, match=r"parts\.jsonl:1 is damaged"):
        store.read_attempts()
    listed.unlink()
    with pytest.raises(DatasetRefused, match=r"parts\.jsonl is missing"):
        store.read_attempts()


def test_a_part_that_is_gone_is_refused(tmp_path: Path, attempt_row: Make) -> None:
    """A listed file that is not there is told, not passed over."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    (part,) = tmp_path.rglob("*.parquet")
    part.unlink()
    with pytest.raises(DatasetRefused, match="is missing though"):
        store.read_attempts()


def test_writers_take_turns(tmp_path: Path, attempt_row: Make) -> None:
    """While somebody writes, another writer waits, and says so when that takes too long."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row()])
    with (
        writing(tmp_path),
        pytest.raises(DatasetRefused, match="being written by another process"),
        writing(tmp_path, wait_s=0.02),
    ):
        pass
    held = taken(tmp_path / "parts")
    assert held is not None
    held.close()


def test_a_folder_a_writer_had_begun_is_a_dataset_still_empty(tmp_path: Path, attempt_row: Make) -> None:
    """A writer killed before it described the dataset leaves a folder that the next one goes on with."""
    (tmp_path / "parts.jsonl").touch()
    (tmp_path / f".dataset.json-{os.getpid()}").touch()
    store = DatasetStore(tmp_path)
    assert store.read() == []
    store.append([attempt_row()])
    assert len(store.read()) == 1


def test_definitions_are_kept_by_their_hash(tmp_path: Path) -> None:
    """What was kept is read as an equal saga; keeping again changes nothing."""
    one, two = (Saga(name=name, steps=(Step(name="a"),)) for name in ("one", "two"))
    store = DatasetStore(tmp_path)
    for sagas in ([one, two], [two]):
        store.keep_definitions(sagas)
    assert store.definitions() == {one.definition_hash: one, two.definition_hash: two}
    assert DatasetStore(tmp_path / "none").definitions() == {}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace('"one"', '"uno"'), "was altered"),
        (lambda text: text[:-10], "is no definition"),
        (lambda text: "[" * 100_000, "is no definition"),
    ],
)
def test_an_altered_definition_is_refused(tmp_path: Path, damage: Callable[[str], str], told: str) -> None:
    """A document that no longer has its hash, or is none, is refused by name."""
    store = DatasetStore(tmp_path)
    store.keep_definitions([Saga(name="one", steps=(Step(name="a"),))])
    (path,) = (tmp_path / "definitions").iterdir()
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DatasetRefused, match=told) as refusal:
        store.definitions()
    assert str(path) in str(refusal.value)
