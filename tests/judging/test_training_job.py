"""A training from end to end, with a small trainer in place of the real ones."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagacity_models.errors import RegistryRefused
from sagacity_models.registry import CHAMPION, Registry
from sagacity_training.config import TrainingConfig
from sagacity_training.fitted import Fitted
from sagacity_training.gate_ledger import FILE, LedgerRefused, spend
from sagacity_training.job import CHALLENGER, Done, Job, run_job
from sagacity_training.judging.decisions import Decisions
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.judging.ledger import Ledger
from sagacity_training.judging.model_card import ModelCard
from sagacity_training.log_cases import CASE_MODELS
from sagacity_training.text_files import write_texts

CONFIG = TrainingConfig.of({"report": {"draws": 20}})
Fit = Callable[..., Fitted]


def trainer(kind: str) -> Fit:
    """Trains a model that is `good`, `base` (no signal) or `wrong`, with the same held-out rows each time."""

    def fit(dataset: Path, config: TrainingConfig, *, at: float, champion: Path | None, tell: Any) -> Fitted:
        rng = np.random.default_rng(config.seed)
        truth = rng.choice([0.05, 0.4], 2_000)
        outcomes = (rng.random(2_000) < truth).astype(float)
        base = np.full(2_000, truth.mean())
        forecasts = {"good": truth, "base": base, "wrong": 0.45 - truth}[kind]
        judged = Judged(
            task="outcome",
            outcomes=outcomes,
            forecasts=forecasts,
            base=base,
            champion=None if champion is None else base,
            at=np.arange(2_000, dtype=float),
            cases=np.arange(2_000),
            n_train=5,
            chosen=BASE if kind == "base" else "linear",
            reason="as asked",
        )
        card = ModelCard(
            model=CASE_MODELS,
            version="",
            made_at=at,
            purpose="tests",
            window=None,
            data_sha256="",
            counts={},
            labels={},
            features=(),
            weaknesses=(),
        )
        return Fitted(
            kind="event_log", model=CASE_MODELS, experiment="cases", artifact="model", card=card,
            judged=(judged,), params={"seed": config.seed}, metrics={"loss": 0.5}, lines=("figures",),
            save=lambda folder: write_texts({"model.json": "{}"}, folder),
            decisions=lambda _: (Decisions(skipped="nothing to plan"), None),
        )  # fmt: skip

    return fit


def done(kind: str, folder: Path, **given: Any) -> Done:
    job = Job(dataset=folder, kind="event_log", config=CONFIG, at=10.0, **given)
    return run_job(job, fit=trainer(kind), open_registry=nullcontext)


def test_a_model_is_kept_and_told(tmp_path: Path) -> None:
    """Without a registry the model and the report are where they were asked for, and nothing else is."""
    told = done("good", tmp_path, into=tmp_path / "model", report=tmp_path / "report")
    assert told.as_json() == {
        "models": {"outcome": told.report.tasks[0].summary()},
        "class_macro_f1": None,
        "signal": True,
        "promoted": True,
        "reasons": list(told.verdict.reasons),
        "bundle": str(tmp_path / "model"),
    }
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "model/model.json",
        "report/report.html",
        "report/report.json",
    ]
    assert json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["decisions"]["skipped"]


@pytest.mark.slow
def test_the_champion_moves_only_by_the_gate(tmp_path: Path) -> None:
    """Base rates stand in first; a wrong model stays a challenger; a good one becomes the champion."""
    registry = Registry(tmp_path / "registry")
    first = done("base", tmp_path, registry=registry)
    assert (first.verdict.promoted, first.champion) == (False, True)
    assert registry.version(CHAMPION, model=CASE_MODELS) == "1"
    wrong = done("wrong", tmp_path, registry=registry)
    assert not wrong.champion
    assert registry.version(CHAMPION, model=CASE_MODELS) == "1"
    assert registry.version(CHALLENGER, model=CASE_MODELS) == "2"
    good = done("good", tmp_path, registry=registry)
    assert (good.verdict.promoted, good.champion) == (True, True)
    assert registry.version(CHAMPION, model=CASE_MODELS) == good.version == "3"
    assert good.bundle is not None
    assert (good.bundle.parent / "report" / "report.html").is_file()
    ledger = json.loads((registry.folder / FILE).read_text("utf-8"))
    assert [each["number"] for each in ledger[CASE_MODELS]] == [1, 2]


def test_an_interrupted_training_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C while the model is written leaves neither a folder nor half of one."""

    def fit(*given: Any, **options: Any) -> Fitted:
        class Stopping(dict[str, str]):
            def items(self) -> Any:
                yield "model.json", "{}"
                raise KeyboardInterrupt

        fitted = trainer("good")(*given, **options)
        texts = Stopping()
        return Fitted(
            **{name: getattr(fitted, name) for name in Fitted.__slots__ if name != "save"},
            save=lambda folder: write_texts(texts, folder),
        )

    job = Job(dataset=tmp_path, kind="event_log", config=CONFIG, at=10.0, into=tmp_path / "model")
    with pytest.raises(KeyboardInterrupt):
        run_job(job, fit=fit)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    """What cannot be read is no empty ledger: that would forgive what was spent."""
    for text in ("{", "[]", '{"m": [{}]}', '{"m": 3}'):
        (tmp_path / FILE).write_text(text, "utf-8")
        with pytest.raises(LedgerRefused, match="restore it, or delete it"):
            spend(tmp_path, "m", lambda spent: (spent, spent))


def test_what_was_spent_is_kept_by_model(tmp_path: Path) -> None:
    """Each model has its own ledger in the file, and the next look finds it."""

    def look(spent: Ledger) -> tuple[int, Ledger]:
        gating, after = spent.look(0, 1, f"question {len(spent.gatings)}", 0.05)
        return gating.number, after

    assert [spend(tmp_path, "a", look), spend(tmp_path, "a", look), spend(tmp_path, "b", look)] == [1, 2, 1]


@pytest.mark.slow
def test_a_registry_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A registry's folder that is a file is one refusal, before anything is kept."""
    (tmp_path / "registry").write_text("", "utf-8")
    with pytest.raises(RegistryRefused, match="registry"):
        done("good", tmp_path, registry=Registry(tmp_path / "registry"), into=tmp_path / "model")
    assert not (tmp_path / "model").exists()
