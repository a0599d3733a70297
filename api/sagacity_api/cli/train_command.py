"""`sagacity train`: a dataset in, a judged model out, with its figures beside those of the base rate."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity_api.bounded_json import JsonRefused, read_json
from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.output import progress_bar, put, put_json, say, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_training.cases import CaseTrainingResult
    from sagacity_training.training_result import TrainingResult

REGISTRY_FOLDER = "sagacity-registry"
"""Where a training is logged unless --registry, SAGACITY_REGISTRY or --no-registry says otherwise."""

_DESCRIPTION = "dataset.json"
Tell = Callable[[str], None]


def train(
    *,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", metavar="DIR", help="What the recorder or an import wrote.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="The folder to keep the model in.")
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            "--registry", metavar="DIR", help=f"Log figures, plots and model here. [{REGISTRY_FOLDER}]"
        ),
    ] = None,
    no_registry: Annotated[bool, typer.Option("--no-registry", help="Log to no registry.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same data and seed give the same model.")] = 0,
    at: Annotated[
        float | None, typer.Option(min=0, help="Learn what was known then, in seconds since the epoch. [now]")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Train on a dataset and judge the model on what it has not seen."""
    settings = read_environment()
    folder = dataset or (Path(settings.dataset) if settings.dataset else None)
    if folder is None:
        raise BadInput("nothing to train on; give --dataset DIR")
    if registry is not None and no_registry:
        raise BadInput(f"--registry {registry} and --no-registry contradict each other; keep one of them")
    kept = None if no_registry else registry or Path(settings.registry or REGISTRY_FOLDER)
    match dataset_kind(folder):
        case "attempts":
            known_at = time.time() if at is None else at
            return _train_steps(folder, into, kept, seed=seed, at=known_at, as_json=as_json)
        case "event_log":
            return _train_cases(folder, into, kept, seed=seed, as_json=as_json)
        case other:
            raise BadInput(f"{folder} holds a dataset of kind {other!r}, which nothing here can train on")


def dataset_kind(folder: Path) -> str:
    """What kind of dataset a folder holds; raises `BadInput` where it holds none."""
    try:
        described = read_json((folder / _DESCRIPTION).read_bytes())
    except OSError:
        raise BadInput(
            f"{folder} holds no dataset; import one with `sagacity import`, or record runs"
        ) from None
    except JsonRefused as refusal:
        raise BadInput(f"{folder / _DESCRIPTION}: {refusal}; the dataset is damaged") from None
    return str(described.get("kind")) if isinstance(described, dict) else "none"


def _train_steps(
    folder: Path, into: Path | None, registry: Path | None, *, seed: int, at: float, as_json: bool
) -> int:
    from sagacity_data import DataError
    from sagacity_models.errors import ModelError
    from sagacity_models.registry import STEP_MODELS, Registry
    from sagacity_training.errors import TrainingError
    from sagacity_training.train import train_steps

    try:
        with _writing(into), _told_progress() as tell:
            result = train_steps(
                folder,
                seed=seed,
                at=at,
                registry=None if registry is None else Registry(registry),
                folder=into,
                progress=tell,
            )
    except (DataError, ModelError, TrainingError) as refusal:
        raise BadInput(str(refusal)) from None
    _tell_kept(into, registry, f"{STEP_MODELS} version {result.model_version}", champion=result.promoted)
    put_json(_steps_as_json(result)) if as_json else put(result.table().splitlines())
    return ExitCode.DONE if result.signal else ExitCode.LOOK


def _train_cases(folder: Path, into: Path | None, registry: Path | None, *, seed: int, as_json: bool) -> int:
    from sagacity_data.errors import DataError
    from sagacity_models.errors import ModelError
    from sagacity_models.registry import CHAMPION, Registry
    from sagacity_models.registry_process import RegistryProcess
    from sagacity_training.cases import train_cases
    from sagacity_training.errors import TrainingError
    from sagacity_training.log_cases import CASE_MODELS, log_cases

    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BadInput(f"{into} exists and is not empty; give --into a new folder")
    version, champion = "", False
    try:
        with RegistryProcess(Registry(registry)) if registry is not None else nullcontext() as process:
            with _told_progress() as tell:
                result = train_cases(folder, seed=seed, progress=tell)
            if into is not None:
                with _writing(into):
                    _write_case_model(result, into)
            if process is not None:
                version = log_cases(result, process).version
                champion = process.version(CHAMPION, model=CASE_MODELS) == version
    except (DataError, ModelError, TrainingError) as refusal:
        raise BadInput(str(refusal)) from None
    _tell_kept(into, registry, f"{CASE_MODELS} version {version}", champion=champion)
    if as_json:
        put_json({**_cases_as_json(result), "model_version": version, "promoted": champion})
    else:
        put(_cases_lines(result))
    return ExitCode.DONE if result.signal else ExitCode.LOOK


@contextmanager
def _writing(into: Path | None) -> Iterator[None]:
    """A model that cannot be written is told as such; what cannot be read has refusals of its own."""
    try:
        yield
    except OSError as problem:
        where = f" to {into}" if into is not None else ""
        raise BadInput(
            f"the model cannot be written{where} ({problem.strerror}); choose another folder or make room"
        ) from None


def _write_case_model(result: CaseTrainingResult, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in result.artifacts.items():
        (folder / name).write_text(text, encoding="utf-8")
    figures = json.dumps(_cases_as_json(result), indent=2)
    (folder / "figures.json").write_text(figures + "\n", encoding="utf-8")


def _tell_kept(into: Path | None, registry: Path | None, version: str, *, champion: bool) -> None:
    """Where the model is now, and whether it is the one that is used from there."""
    if into is not None:
        say(f"kept in {into}")
    if registry is not None:
        standing = "the champion now" if champion else "not promoted: it knows no more than the base rate"
        say(f"logged to the registry {registry}: {version} is {standing}")
    if into is None and registry is None:
        say("not kept; leave out --no-registry, or give --into DIR, to keep it")


@contextmanager
def _told_progress() -> Iterator[Tell | None]:
    """Shows what training does now, where somebody watches."""
    with progress_bar() as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task("training", total=None)
        yield lambda what: bar.update(task, description=what)


def _steps_as_json(result: TrainingResult) -> dict[str, Any]:
    return {
        "kind": "attempts",
        "version": result.version,
        "signal": result.signal,
        "model_version": result.model_version,
        "promoted": result.promoted,
        "rows": result.rows,
        "runs": result.runs,
        "targets": {target.name: target.as_json() for target in result.targets},
    }


def _cases_lines(result: CaseTrainingResult) -> list[str]:
    scores = result.scores
    auc = f"{scores.auc.value:.4f}" if scores.auc else "-"
    rows = [
        ["figure", "base rate", "model"],
        ["log loss", f"{scores.base_log_loss:.4f}", f"{scores.log_loss:.4f}"],
        ["Brier score", f"{scores.base_brier:.4f}", f"{scores.brier:.4f}"],
        ["AUC", "0.5000", auc],
        ["calibration error", "-", f"{scores.calibration_error:.4f}"],
    ]
    gain = scores.log_loss_gain
    return [
        f"{result.verdict}",
        f"rule: {result.rule}",
        f"{scores.cases} test cases, {scores.rows} prefixes, {scores.positive_share:.1%} of them succeed",
        f"base rate: {scores.base_rate:.1%}, the share of successes among the training rows",
        "",
        *table(rows, right=frozenset({1, 2})),
        f"log loss gained: {gain.value:.4f}, 95 % interval {gain.low:.4f} to {gain.high:.4f}",
        *(f"note: {note}" for note in result.notes),
    ]


def _cases_as_json(result: CaseTrainingResult) -> dict[str, Any]:
    return {
        "kind": "event_log",
        "signal": result.signal,
        "verdict": result.verdict,
        "rule": result.rule,
        "scores": asdict(result.scores),
        "metrics": dict(result.metrics),
        "params": dict(result.params),
        "notes": list(result.notes),
    }
