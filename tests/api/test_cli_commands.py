"""The commands without a model of their own: what they print, and how they end."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.cli import main
from sagacity_api.exit_codes import MEANINGS, ExitCode
from sagacity_engine import read_plan, read_saga, saga_schema

Ended = tuple[int, str, str]
Run = Callable[..., Ended]

LOG = """\
<log>
<trace><string key="concept:name" value="c1"/>
<event><string key="concept:name" value="A"/><date key="time:timestamp" value="2020-01-01T00:00:00Z"/></event>
<event><string key="concept:name" value="OK"/><date key="time:timestamp" value="2020-01-02"/></event>
</trace>
<trace><string key="concept:name" value="c2"/>
<event><string key="concept:name" value="A"/><date key="time:timestamp" value="2020-01-03T00:00:00Z"/></event>
</trace>
</log>
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: its exit code, stdout and stderr."""

    def command(*arguments: object) -> Ended:
        code = main.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def test_check_shows_the_authors_plan(run: Run, trip_file: Path) -> None:
    """A sound document is summarised on stdout; stderr stays empty."""
    code, out, err = run("check", trip_file)
    assert (code, err) == (0, "")
    assert "4 steps, 3 arcs, pivot pay" in out
    assert "freedoms granted: reorder, retries" in out
    assert [line.split()[:2] for line in out.splitlines()[-4:]] == [
        ["1", "book"],
        ["2", "hold"],
        ["3", "pay"],
        ["4", "mail"],
    ]


def test_check_as_json(run: Run, trip_file: Path) -> None:
    """With --json the summary is one JSON document."""
    code, out, _ = run("check", trip_file, "--json")
    told = json.loads(out)
    assert (code, told["pivot"], told["arcs"]["pay"]) == (0, "pay", ["book", "hold"])
    assert told["stages"] == [["book"], ["hold"], ["pay"], ["mail"]]


def test_check_reads_json_files_and_stdin(
    run: Run, trip: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .json file is read as JSON; `-` is standard input, JSON or YAML."""
    path = tmp_path / "trip.json"
    path.write_text(json.dumps(trip), encoding="utf-8")
    assert run("check", path)[0] == 0
    for text in (json.dumps(trip), "saga: x\nsteps: [{name: a}]\n"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run("check", "-")[0] == 0


BAD_FILES = {
    "yaml syntax": ("bad.yaml", b"saga: x\nsteps: [\n", ":3: "),
    "yaml duplicate": ("bad.yaml", b"saga: x\nsaga: y\n", ":2: repeats the key 'saga' of line 1"),
    "yaml alias": ("bad.yaml", b"saga: &a x\nversion: *a\n", ":2: uses the alias *a"),
    "yaml bytes": ("bad.yaml", b"saga: x\nsteps: \xff\n", ":2: is not UTF-8"),
    "json syntax": ("bad.json", b'{"saga":\n ?}', ":2: column"),
    "json duplicate": ("bad.json", b'{"saga": "x", "saga": "y"}', "'saga' occurs twice"),
    "json NaN": ("bad.json", b'{"saga": "x", "deadline_s": NaN}', "NaN is no JSON number"),
    "too deep": ("bad.yaml", b"[" * 40, "nests deeper than 32"),
    "too large": ("bad.yaml", b"#" * 1_048_577, "more than 1,048,576 bytes"),
    "no mapping": ("bad.yaml", b"- a\n", "must be a mapping"),
    "unknown field": ("bad.yaml", b"saga: x\nstep: []\n", "did you mean 'steps'?"),
    "wrong type": ("bad.yaml", b"saga: x\nversion: 3\nsteps: [{name: a}]\n", "version is 3; it must be text"),
    "a circle": ("bad.yaml", b"saga: x\nsteps: [{name: a, after: [a]}]\n", "circle"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("command", ["check", "plan", "predict"])
def test_bad_documents_exit_2(name: str, command: str, run: Run, tmp_path: Path) -> None:
    """A document that cannot be used ends every command with 2 and one line: file, place, reason."""
    file, content, expected = BAD_FILES[name]
    path = tmp_path / file
    path.write_bytes(content)
    code, out, err = run(command, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"sagacity: {path}")
    assert expected in err


USAGE = {
    "no file": (["check"], "Missing argument 'FILE'"),
    "no such file": (["check", "none.yaml"], "No such file"),
    "a folder": (["check", "."], "Is a directory"),
    "unknown command": (["chekc"], "Did you mean 'check'"),
    "unknown option": (["check", "x.yaml", "--jsn"], "--jsn"),
    "no number": (["plan", "x.yaml", "--at", "noon"], "--at"),
    "negative time": (["predict", "x.yaml", "--at", "-5"], "--at"),
    "nothing to serve": (["serve"], "--bundle"),
    "no bundle folder": (["serve", "--bundle", "none"], "none is no folder"),
    "two sources": (["serve", "--bundle", "a", "--registry", "b"], "both given"),
    "port": (["serve", "--bundle", ".", "--port", "70000"], "--port"),
    "nothing to train on": (["train"], "--dataset"),
    "no dataset": (["train", "--dataset", "none"], "holds no dataset"),
    "import of nothing": (["import"], ""),
    "import without folder": (["import", "xes", "a.xes", "--success-within", "5"], "--into"),
    "import with two rules": (
        ["import", "xes", "a.xes", "--into", "d", "--success-within", "5", "--success-contains", "A"],
        "--success-contains and --success-within",
    ),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors_exit_2(name: str, run: Run) -> None:
    """Options and arguments that cannot be used end with 2, name the culprit, and leave stdout to data."""
    arguments, expected = USAGE[name]
    code, out, err = run(*arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err + out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["season"], "is not KEY=VALUE"),
        (["=x"], "is not KEY=VALUE"),
        (["a=1", "a=2"], "gives 'a' twice"),
        (["a=" + "x" * 300], "longer than 256"),
        ([f"k{n}=1" for n in range(65)], "the most is 64"),
    ],
)
def test_bad_context_exits_2(given: list[str], expected: str, run: Run, trip_file: Path) -> None:
    """Context that the service would refuse is refused here too."""
    options = [part for pair in given for part in ("--context", pair)]
    code, _, err = run("plan", trip_file, *options)
    assert code == 2
    assert expected in err


def test_plan_shows_both_plans_and_why(run: Run, trip_file: Path) -> None:
    """Without a model the stated priors are used, which is said on stderr; stdout has the comparison."""
    code, out, err = run("plan", trip_file, "--context", "season=dry", "--at", 1_790_000_000)
    assert (code, err.count("\n")) == (0, 1)
    assert "prior rates" in err
    assert "expected cost" in out
    assert "why:" in out
    assert "risks:" in out


def test_plan_as_json_is_what_the_service_answers(run: Run, trip_file: Path) -> None:
    """--json gives the service's reply: a legal plan, both numbers, model and fallback."""
    code, out, _ = run("plan", trip_file, "--json", "--exact")
    told = json.loads(out)
    assert code == 0
    assert told["fallback"] is True
    assert told["model"] == {"version": "priors", "kind": "priors"}
    assert told["advised"]["cost"] <= told["author"]["cost"]
    assert {step.name for step in read_plan(told["plan"]).steps} == {"book", "hold", "pay", "mail"}


def test_plan_of_a_document_without_freedom(run: Run, tmp_path: Path) -> None:
    """Where nothing may change, the output says what each freedom would save."""
    path = tmp_path / "fixed.yaml"
    path.write_text(
        "saga: fixed\nsteps: [{name: a, cost: 9, compensation: {cost: 9}}, {name: b}]\n", encoding="utf-8"
    )
    code, out, _ = run("plan", path)
    assert code == 0
    assert "the author's plan is kept" in out
    assert "the document grants no freedom" in out


def test_predict_shows_the_steps(run: Run, trip_file: Path) -> None:
    """Each step has a line with its chances and durations; --json has the service's reply."""
    code, out, _ = run("predict", trip_file)
    assert code == 0
    assert all(f"\n{name} " in out for name in ("book", "hold", "pay", "mail"))
    code, out, _ = run("predict", trip_file, "--json")
    assert (code, len(json.loads(out)["steps"])) == (0, 4)


def test_schema_is_the_engines(run: Run) -> None:
    """`schema` prints the engine's schema, with or without --json."""
    for options in ([], ["--json"]):
        code, out, err = run("schema", *options)
        assert (code, err, json.loads(out)) == (0, "", saga_schema())


def test_version(run: Run) -> None:
    """`--version` prints name and version."""
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("sagacity ")


def test_help_lists_commands_and_exit_codes(run: Run) -> None:
    """The help names every command and what every exit code means."""
    code, out, _ = run("--help")
    words = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert all(meaning in words for meaning in MEANINGS.values())
    assert all(f" {name} " in words for name in ("check", "plan", "predict", "train", "serve", "import"))


def test_an_unreachable_service_exits_4(run: Run, trip_file: Path) -> None:
    """Nobody listening at --url is exit code 4, with the way out."""
    code, out, err = run("plan", trip_file, "--url", "http://127.0.0.1:9")
    assert (code, out) == (4, "")
    assert "sagacity serve" in err


def test_an_unusable_url_exits(run: Run, trip_file: Path) -> None:
    """An address that cannot be one is bad input; so is --url beside a bundle."""
    assert run("plan", trip_file, "--url", "nonsense")[0] == 2
    assert run("plan", trip_file, "--url", "http://127.0.0.1:9", "--bundle", "x")[0] == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "8.8.8.8"])
def test_serving_beyond_loopback_exits_5(host: str, run: Run, tmp_path: Path) -> None:
    """Without authentication anything but the loopback interface is refused by a guardrail."""
    code, _, err = run("serve", "--bundle", tmp_path, "--host", host)
    assert code == 5
    assert "authenticates nobody" in err


def test_importing(run: Run, tmp_path: Path) -> None:
    """A log becomes a dataset; the summary is on stdout."""
    log = tmp_path / "log.xes"
    log.write_text(LOG, encoding="utf-8")
    code, out, err = run("import", "xes", log, "--into", tmp_path / "set", "--success-contains", "OK")
    assert (code, err) == (0, "")
    assert "2 cases, 3 events from 1 of 1 files" in out
    assert "1 succeeded (50.0%)" in out
    assert run("import", "xes", log, "--into", tmp_path / "set", "--success-contains", "OK")[0] == 2


def test_importing_what_is_partly_bad_exits_3(run: Run, tmp_path: Path) -> None:
    """Good files are imported, bad ones named: exit code 3, and --json lists both."""
    good, bad = tmp_path / "good.xes", tmp_path / "bad.xes"
    good.write_text(LOG, encoding="utf-8")
    bad.write_text(LOG[:200], encoding="utf-8")
    options = ["--into", tmp_path / "set", "--success-contains", "OK", "--json"]
    code, out, err = run("import", "xes", good, bad, tmp_path / "none.xes", *options)
    told = json.loads(out)
    assert (code, err.count("refused: ")) == (3, 2)
    assert [Path(source["path"]).name for source in told["imported"]] == ["good.xes"]
    assert [Path(each["path"]).name for each in told["refused"]] == ["bad.xes", "none.xes"]


def test_importing_nothing_readable_exits_1(run: Run, tmp_path: Path) -> None:
    """When no file could be read nothing is written: exit code 1."""
    code, out, err = run(
        "import", "xes", tmp_path / "no.xes", "--into", tmp_path / "set", "--success-within", 60
    )
    assert (code, out) == (1, "")
    assert "nothing was written" in err
    assert not (tmp_path / "set").exists()


def test_training_on_too_little_exits_2(run: Run, tmp_path: Path) -> None:
    """A dataset with two cases cannot be trained on, and the reason is told."""
    log = tmp_path / "log.xes"
    log.write_text(LOG, encoding="utf-8")
    run("import", "xes", log, "--into", tmp_path / "set", "--success-contains", "OK")
    code, out, err = run("train", "--dataset", tmp_path / "set")
    assert (code, out) == (2, "")
    assert err.startswith("sagacity: ")


@pytest.mark.parametrize("described", ["{", "[]", '{"kind": "pictures"}'])
def test_training_on_something_else_exits_2(described: str, run: Run, tmp_path: Path) -> None:
    """A folder whose description is damaged or of another kind is refused."""
    (tmp_path / "dataset.json").write_text(described, encoding="utf-8")
    assert run("train", "--dataset", tmp_path)[0] == 2


def test_the_environment_gives_defaults(run: Run, trip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables stand in for options, options win, and an unusable variable is refused."""
    monkeypatch.setenv("SAGACITY_URL", "http://127.0.0.1:9")
    assert run("plan", trip_file)[0] == 4
    assert "x is no folder" in run("plan", trip_file, "--bundle", "x")[2]
    monkeypatch.setenv("SAGACITY_BUNDLE", "somewhere")
    monkeypatch.setenv("SAGACITY_PORT", "http")
    code, _, err = run("serve")
    assert code == 2
    assert "SAGACITY_PORT is 'http'" in err


def fail_with(error: BaseException) -> Callable[..., int]:
    def command(*_: object, **__: object) -> int:
        raise error

    return command


def test_a_missing_extra_is_named(run: Run, trip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its packages a command exits 2 and says what to install."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "sagacity_api.service.serving", raising=False)
    code, _, err = run("serve", "--bundle", trip_file.parent)
    assert code == 2
    assert "pip install 'sagacity[server]'" in err


def test_an_unexpected_error_is_one_line(run: Run, trip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug ends with 1 and one line; the traceback comes only when asked for."""
    monkeypatch.setattr("sagacity_api.cli.rendering.saga_lines", fail_with(RuntimeError("odd\nthing")))
    code, out, err = run("check", trip_file)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "unexpected RuntimeError: odd thing" in err
    monkeypatch.setenv("SAGACITY_DEBUG", "1")
    assert "Traceback" in run("check", trip_file)[2]


def test_interrupting_exits_130(run: Run, trip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is told in one line."""
    monkeypatch.setattr("sagacity_api.cli.rendering.saga_lines", fail_with(KeyboardInterrupt()))
    assert run("check", trip_file) == (130, "", "sagacity: interrupted\n")


def test_every_code_has_a_meaning() -> None:
    """The table of exit codes is complete."""
    assert set(MEANINGS) == set(ExitCode)


def test_examples_are_sound(run: Run) -> None:
    """The example document passes `check`."""
    example = Path(__file__).parents[2] / "examples" / "goa_trip.yaml"
    assert run("check", example)[0] == 0
    assert read_saga({"saga": "x", "steps": [{"name": "a"}]}).names == ("a",)
