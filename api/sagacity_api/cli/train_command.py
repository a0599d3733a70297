"""`sagacity train`: a dataset in, a judged model out, promoted if the gate says so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.bounded_json import JsonRefused, read_json
from sagacity_api.cli.errors import BadInput
from sagacity_api.cli.output import progress_bar, put, say
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.environment import read_environment
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_training.config import TrainingConfig
    from sagacity_training.job import Done, Job

REGISTRY_FOLDER = "sagacity-registry"
"""Where a training is logged unless --registry, SAGACITY_REGISTRY or --no-registry says otherwise."""

_DESCRIPTION = "dataset.json"
_KINDS = ("attempts", "event_log")
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
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings, as TOML or JSON.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Also write the report here."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same data and seed give the same model. [0]")
    ] = None,
    at: Annotated[
        float | None, typer.Option(min=0, help="Learn what was known then, in seconds since the epoch. [now]")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep going: train again on new runs and on drift.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="With --watch: look once, train if that is due, and end.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Train on a dataset, judge the model on what it has not seen, and promote it if it is surely better."""
    environment = read_environment()
    folder = dataset or (Path(environment.dataset) if environment.dataset else None)
    if folder is None:
        raise BadInput("nothing to train on; give --dataset DIR")
    if registry is not None and no_registry:
        raise BadInput(f"--registry {registry} and --no-registry contradict each other; keep one of them")
    settings = _settings(config, seed)
    kind = dataset_kind(folder)
    if kind not in _KINDS:
        raise BadInput(f"{folder} holds a dataset of kind {kind!r}, which nothing here can train on")
    if kind == "event_log" and into is not None and _is_taken(into):
        raise BadInput(f"{into} exists and is not empty; give --into a new folder")
    kept = None if no_registry else registry or Path(environment.registry or REGISTRY_FOLDER)
    from sagacity_training.job import Job

    if watch or once:
        _refuse_unwatched(kind, kept, watch=watch, at=at)
        job = Job(dataset=folder, kind=kind, config=settings, at=0.0, report=report)
        return _watch(job, kept, once=once, as_json=as_json)
    known_at = time.time() if at is None else at
    job = Job(dataset=folder, kind=kind, config=settings, at=known_at, into=into, report=report)
    done = _run(job, kept)
    _tell_kept(done, into, kept)
    put([json.dumps(done.as_json(), allow_nan=False)] if as_json else _lines(done))
    return ExitCode.DONE if done.verdict.promoted else ExitCode.LOOK


def _refuse_unwatched(kind: str, registry: Path | None, *, watch: bool, at: float | None) -> None:
    if not watch:
        raise BadInput("--once is about --watch; give both, or neither")
    if kind != "attempts":
        raise BadInput(
            "--watch follows the runs of a growing dataset, and this one holds cases; leave it out"
        )
    if registry is None:
        raise BadInput("--watch keeps what it learnt in a registry; leave out --no-registry")
    if at is not None:
        raise BadInput("--watch learns what is known now; leave out --at")


def _watch(job: Job, registry: Path | None, *, once: bool, as_json: bool) -> int:
    from sagacity_api.assembly import registry_at
    from sagacity_api.cli.train_watch import Watch
    from sagacity_models.errors import RegistryRefused
    from sagacity_training.config import ConfigRefused, refuse_unread

    assert registry is not None, "a watch without a registry was refused"
    try:
        refuse_unread(job.config, job.kind)
        opened = registry_at(registry)
    except (ConfigRefused, RegistryRefused) as refusal:
        raise BadInput(str(refusal)) from None
    watch = Watch(
        dataset=job.dataset,
        registry=opened,
        train=lambda at: _run(replace(job, at=at), registry),
        as_json=as_json,
    )
    return watch.run(job.config.watch, once=once)


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


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _settings(path: Path | None, seed: int | None) -> TrainingConfig:
    """The configuration of a file, or the defaults; a seed on the command line comes first."""
    from sagacity_training.config import ConfigRefused, TrainingConfig

    try:
        settings = TrainingConfig() if path is None else TrainingConfig.read(path)
    except ConfigRefused as refusal:
        raise BadInput(str(refusal)) from None
    return settings if seed is None else replace(settings, seed=seed)


def _run(job: Job, registry: Path | None) -> Done:
    from sagacity_api.assembly import registry_at, vouch
    from sagacity_data.errors import DataError
    from sagacity_models.errors import ModelError
    from sagacity_training.errors import TrainingError
    from sagacity_training.job import run_job

    try:
        logged = None if registry is None else registry_at(registry)
        with _writing(job.into, job.report), _told_progress() as tell:
            done = run_job(replace(job, registry=logged), tell=tell)
            if job.into is not None:
                vouch(job.into, logged)
            return done
    except (DataError, ModelError, TrainingError) as refusal:
        raise BadInput(str(refusal)) from None


@contextmanager
def _writing(*folders: Path | None) -> Iterator[None]:
    """A model that cannot be written is told as such; what cannot be read has refusals of its own."""
    try:
        yield
    except OSError as problem:
        named = " or ".join(str(folder) for folder in folders if folder is not None)
        where = f" to {named}" if named else ""
        raise BadInput(
            f"the model cannot be written{where} ({problem.strerror}); choose another folder or make room"
        ) from None


def _lines(done: Done) -> list[str]:
    """The figures, then what the gate says."""
    word = "promoted" if done.verdict.promoted else "not promoted"
    return [*done.fitted.lines, "", word, *(f"  {reason}" for reason in done.verdict.reasons)]


def _tell_kept(done: Done, into: Path | None, registry: Path | None) -> None:
    """Where the model is now, and whether it is the one that is used from there."""
    if into is not None:
        say(f"kept in {into}")
    if registry is not None:
        say(
            f"logged to the registry {registry}: {done.fitted.model} version {done.version} {_standing(done)}"
        )
    if into is None and registry is None:
        say("not kept; leave out --no-registry, or give --into DIR, to keep it")


def _standing(done: Done) -> str:
    if done.verdict.promoted:
        return "is the champion now"
    if done.champion:
        return "is no better than the base rate; it stands in as the champion, as there is none yet"
    return "is not promoted"


@contextmanager
def _told_progress() -> Iterator[Tell | None]:
    """Shows what training does now, where somebody watches."""
    with progress_bar() as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task("training", total=None)
        yield lambda what: bar.update(task, description=what)
