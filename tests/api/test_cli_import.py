"""`sagacity import`: every format's command, its report, its exit codes and what the user may say besides."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.cli import import_commands, main
from sagacity_data import AttemptOutcome
from sagacity_data.event_log import ImportRefused
from sagacity_data.importers import FORMATS, ForeignAttempt, ForeignRun, Hints, Tally
from sagacity_data.importers import formats as formats_module
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction, Status

Run = Callable[..., tuple[int, str, str]]


def event(name: str, at: str) -> str:
    named, timed = (
        f'<string key="concept:name" value="{name}"/>',
        f'<date key="time:timestamp" value="{at}"/>',
    )
    return f"<event>{named}{timed}</event>"


LOG = f"""<?xml version="1.0" encoding="UTF-8"?>
<log><string key="concept:name" value="fines"/>
<trace><string key="concept:name" value="c1"/>
{event("Ask", "2024-01-01T10:00:00Z")}
{event("OK", "2024-01-01T10:05:00Z")}
</trace>
<trace><string key="concept:name" value="c2"/>
{event("Ask", "2024-01-02T10:00:00Z")}
</trace></log>
"""


def read_plain(path: Path, hints: Hints, tally: Tally) -> Iterator[ForeignRun]:
    """A fake reader: each word of the file is a step; `?` is a type nobody knows, `!` ends badly."""
    if not path.exists():
        raise ImportRefused(path, "", "does not exist", "check the path")
    attempts = []
    for number, word in enumerate(path.read_text("utf-8").split()):
        if word == "!":
            raise ImportRefused(path, f"word {number + 1}", "breaks off", "export it again")
        if word == "?":
            tally.skipped["odd"] += 1
            continue
        undone = hints.undoes.get(word)
        direction = Direction.FORWARD if undone is None else Direction.UNDO
        attempts.append(
            ForeignAttempt(step=undone or word, outcome=AttemptOutcome.SUCCEEDED, direction=direction)
        )
    context = {"columns": json.dumps(dict(hints.columns), sort_keys=True)}
    yield ForeignRun(
        run_id=path.name,
        saga="trip",
        status=Status.COMPLETED,
        attempts=tuple(attempts),
        tenant=hints.tenant,
        context=context,
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """All formats are read by the fake reader."""
    monkeypatch.setattr(formats_module.Format, "reader", lambda self: read_plain)


def imported(run: Run, *arguments: object) -> tuple[int, dict[str, Any], str]:
    code, out, err = run("import", *arguments, "--into", "set", "--json")
    return code, json.loads(out), err


def test_every_format_has_its_command(run: Run) -> None:
    """The formats of the data layer and the commands are the same."""
    assert {*import_commands.HELP, "csv", "xes"} == set(FORMATS)
    assert all(run("import", name, "--help")[0] == 0 for name in FORMATS)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_file_becomes_a_dataset(name: str, run: Run, tmp_path: Path) -> None:
    """Every format writes runs and attempts, exits 0 and ends with the one object that was promised."""
    (tmp_path / "h.json").write_text("book ? pay", "utf-8")
    code, told, err = imported(run, name, "h.json")
    assert code == 0
    assert {key: told[key] for key in ("files", "read", "refused", "runs", "attempts", "outcomes")} == {
        "files": 1,
        "read": 1,
        "refused": [],
        "runs": 1,
        "attempts": 2,
        "outcomes": {"succeeded": 2},
    }
    assert told["skipped_event_types"] == {"odd": 1}
    assert told["seconds"] >= 0
    assert "skipped: 1 of the type 'odd'" in err
    assert [row.source for row in DatasetStore(tmp_path / "set").read_runs()] == [name]


@pytest.mark.usefixtures("plain")
def test_bad_files_exit_3_and_are_named(run: Run, tmp_path: Path) -> None:
    """Files that break off or do not exist are refused with path and reason; the good ones are imported."""
    (tmp_path / "good.json").write_text("book pay", "utf-8")
    (tmp_path / "bad.json").write_text("book !", "utf-8")
    code, told, err = imported(run, "temporal", "good.json", "bad.json", "none.json")
    assert (code, told["files"], told["read"], told["runs"], told["attempts"]) == (3, 3, 1, 1, 2)
    assert [(each["path"], each["reason"]) for each in told["refused"]] == [
        ("bad.json", "breaks off"),
        ("none.json", "does not exist"),
    ]
    assert err.count("refused: ") == 2
    assert "Traceback" not in err


@pytest.mark.usefixtures("plain")
def test_nothing_readable_exits_1_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    """With refused files only there is no dataset, and --json still ends with the report."""
    (tmp_path / "bad.json").write_text("!", "utf-8")
    code, told, err = imported(run, "otlp", "bad.json")
    assert (code, told["files"], told["read"], told["dataset"]) == (1, 1, 0, None)
    assert "nothing was written" in err
    assert not (tmp_path / "set").exists()


@pytest.mark.usefixtures("plain")
def test_folders_are_looked_through(run: Run, tmp_path: Path) -> None:
    """Files with the format's suffixes below a folder are read in order, and no others."""
    for name in ("in/b.json", "in/a.json.gz", "in/deep/c.json", "in/.hidden.json", "in/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("book", "utf-8")
    code, told, _ = imported(run, "cadence", "in")
    assert (code, told["files"]) == (0, 3)
    names = {row.run_id for row in DatasetStore(tmp_path / "set").read_runs()}
    assert names == {"a.json.gz", "b.json", "c.json"}
    (tmp_path / "empty").mkdir()
    code, told, _ = imported(run, "cadence", "empty")
    assert (code, told["refused"][0]["reason"]) == (1, "holds no file of this format")


@pytest.mark.usefixtures("plain")
def test_importing_again_adds_nothing(run: Run, tmp_path: Path) -> None:
    """The same file twice, in one command or two, leaves the rows of once."""
    (tmp_path / "h.json").write_text("book pay", "utf-8")
    assert imported(run, "temporal", "h.json", "./h.json")[1]["files"] == 1
    before = DatasetStore(tmp_path / "set").read()
    assert imported(run, "temporal", "h.json")[0] == 0
    assert DatasetStore(tmp_path / "set").read() == before


@pytest.mark.usefixtures("plain")
def test_options_win_over_the_mapping_file(run: Run, tmp_path: Path) -> None:
    """Undoes, services, tenant and columns come from the file and from options, which win."""
    (tmp_path / "h.csv").write_text("book pay zap", "utf-8")
    (tmp_path / "m.yaml").write_text(
        "undoes: {zap: pay}\nservices: {book: hotels, pay: bank}\ntenant: acme\ncolumns: {case: Id}\n",
        "utf-8",
    )
    options = ["--mapping", "m.yaml", "--undo", "zap=book", "--service", "book=inns", "--column", "step=What"]
    assert imported(run, "csv", "h.csv", *options)[0] == 0
    attempts = DatasetStore(tmp_path / "set").read_attempts()
    told = {(row.step, row.direction.value, row.service) for row in attempts}
    assert told == {("book", "forward", "inns"), ("pay", "forward", "bank"), ("book", "undo", "inns")}
    (row,) = DatasetStore(tmp_path / "set").read_runs()
    assert (row.tenant, row.context) == ("acme", {"columns": '{"case": "Id", "step": "What"}'})


@pytest.mark.usefixtures("plain")
def test_a_mapping_may_be_json(run: Run, tmp_path: Path) -> None:
    """A mapping file that ends in .json is read as JSON."""
    (tmp_path / "h.json").write_text("book", "utf-8")
    (tmp_path / "m.json").write_text('{"tenant": "acme"}', "utf-8")
    assert imported(run, "jaeger", "h.json", "--mapping", "m.json")[0] == 0
    assert [row.tenant for row in DatasetStore(tmp_path / "set").read_runs()] == ["acme"]


USAGE: dict[str, tuple[list[str], str]] = {
    "unknown format": (["nosuch", "h.json", "--into", "set"], "nosuch"),
    "no path": (["temporal", "--into", "set"], "PATH"),
    "no dataset": (["temporal", "h.json"], "--into"),
    "no pair": (["temporal", "h.json", "--into", "set", "--undo", "zap"], "--undo 'zap' is not UNDO=STEP"),
    "half a pair": (["temporal", "h.json", "--into", "set", "--service", "=x"], "is not STEP=SERVICE"),
    "two services": (
        ["temporal", "h.json", "--into", "set", "--service", "a=x", "--service", "a=y"],
        "gives 'a' twice",
    ),
    "no mapping file": (["temporal", "h.json", "--into", "set", "--mapping", "none.yaml"], "is no file"),
    "odd mapping": (["temporal", "h.json", "--into", "set", "--mapping", "odd.yaml"], "has the key 'undo'"),
    "listed mapping": (["temporal", "h.json", "--into", "set", "--mapping", "list.yaml"], "holds no mapping"),
    "no names": (["temporal", "h.json", "--into", "set", "--mapping", "numbers.yaml"], "is no name"),
    "columns for JSON": (["temporal", "h.json", "--into", "set", "--mapping", "columns.yaml"], "'columns'"),
    "column for JSON": (["otlp", "h.json", "--into", "set", "--column", "a=b"], "--column"),
    "another's folder": (["temporal", "h.json", "--into", "taken"], "taken is not a dataset"),
    "replace without a rule": (["xes", "h.json", "--into", "set", "--replace"], "--replace"),
    "hints with a rule": (
        ["xes", "h.json", "--into", "set", "--success-within", "5", "--tenant", "t"],
        "--tenant",
    ),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", USAGE)
def test_usage_errors_exit_2_and_write_nothing(name: str, run: Run, tmp_path: Path) -> None:
    """What cannot be meant is told in one line, exits 2, and leaves no dataset."""
    for file, text in {
        "h.json": "book",
        "odd.yaml": "undo: {a: b}",
        "list.yaml": "[undoes]",
        "numbers.yaml": "services: {a: 5}",
        "columns.yaml": "columns: {a: b}",
        "taken/mine.txt": "mine",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, "utf-8")
    arguments, expected = USAGE[name]
    code, out, err = run("import", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert not (tmp_path / "set").exists()


@pytest.mark.usefixtures("plain")
def test_without_json_the_report_is_for_a_reader(run: Run, tmp_path: Path) -> None:
    """Runs, attempts and outcomes are told in words on stdout."""
    (tmp_path / "h.json").write_text("book pay", "utf-8")
    code, out, err = run("import", "conductor", "h.json", "--into", "set")
    assert (code, err) == (0, "")
    assert out.startswith("set: 1 runs, 2 attempts from 1 of 1 files")
    assert "attempts: 2 succeeded" in out


@pytest.mark.parametrize("name", ["log.xes", "log.xes.gz"])
def test_xes_without_a_rule_writes_attempts(run: Run, tmp_path: Path, name: str) -> None:
    """Without an outcome rule an event log becomes runs and attempts, like every other history."""
    content = LOG.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    code, told, _ = imported(run, "xes", ".")
    assert (code, told["runs"], told["attempts"], told["outcomes"]) == (0, 2, 3, {"succeeded": 3})
    assert [row.step for row in DatasetStore(tmp_path / "set").read_attempts()] == ["Ask", "OK", "Ask"]


def test_xes_with_a_rule_writes_cases(run: Run, tmp_path: Path) -> None:
    """With an outcome rule the cases are written as ever, and the report has the keys of all imports."""
    (tmp_path / "log.xes").write_text(LOG, "utf-8")
    code, told, _ = imported(run, "xes", "log.xes", "none.xes", "--success-contains", "OK")
    assert (code, told["files"], told["read"], told["runs"], told["attempts"]) == (3, 2, 1, 2, 3)
    assert (told["cases"], told["successes"], told["outcomes"]) == (2, 1, {"succeeded": 3})
    assert [each["path"] for each in told["refused"]] == ["none.xes"]
    assert told["skipped_event_types"] == {}
    assert json.loads((tmp_path / "set/dataset.json").read_text("utf-8"))["kind"] == "event_log"


def test_a_dataset_of_cases_is_not_mixed_with_runs(run: Run, tmp_path: Path) -> None:
    """Runs are not written into a dataset of cases, nor the other way round."""
    (tmp_path / "log.xes").write_text(LOG, "utf-8")
    imported(run, "xes", "log.xes", "--success-contains", "OK")
    assert run("import", "xes", "log.xes", "--into", "set")[0] == 2
    assert run("import", "xes", "log.xes", "--into", "runs")[0] == 0
    assert run("import", "xes", "log.xes", "--into", "runs", "--success-contains", "OK")[0] == 2
