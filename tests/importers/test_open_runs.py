"""Runs that are imported while they are open, and again later: the telling that tells most is what counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagacity_data import AttemptOutcome, DatasetRefused, store_draft
from sagacity_data.importers import ForeignAttempt, ForeignRun, Hints, HistoriesReport, Tally, shelf
from sagacity_data.importers.histories import NOTES, import_histories
from sagacity_data.importers.shelf import Place
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Status

T0 = 1_700_000_000.0
LETTERS = {"s": AttemptOutcome.SUCCEEDED, "f": AttemptOutcome.FAILED, "o": AttemptOutcome.OPEN}
OPEN_A, OPEN_B, ENDED = "r1 RUNNING so", "r1 RUNNING sso", "r1 COMPLETED ssf"


def read_lines(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """A fake format: a line `id status outcomes` per run, a letter for each of its steps `0`, `1`, ..."""
    del hints, tally
    for line in path.read_text("utf-8").splitlines():
        run_id, status, outcomes = line.split()
        attempts = [
            ForeignAttempt(step=str(number), outcome=LETTERS[letter], started_at=T0 + number)
            for number, letter in enumerate(outcomes)
        ]
        yield ForeignRun(
            run_id=run_id, saga="trip", status=Status(status), attempts=tuple(attempts), launch_at=T0
        )


def imported(store: DatasetStore, *files: list[str]) -> HistoriesReport:
    folder = store.folder.parent
    paths = [folder / f"{number}.txt" for number in range(len(files))]
    for path, lines in zip(paths, files, strict=True):
        path.write_text("\n".join(lines), "utf-8")
    return import_histories("lines", read_lines, paths, store, taxonomy=default_taxonomy())


def told(store: DatasetStore) -> list[str]:
    """What the dataset tells, in the form of the fake format's lines."""
    letters = {outcome: letter for letter, outcome in LETTERS.items()}
    return [
        f"{run.run_id} {run.status.value} "
        + "".join(letters[row.outcome] for row in store.read_attempts(run_id=run.run_id))
        for run in store.read_runs()
    ]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "set")


@pytest.mark.parametrize(
    ("tellings", "counts"),
    [
        ((OPEN_A, ENDED), ENDED),
        ((ENDED, OPEN_A), ENDED),
        ((OPEN_A, OPEN_B), OPEN_B),
        ((OPEN_B, OPEN_A), OPEN_B),
        ((OPEN_B, OPEN_B), OPEN_B),
        ((ENDED, ENDED), ENDED),
        ((ENDED, "r1 RUNNING ssso"), ENDED),
        ((OPEN_A, "r1 COMPLETED s"), "r1 COMPLETED s"),
        (("r1 RUNNING soo", "r1 RUNNING sss"), "r1 RUNNING sss"),
        (("r1 COMPLETED s", "r1 NEEDS_ATTENTION f"), "r1 COMPLETED s"),
    ],
)
@pytest.mark.parametrize("way", ["two imports", "two files", "one file", "long files", "one row at once"])
def test_what_tells_most_counts(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch, tellings: tuple[str, str], counts: str, way: str
) -> None:
    """Ended counts before open and the further one of two open ones, whole, in either order; others stay."""
    first, then = tellings
    other = "r2 COMPLETED s"
    if way == "two imports":
        imported(store, [first, other])
        imported(store, [then])
    elif way == "one file":
        imported(store, [first, other, then])
    else:
        if way != "two files":
            monkeypatch.setattr(shelf, "ROWS_HELD", 4 if way == "long files" else 1)
        imported(store, [first, other], [then])
    assert told(store) == [counts, other]


def test_what_was_decided_is_noted(store: DatasetStore) -> None:
    """A report says how many open runs were replaced, left out, and told twice."""
    imported(store, [OPEN_A, "r2 COMPLETED s"])
    report = imported(store, [ENDED, "r2 RUNNING o", "r3 COMPLETED s"], ["r3 COMPLETED s"])
    assert dict(report.notes) == {NOTES[Place.INSTEAD]: 1, NOTES[Place.LEFT_OUT]: 1, NOTES[Place.AGAIN]: 1}


def test_a_refused_file_replaces_nothing(store: DatasetStore, tmp_path: Path) -> None:
    """An ended telling in a file that breaks off leaves the open one, and a later file's counts again."""
    imported(store, [OPEN_A])
    report = imported(store, [ENDED, "broken"], [OPEN_B])
    assert len(report.refused) == 1
    assert told(store) == [OPEN_B]


def test_importing_the_same_again_rewrites_no_file(store: DatasetStore) -> None:
    """A second import of an open run, as it was or earlier, leaves every file as it is."""
    imported(store, [OPEN_B, "r2 COMPLETED s"])
    before = {path: path.read_bytes() for path in store.folder.rglob("*.parquet")}
    imported(store, [OPEN_B])
    imported(store, [OPEN_A])
    assert {path: path.read_bytes() for path in store.folder.rglob("*.parquet")} == before


def test_a_full_disk_loses_neither(store: DatasetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the change cannot be published the open run stays whole, no file is left over, and again works."""
    imported(store, [OPEN_A, "r2 COMPLETED s"])
    before = sorted(store.folder.rglob("*.parquet"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_draft, "replace_list", full)
        with pytest.raises(DatasetRefused, match="No space left"):
            imported(store, [ENDED])
    assert told(store) == [OPEN_A, "r2 COMPLETED s"]
    assert sorted(store.folder.rglob("*.parquet")) == before
    imported(store, [ENDED])
    assert told(store) == [ENDED, "r2 COMPLETED s"]


_KILLED = """
import os, sys
from dataclasses import replace
from sagacity_data import DatasetStore, store_draft, store_parts, store_rewriting
from sagacity_engine import Status

calls = int(sys.argv[2])

def counted(module, name):
    real = getattr(module, name)
    def call(*given, **named):
        global calls
        if calls == 0:
            os._exit(9)
        calls -= 1
        return real(*given, **named)
    setattr(module, name, call)

store = DatasetStore(sys.argv[1])
(run,), attempts = store.read_runs(run_id="r1"), store.read_attempts(run_id="r1")
for name in ("begin_change", "named_part", "replace_list", "end_change", "write_rows"):
    counted(store_draft, name)
for name in ("write_table", "named_part", "mend"):
    counted(store_rewriting, name)
counted(os, "unlink")
with store.adding() as draft:
    draft.add([replace(run, status=Status.COMPLETED), *attempts[:1]])
    draft.keep({"r1"})
"""


@pytest.mark.slow
def test_killed_at_any_moment_one_of_both_is_there(tmp_path: Path) -> None:
    """Wherever the change is killed, the run is told whole, once: as it was, or as it is from now on."""
    seen, ended = set(), -1
    for calls in range(0, 60, 2):
        store = DatasetStore(tmp_path / str(calls) / "set")
        store.folder.parent.mkdir()
        imported(store, [OPEN_A, "r2 COMPLETED s"])
        command = [sys.executable, "-c", _KILLED, str(store.folder), str(calls)]
        ended = subprocess.run(command, check=False).returncode
        run, other = told(store)
        assert run in (OPEN_A, "r1 COMPLETED s")
        assert other == "r2 COMPLETED s"
        seen.add(run)
        imported(store, ["r1 COMPLETED s"], ["r3 COMPLETED s"])
        assert told(store) == ["r1 COMPLETED s", "r2 COMPLETED s", "r3 COMPLETED s"]
        assert not list(store.folder.glob(".rewrite-*"))
        if ended == 0:
            break
    assert seen == {OPEN_A, "r1 COMPLETED s"}
    assert ended == 0
