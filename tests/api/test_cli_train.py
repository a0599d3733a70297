"""`sagacity train` on small real datasets of both kinds, and what can be done with its result."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sagacity_api.cli import main
from sagacity_data import AttemptOutcome, AttemptRow
from sagacity_data.store import DatasetStore
from sagacity_engine import Direction, FailureClass, Kind, read_saga
from sagacity_models.bundle import load_bundle
from sagacity_models.registry import STEP_MODELS, Registry
from sagacity_training.log_cases import CASE_MODELS

START = 1_780_000_000.0
RUNS = 1_750
SAGA = {"saga": "errand", "steps": [{"name": "ask"}, {"name": "do"}]}

PLOTS = {"figures/calibration.png", "figures/confusion.png"}

Run = Callable[..., tuple[int, str, str]]


def plots(registry: Path, model: str) -> set[str]:
    """The pictures in the run of the model's champion, as paths inside the run."""
    run = Registry(registry).bundle_folder(model=model).parent
    return {path.relative_to(run).as_posix() for path in run.rglob("*.png")}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        code = main.run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def row(number: int, step: str, *, rush: bool, fails: bool) -> AttemptRow:
    at = START + 600.0 * number
    saga = read_saga(SAGA)
    return AttemptRow(
        run_id=f"run-{number:04}",
        saga=saga.name,
        definition_hash=saga.definition_hash,
        step=step,
        service=step,
        region="",
        kind=Kind.COMPENSATABLE,
        direction=Direction.FORWARD,
        attempt=1,
        position=saga.names.index(step),
        steps_done=saga.names.index(step),
        in_flight=0,
        scheduled_at=at,
        started_at=at,
        timeout_s=10.0,
        maximum_attempts=3,
        ended_at=at + 1 + number % 7 / 10,
        outcome=AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED,
        error_type="Busy" if fails else "",
        failure_class=FailureClass.TRANSIENT if fails else None,
        launch_at=at,
        arm="author",
        propensity=1.0,
        fallback=False,
        advice_id="",
        model_version="",
        context={"rush": rush},
        features={"context.rush": float(rush), "weekday": float(number % 7)},
    )


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs whose first step mostly fails in the rush, and hardly ever else."""
    draws = random.Random(3)
    store = DatasetStore(tmp_path_factory.mktemp("attempts") / "dataset")
    rows = []
    for number in range(RUNS):
        rush = draws.random() < 0.4
        fails = draws.random() < (0.7 if rush else 0.05)
        rows += [row(number, "ask", rush=rush, fails=fails), row(number, "do", rush=rush, fails=False)]
    store.append(rows)
    store.keep_definitions([read_saga(SAGA)])
    return store.folder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event log in which the first activity mostly tells the outcome."""
    draws = random.Random(4)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    event = (
        '<event><string key="concept:name" value="{}"/><date key="time:timestamp" value="{}"/></event>'.format
    )
    traces = []
    for number in range(1_400):
        at = begin + timedelta(hours=number)
        easy = draws.random() < 0.5
        good = draws.random() < (0.9 if easy else 0.1)
        names = ["easy" if easy else "hard", "work", "GOOD" if good else "BAD"]
        events = "".join(event(name, (at + timedelta(minutes=n)).isoformat()) for n, name in enumerate(names))
        traces.append(f'<trace><string key="concept:name" value="c{number}"/>{events}</trace>')
    path = tmp_path_factory.mktemp("log") / "log.xes"
    path.write_text(f"<log>{''.join(traces)}</log>", encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_model_of_steps_can_be_used(run: Run, attempts: Path, tmp_path: Path) -> None:
    """Training finds the signal, keeps a bundle, and predictions from it know the rush."""
    bundle = tmp_path / "bundle"
    at = START + 600 * RUNS + 3600
    options = ["--into", bundle, "--no-registry", "--at", at, "--seed", 1, "--json"]
    code, out, err = run("train", "--dataset", attempts, *options)
    told = json.loads(out)
    assert (code, told["signal"], told["promoted"]) == (0, True, True)
    assert f"kept in {bundle}" in err
    assert told["bundle"] == str(bundle)
    document = tmp_path / "errand.json"
    document.write_text(json.dumps(SAGA), encoding="utf-8")
    chances = {}
    for rush in ("true", "false"):
        code, out, _ = run(
            "predict", document, "--bundle", bundle, "--context", f"rush={rush}", "--at", at, "--json"
        )
        prediction = json.loads(out)
        assert (code, prediction["model"], prediction["fallback"]) == (
            0,
            {"version": load_bundle(bundle).version, "kind": "learned"},
            False,
        )
        chances[rush] = prediction["steps"][0]["first_refusal_probability"]
    assert chances["true"] > 0.4
    assert chances["false"] < 0.2


FIGURES = {"auc", "log_loss", "log_loss_base", "brier", "brier_base", "ece", "n_train", "n_test"}


@pytest.mark.slow
def test_the_registry_hands_out_its_champion(run: Run, attempts: Path, tmp_path: Path) -> None:
    """What was promoted answers under --registry; trained again on the same history it is not better."""
    registry = tmp_path / "registry"
    at = START + 600 * RUNS + 3600
    train = ["train", "--dataset", attempts, "--registry", registry, "--at", at, "--seed", 1]
    code, out, err = run(*train)
    assert code == 0
    assert "base" in out
    assert "promoted\n  step_failure: " in out
    assert "is the champion now" in err
    document = tmp_path / "errand.json"
    document.write_text(json.dumps(SAGA), encoding="utf-8")
    code, out, _ = run("plan", document, "--registry", registry, "--json")
    assert (code, json.loads(out)["model"]["kind"]) == (0, "learned")
    assert plots(registry, STEP_MODELS) == PLOTS

    champion = Registry(registry).bundle_folder()
    report = json.loads((champion.parent / "report" / "report.json").read_text("utf-8"))
    assert {part["group"] for part in report["models"]["step_failure"]["slices"]} >= {"all", "service"}
    assert report["decisions"]["runs"] > 100
    code, out, err = run(*train, "--json")
    told = json.loads(out)
    assert (code, told["promoted"], told["signal"]) == (3, False, True)
    assert "0 held-out rows that the champion had not learnt from" in told["reasons"][0]
    assert "version 2 is not promoted" in err
    assert Registry(registry).bundle_folder() == champion


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--once"], "--once is about --watch"),
        (["--watch", "--no-registry"], "--watch keeps what it learnt in a registry"),
        (["--watch", "--at", 5], "--watch learns what is known now"),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused(
    run: Run, attempts: Path, options: list[object], why: str
) -> None:
    """Options that contradict a watch are named."""
    code, _, err = run("train", "--dataset", attempts, *options)
    assert (code, why in err) == (2, True)


@pytest.mark.slow
def test_one_look_trains_if_that_is_due(run: Run, attempts: Path, tmp_path: Path) -> None:
    """--watch --once trains on a dataset nobody has trained on, and the next look leaves it alone."""
    config = tmp_path / "settings.toml"
    config.write_text("[report]\ndraws = 50\ndecision_runs = 0\n", "utf-8")
    look = ["train", "--dataset", attempts, "--registry", tmp_path / "registry", "--config", config]
    code, out, _ = run(*look, "--watch", "--once", "--json")
    event = json.loads(out)
    assert (code, event["trained"], event["promoted"]) == (0, "nothing was trained yet", True)
    assert run(*look, "--watch", "--once", "--json")[:2] == (0, "")


@pytest.mark.slow
def test_the_last_line_is_the_promised_document(run: Run, attempts: Path, tmp_path: Path) -> None:
    """--json ends with one line that holds exactly what is promised; the report is written where asked."""
    config = tmp_path / "settings.toml"
    config.write_text("seed = 1\n[report]\ndraws = 50\ndecision_runs = 0\n", "utf-8")
    at = START + 600 * RUNS + 3600
    options = ["--no-registry", "--at", at, "--config", config, "--report", tmp_path / "told", "--json"]
    code, out, _ = run("train", "--dataset", attempts, *options)
    told = json.loads(out.splitlines()[-1])
    assert code == 0
    assert told.keys() == {"models", "class_macro_f1", "signal", "promoted", "reasons", "bundle"}
    assert told["models"].keys() >= {"step_failure"}
    figures = told["models"]["step_failure"]
    assert figures.keys() == FIGURES
    assert figures["n_test"] >= 500
    assert figures["log_loss"] < figures["log_loss_base"]
    assert 0 <= figures["ece"] <= 0.05
    assert told["bundle"] is None
    assert {path.name for path in (tmp_path / "told").iterdir()} == {"report.html", "report.json"}
    report = json.loads((tmp_path / "told" / "report.json").read_text("utf-8"))
    assert report["config"]["seed"] == 1
    assert "decision_runs = 0" in report["decisions"]["skipped"]


@pytest.mark.parametrize(
    ("text", "why"), [("sed = 1", "did you mean seed?"), ("[gate]\nalpha = 2", "gate.alpha = 2")]
)
def test_bad_settings_are_refused_first(run: Run, tmp_path: Path, text: str, why: str) -> None:
    """A setting that is unknown or out of range is one line that names it; nothing is trained."""
    config = tmp_path / "settings.toml"
    config.write_text(text, "utf-8")
    code, out, err = run("train", "--dataset", tmp_path, "--config", config)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert why in err


@pytest.mark.slow
def test_a_model_of_cases_is_judged(run: Run, log: Path, tmp_path: Path) -> None:
    """An imported log trains a model whose figures stand beside the base rate's, and is kept once."""
    rule = ["--outcome-activities", "GOOD,BAD", "--success", "GOOD"]
    assert run("import", "xes", log, "--into", tmp_path / "set", *rule)[0] == 0
    keep = ["--into", tmp_path / "model", "--report", tmp_path / "report"]
    train = ["train", "--dataset", tmp_path / "set", "--no-registry", *keep]
    code, out, err = run(*train)
    assert code == 0, err
    for told in ("log loss", "Brier score", "AUC", "base rate: "):
        assert told in out
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert report["gate"]["signal"] is True
    scores = report["models"]["outcome"]["scores"]
    assert scores["chosen"]["log_loss"]["value"] < scores["base"]["log_loss"]["value"]
    assert report["decisions"]["skipped"] == "an event log has no plans to choose among"
    assert (tmp_path / "model" / "case_model.json").is_file()
    code, _, err = run(*train)
    assert code == 2
    assert "not empty" in err


@pytest.mark.slow
def test_training_on_cases_is_logged_unless_told_not_to(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry is the variable's, else one in the current folder; it gets plots and a champion."""
    monkeypatch.chdir(tmp_path)
    rule = ["--outcome-activities", "GOOD,BAD", "--success", "GOOD"]
    assert run("import", "xes", log, "--into", "set", *rule)[0] == 0
    code, _, err = run("train", "--dataset", "set", "--no-registry")
    assert (code, err) == (0, "not kept; leave out --no-registry, or give --into DIR, to keep it\n")
    assert {path.name for path in tmp_path.iterdir()} == {"set"}

    code, _, err = run("train", "--dataset", "set")
    assert code == 0
    assert "registry sagacity-registry: sagacity-cases version 1 is the champion now" in err
    assert plots(tmp_path / "sagacity-registry", CASE_MODELS) == PLOTS

    monkeypatch.setenv("SAGACITY_REGISTRY", "named")
    told = json.loads(run("train", "--dataset", "set", "--json")[1])
    assert told["promoted"] is True
    assert Path(told["bundle"]).parent.parent.parent.name == "cases"
    assert (tmp_path / "named" / "mlflow.db").is_file()


def test_a_registry_and_none_contradict(run: Run, log: Path, tmp_path: Path) -> None:
    """--registry and --no-registry together are refused before anything is done."""
    code, _, err = run("train", "--dataset", tmp_path, "--registry", tmp_path / "r", "--no-registry")
    assert code == 2
    assert "contradict" in err


@pytest.mark.slow
def test_a_model_that_cannot_be_written_is_one_line(run: Run, log: Path, tmp_path: Path) -> None:
    """Where --into is no place for a folder, one line names it and the way out."""
    rule = ["--outcome-activities", "GOOD,BAD", "--success", "GOOD"]
    assert run("import", "xes", log, "--into", tmp_path / "set", *rule)[0] == 0
    code, _, err = run("train", "--dataset", tmp_path / "set", "--no-registry", "--into", log / "model")
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"cannot be written to {log / 'model'}" in err
