from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import AttemptRow, DatasetRefused, DatasetStore, Row, RunRow, erasure
from sagacity_data.erasure import Erased, erase
from sagacity_data.sinks import Buffer
from sagacity_data.store_reading import read_batches
from sagacity_data.store_where import Where
from sagacity_engine import Status

Make = Callable[..., AttemptRow]
DAY = 86_400.0


def run_row(run_id: str, **changes: Any) -> RunRow:
    row = RunRow(
        run_id=run_id,
        saga="trip",
        definition_hash="0" * 64,
        launch_at=0.0,
        ended_at=10.0,
        status=Status.COMPLETED,
        reason="",
        arm="author",
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        cost=None,
        wasted_cost=None,
        latency_s=10.0,
        context={},
    )
    return replace(row, **changes)


@pytest.fixture
def store(tmp_path: Path, attempt_row: Make) -> DatasetStore:
    """Two runs of two tenants on each of three days, and one without a launch; every row written twice."""
    store = DatasetStore(tmp_path / "data")
    for _ in range(2):
        for day in range(3):
            for tenant in ("acme", "zeta"):
                run_id = f"{tenant}-secret-{day}"
                told: dict[str, Any] = {"run_id": run_id, "tenant": tenant, "launch_at": day * DAY}
                store.append([attempt_row(**told), attempt_row(step="pay", **told), run_row(**told)])
    store.append([attempt_row(run_id="timeless", launch_at=None)])
    return store


def runs_of(store: DatasetStore) -> list[str]:
    told = {row.run_id for row in store.read()}
    scanned: list[Row] = [*store.scan_rows(AttemptRow), *store.scan_rows(RunRow)]
    assert told == {row.run_id for row in scanned}
    return sorted(told)


def bytes_with(folder: Path, text: str) -> list[str]:
    """The files of a dataset, hidden ones too, that hold a text in some column or as it stands."""
    import pyarrow.parquet as pq

    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file()
        and (
            text in str(pq.ParquetFile(path).read().to_pylist())
            if path.suffix == ".parquet"
            else text.encode() in path.read_bytes()
        )
    ]


def test_a_tenant_is_really_gone(store: DatasetStore) -> None:
    """No file holds anything of the tenant's any more; everybody else's rows are as they were."""
    others = [row for row in store.read() if row.tenant != "acme"]
    gone = erase(store, Where(tenant="acme"))
    assert (gone.attempts, gone.runs, gone.files_removed, gone.files_rewritten) == (12, 6, 12, 0)
    assert gone.bytes_after < gone.bytes_before
    assert store.read() == others
    assert bytes_with(store.folder, "acme") == []


def test_one_run_is_taken_out_of_a_shared_file(tmp_path: Path, attempt_row: Make) -> None:
    """The file that others share is written anew without the run; the others' rows are the same."""
    store = DatasetStore(tmp_path)
    kept = [attempt_row(run_id=f"r{n}", features={"x": n / 7}, context={"n": n}) for n in range(5)]
    store.append([*kept, attempt_row(run_id="secret"), run_row("secret"), run_row("r1")])
    gone = erase(store, Where(run_id="secret"))
    assert gone == Erased(
        attempts=1,
        runs=1,
        files_rewritten=2,
        bytes_before=gone.bytes_before,
        bytes_after=gone.bytes_after,
    )
    assert store.read() == [*kept, run_row("r1")]
    assert bytes_with(tmp_path, "secret") == []


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (DAY, ["acme-secret-1", "acme-secret-2", "timeless", "zeta-secret-1", "zeta-secret-2"]),
        (2 * DAY + 1, ["timeless"]),
        (0.0, None),
    ],
)
def test_what_is_old_goes(store: DatasetStore, before: float, left: list[str] | None) -> None:
    """Runs launched before a time go; a run whose launch nobody knows stays."""
    everything = runs_of(store)
    erase(store, Where(until=before))
    assert runs_of(store) == (everything if left is None else left)


def test_everything_that_is_given_has_to_apply(store: DatasetStore) -> None:
    """A tenant's old runs: neither the tenant's new ones nor others' old ones."""
    erase(store, Where(until=DAY, tenant="acme"))
    assert "acme-secret-0" not in runs_of(store)
    assert len(runs_of(store)) == 6


def test_nothing_in_particular_is_refused(store: DatasetStore) -> None:
    """An erasure that names nothing does not take everything."""
    with pytest.raises(ValueError, match="everything would be erased"):
        erase(store, Where())
    assert len(runs_of(store)) == 7


def test_a_dry_run_tells_the_same_and_changes_nothing(store: DatasetStore) -> None:
    """What would go is what then goes."""
    before = sorted((path, path.stat().st_mtime_ns) for path in store.folder.rglob("*.parquet"))
    told = erase(store, Where(tenant="acme"), dry_run=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in store.folder.rglob("*.parquet")) == before
    gone = erase(store, Where(tenant="acme"))
    assert told.dry_run
    assert (told.attempts, told.runs, told.files_removed) == (gone.attempts, gone.runs, gone.files_removed)


def test_buffered_rows_go_too(tmp_path: Path, attempt_row: Make) -> None:
    """Rows that wait in a sink's buffer are erased with those in files."""
    store = DatasetStore(tmp_path)
    store.append([attempt_row(run_id="r1", tenant="acme")])
    buffer = Buffer(tmp_path)
    buffer.write([attempt_row(run_id="secret", tenant="acme"), attempt_row(run_id="r3")])
    buffer.close()
    assert erase(store, Where(tenant="acme"), dry_run=True).buffered == 1
    gone = erase(store, Where(tenant="acme"))
    assert (gone.attempts, gone.buffered) == (1, 1)
    assert runs_of(store) == ["r3"]
    assert bytes_with(tmp_path, "secret") == []


def test_other_days_are_not_opened(store: DatasetStore) -> None:
    """An erasure by time does not open what it leaves alone."""
    (part, *_) = sorted((store.folder / "attempts" / "day=1970-01-03").glob("*.parquet"))
    part.write_bytes(b"damaged")
    erase(store, Where(until=DAY))
    assert [row.run_id for row in store.read_runs(until=2 * DAY)] == ["acme-secret-1", "zeta-secret-1"]


def test_a_damaged_part_stops_an_erasure_before_it_changes_anything(store: DatasetStore) -> None:
    """What cannot be read cannot be known to be clean: it is refused, and all rows stay."""
    listed = (store.folder / "parts.jsonl").read_text()
    (*_, part) = sorted((store.folder / "attempts" / "day=1970-01-02").glob("*.parquet"))
    part.write_bytes(b"damaged")
    with pytest.raises(DatasetRefused, match="damaged"):
        erase(store, Where(tenant="acme"))
    assert (store.folder / "parts.jsonl").read_text() == listed
    assert len(store.read_attempts(until=DAY)) == 4


def test_erasing_of_nothing(tmp_path: Path) -> None:
    """A dataset that is not there yet holds nothing to erase, and is not made."""
    assert erase(DatasetStore(tmp_path / "none"), Where(tenant="acme")).nothing
    assert not (tmp_path / "none").exists()


_KILLED = """
import os, sys
from sagacity_data import DatasetStore, erasure, store_parts, store_rewriting
from sagacity_data.store_where import Where

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

for name in ("replace_list", "mend"):
    counted(erasure, name)
for name in ("write_table", "named_part", "mend", "flush_names"):
    counted(store_rewriting, name)
counted(store_parts, "flush_names")
real_unlink = os.unlink
counted(os, "unlink")
erasure.erase(DatasetStore(sys.argv[1]), Where(run_id="secret"))
"""


@pytest.mark.slow
def test_killed_at_any_moment_all_or_nothing_is_gone(tmp_path: Path, attempt_row: Make) -> None:
    """Wherever an erasure is killed, readers see all old rows or none of the run's; the next one ends it."""
    kept = [attempt_row(run_id="r1"), attempt_row(run_id="r2", launch_at=DAY)]
    old = [attempt_row(run_id="secret"), attempt_row(run_id="secret", step="pay", launch_at=DAY)]
    seen, ended = set(), -1
    for calls in range(0, 60, 3):
        store = DatasetStore(tmp_path / str(calls))
        store.append([*kept, *old, run_row("secret")])
        command = [sys.executable, "-c", _KILLED, str(store.folder), str(calls)]
        ended = subprocess.run(command, check=False).returncode
        secret = [row for row in store.read() if row.run_id == "secret"]
        assert len(secret) in (0, 3)
        assert [row for row in store.read() if row.run_id != "secret"] == kept
        seen.add(len(secret))
        erase(store, Where(run_id="secret"))
        assert bytes_with(store.folder, "secret") == []
        assert store.read() == kept
        assert not list(store.folder.glob(".rewrite-*"))
        if ended == 0:
            break
    assert seen == {0, 3}
    assert ended == 0


def test_a_reading_begins_anew_when_rows_go_meanwhile(
    tmp_path: Path, attempt_row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure between two files of one reading: the reading gives the new state, never half of the old."""
    store = DatasetStore(tmp_path)
    days = [attempt_row(run_id=f"r{n}", launch_at=n * DAY) for n in range(2)]
    store.append([*days, *(replace(row, run_id="secret") for row in days)])
    erased = False

    def interrupted(*given: Any, **named: Any) -> Iterator[Any]:
        nonlocal erased
        for found in read_batches(*given, **named):
            yield found
            if not erased:
                erased = True
                erase(store, Where(run_id="secret"))

    monkeypatch.setattr("sagacity_data.store_reading.read_batches", interrupted)
    assert [row.run_id for row in store.read_attempts()] == ["r0", "r1"]


def test_a_scan_is_refused_when_rows_go_meanwhile(tmp_path: Path, attempt_row: Make) -> None:
    """A scan that has told rows already cannot begin anew: it is refused, and says that files have gone."""
    store = DatasetStore(tmp_path)
    store.append(attempt_row(run_id=f"r{n}", launch_at=n * DAY) for n in range(2))
    scan = store.scan(AttemptRow, ["run_id"])
    next(scan)
    erase(store, Where(run_id="r1"))
    with pytest.raises(DatasetRefused, match="missing"):
        next(scan)


def test_a_full_disk_erases_nothing(store: DatasetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new files cannot be written, the old ones stay."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    everything = store.read()
    monkeypatch.setattr(erasure, "replace_list", full)
    with pytest.raises(DatasetRefused, match="No space left on device"):
        erase(store, Where(tenant="acme"))
    assert store.read() == everything
