from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sagacity_data.case_store import EventLogDataset
from sagacity_data.errors import DatasetRefused
from sagacity_data.importers import ImportProgress, import_event_logs
from sagacity_data.importers.xes import read_cases
from sagacity_data.outcomes import OutcomeActivities, RuleRefused

RULE = OutcomeActivities(("accepted", "declined"), ("accepted",))
Write = Callable[[int, float], Path]
WriteLog = Callable[[str, Iterable[Any]], Path]
KILLED_BY_ITSELF = """
import os, signal, sys
from sagacity_data.importers import import_event_logs
from sagacity_data.outcomes import OutcomeActivities
import_event_logs([sys.argv[1]], sys.argv[2], OutcomeActivities(("accepted", "declined"), ("accepted",)),
    progress=lambda _: os.kill(os.getpid(), signal.SIGKILL), replace=True)
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_imported_reads_back_equal(tmp_path: Path, write_loans: Write) -> None:
    """Every case comes back with its events in file order, its attributes and its outcome."""
    log = write_loans(40, 0.5)
    report = import_event_logs([log], tmp_path / "set", RULE)
    dataset = EventLogDataset.open(tmp_path / "set")
    summaries = dataset.summaries()
    cases = [case for _number, case in dataset.cases(range(1000))]
    assert cases == list(read_cases(log))
    assert [summary.outcome for summary in summaries] == [RULE.decide(case) for case in cases]
    assert (report.cases, report.cases_with_outcome, report.refused) == (40, 40, ())
    assert report.successes == sum(
        summary.outcome is not None and summary.outcome.success for summary in summaries
    )
    assert dataset.rule == RULE


def test_only_the_wanted_cases_come_back(tmp_path: Path, write_loans: Write) -> None:
    """Asking for some numbers gives exactly those cases, ascending."""
    import_event_logs([write_loans(40, 0.5)], tmp_path / "set", RULE)
    found = list(EventLogDataset.open(tmp_path / "set").cases({30, 3, 17, 999}))
    assert [(number, case.case_id) for number, case in found] == [
        (3, "c00003"),
        (17, "c00017"),
        (30, "c00030"),
    ]


def test_equal_imports_give_equal_files(tmp_path: Path, write_loans: Write) -> None:
    """Two imports of the same log with the same rule are equal byte for byte."""
    log = write_loans(40, 0.5)
    for name in ("one", "two"):
        import_event_logs([log], tmp_path / name, RULE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_bad_file_is_reported_and_leaves_nothing(
    tmp_path: Path, write_loans: Write, write_log: WriteLog
) -> None:
    """Files that break off, are missing or come twice are refused; the good ones are whole."""
    good, other = write_loans(40, 0.5), write_loans(30, 0.1)
    broken = tmp_path / "broken.xes"
    broken.write_text(good.read_text(encoding="utf-8")[:-2000], encoding="utf-8")
    report = import_event_logs([broken, good, tmp_path / "none.xes", other, good], tmp_path / "set", RULE)
    assert [Path(refusal.path).name for refusal in report.refused] == ["broken.xes", "none.xes", good.name]
    dataset = EventLogDataset.open(tmp_path / "set")
    assert [summary.number for summary in dataset.summaries()] == list(range(70))
    assert [summary.source for summary in dataset.summaries()] == [0] * 40 + [1] * 30
    assert len(list(dataset.cases(range(1000)))) == 70


def test_nothing_is_written_when_no_file_can_be_read(tmp_path: Path) -> None:
    """With refused files only, the report has no dataset and the folder does not appear."""
    report = import_event_logs([tmp_path / "none.xes"], tmp_path / "set", RULE)
    assert (report.dataset, len(report.refused), names(tmp_path)) == (None, 1, set())


def test_a_rule_that_matches_nothing_is_refused(tmp_path: Path, write_loans: Write) -> None:
    """A rule without any outcome names the log's activities and writes nothing."""
    log = write_loans(10, 0.5)
    with pytest.raises(RuleRefused, match=r"no case has an outcome.*submit"):
        import_event_logs([log], tmp_path / "set", OutcomeActivities(("x", "y"), ("x",)))
    assert names(tmp_path) == {log.name}


def test_folders_of_others_are_never_overwritten(tmp_path: Path, write_loans: Write) -> None:
    """A file, a folder of other files and a dataset of another kind are refused, replace or not."""
    log = write_loans(10, 0.5)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for name, content in (("folder/notes.txt", "mine"), ("runs/dataset.json", '{"kind": "runs"}')):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content, encoding="utf-8")
    before = contents(tmp_path)
    for name in ("file", "folder", "runs"):
        for replace in (False, True):
            with pytest.raises(DatasetRefused, match=name):
                import_event_logs([log], tmp_path / name, RULE, replace=replace)
    assert contents(tmp_path) == before


def test_an_event_log_is_replaced_only_on_request(tmp_path: Path, write_loans: Write) -> None:
    """Importing again is refused with the way out; with replace the new dataset takes the old one's place."""
    first, second = write_loans(10, 0.5), write_loans(20, 0.5)
    import_event_logs([first], tmp_path / "set", RULE)
    with pytest.raises(DatasetRefused, match="--replace"):
        import_event_logs([second], tmp_path / "set", RULE)
    import_event_logs([second], tmp_path / "set", RULE, replace=True)
    assert len(EventLogDataset.open(tmp_path / "set").summaries()) == 20
    assert names(tmp_path) == {first.name, second.name, "set"}


def test_an_empty_folder_is_filled(tmp_path: Path, write_loans: Write) -> None:
    """An existing empty folder, and parents that do not exist yet, are fine."""
    (tmp_path / "empty").mkdir()
    log = write_loans(10, 0.5)
    for name in ("empty", "new/deep/set"):
        assert import_event_logs([log], tmp_path / name, RULE).dataset == tmp_path / name


def test_progress_tells_how_far_it_is(tmp_path: Path, write_loans: Write) -> None:
    """Progress comes per file with rising counts, and ends with the whole file read."""
    told: list[ImportProgress] = []
    log = write_loans(1200, 0.5)
    import_event_logs([log], tmp_path / "set", RULE, told.append)
    assert [progress.cases for progress in told] == [500, 1000, 1200]
    assert told[-1].bytes_read == told[-1].bytes_total == log.stat().st_size


@pytest.mark.slow
def test_a_killed_import_leaves_no_trace(tmp_path: Path, write_loans: Write) -> None:
    """SIGKILL in the middle leaves the old dataset whole; the next import removes the dead draft."""
    log = write_loans(600, 0.5)
    import_event_logs([log], tmp_path / "set", RULE)
    before = contents(tmp_path / "set")
    command = [sys.executable, "-c", KILLED_BY_ITSELF, str(log), str(tmp_path / "set")]
    assert subprocess.run(command, check=False).returncode == -9
    assert contents(tmp_path / "set") == before
    assert len(names(tmp_path)) == 3
    import_event_logs([log], tmp_path / "set", RULE, replace=True)
    assert names(tmp_path) == {log.name, "set"}


def test_a_replacement_that_never_came_is_undone(tmp_path: Path, write_loans: Write) -> None:
    """A dataset set aside by a dead process goes back to its name before the next import looks."""
    import_event_logs([write_loans(10, 0.5)], tmp_path / "set", RULE)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "set").rename(tmp_path / f".set.replaced-{dead.pid}")
    with pytest.raises(DatasetRefused, match="--replace"):
        import_event_logs([write_loans(20, 0.5)], tmp_path / "set", RULE)
    assert len(EventLogDataset.open(tmp_path / "set").summaries()) == 10


def test_damaged_datasets_are_refused(tmp_path: Path, write_loans: Write) -> None:
    """A missing, foreign, newer or damaged dataset is refused by name, never half read."""
    folder = tmp_path / "set"
    with pytest.raises(DatasetRefused, match="holds no dataset"):
        EventLogDataset.open(folder)
    import_event_logs([write_loans(10, 0.5)], folder, RULE)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for change, said in (({"kind": "runs"}, "of kind 'runs'"), ({"schema_version": 99}, "version 99")):
        (folder / "dataset.json").write_text(json.dumps(description | change), encoding="utf-8")
        with pytest.raises(DatasetRefused, match=said):
            EventLogDataset.open(folder)
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    for part in (folder / "events").iterdir():
        part.unlink()
    with pytest.raises(DatasetRefused, match="lacks the events"):
        list(EventLogDataset.open(folder).cases(range(10)))
    (folder / "cases.parquet").write_bytes(b"PAR1 not any more PAR1")
    with pytest.raises(DatasetRefused, match="cannot be read"):
        EventLogDataset.open(folder).summaries()
    (folder / "dataset.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetRefused, match="cannot be read"):
        EventLogDataset.open(folder)
