"""An imported event log in, a judged model of case outcomes out.

The order of the work: split by time (`case_split`), choose the kind of model inside the training part
(`case_choice`), fit that kind on the whole training part, and judge it once on the test part, which nothing
before has looked at. The calibration map stays the one learnt inside the training part on cases later than
the fit of that time: after the final fit there are no later cases left to learn one from.

Without signal the model is the base rate, and the verdict says so. Shares drift, so the base rate is that of
the latest slice of training, shrunken (`case_choice.latest_rate`), and every comparison is with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sagacity_data.case_store import EventLogDataset
from sagacity_data.event_log import iso_instant
from sagacity_data.outcomes import AttributeEquals, follow_up_s, rule_in_words
from sagacity_models.case_calibration import PlattMap
from sagacity_models.case_outcome import CaseOutcomeModel
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import PrefixVocabulary
from sagacity_training import case_fit
from sagacity_training.case_choice import Candidate, Choice, Slices, choose, fit_model, latest_rate
from sagacity_training.case_judged import constant_forecaster, held_out_rows, model_forecaster
from sagacity_training.case_rows import (
    PREFIX_EVENTS_MAX,
    TRAIN_CASES_MAX,
    KnownCase,
    known_cases,
    thinned,
)
from sagacity_training.case_scores import CaseScores, score_cases
from sagacity_training.case_split import CaseSplit, OpenCase, split_cases
from sagacity_training.errors import TrainingError
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.telltales import telltale_attributes

Parameter = str | int | float | bool


class CaseTrainingRefused(TrainingError):
    """A dataset that nothing can be trained on or judged with; says what it lacks."""


@dataclass(frozen=True, slots=True)
class CaseTrainingResult:
    """A trained model, how it was chosen, and how it did on the test cases.

    `scores` are of the model that would be used (the base rate where `signal` is false); they hold the points
    of the calibration plot and the confusion counts. `params`, `metrics` and `artifacts` are ready to be
    logged; `artifacts` is the whole model as named texts.
    """

    signal: bool
    verdict: str
    rule: str
    scores: CaseScores
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]
    params: Mapping[str, Parameter]
    metrics: Mapping[str, float]
    artifacts: Mapping[str, str]
    model: CaseOutcomeModel
    judged: tuple[Judged, ...]
    cut_us: int
    """When the test begins, in microseconds since 1970: everything that was learnt was known by then."""
    class_macro_f1: float | None = None


def train_cases(
    dataset_dir: str | os.PathLike[str],
    *,
    seed: int,
    test_share: float = 0.2,
    ignore_attributes: Iterable[str] = (),
    drop_last_s: float = 0.0,
    champion: CaseOutcomeModel | None = None,
    progress: Callable[[str], None] | None = None,
) -> CaseTrainingResult:
    """Train on the dataset in `dataset_dir`; the same dataset and seed give the same result.

    `ignore_attributes` names attributes that are not to be used, such as those filled in after the outcome.
    `drop_last_s` leaves out cases that started so many seconds or less before the log's end, or before any
    cut within it: they had no time to show their outcome (a rule about time leaves out as much by itself).
    `champion` is judged on the same rows. `progress` is told what begins.

    Raises `DatasetRefused` for a folder that holds no imported event log and `CaseTrainingRefused` where
    there are too few cases to train or to judge.
    """
    tell = progress or _silent
    tell("reading cases")
    dataset = EventLogDataset.open(dataset_dir)
    split = _split(dataset, test_share, max(drop_last_s, follow_up_s(dataset.rule)))
    known = {case.number: case for case in known_cases(dataset, _thinned(split.train))}
    slices = Slices(*(_known(known, part) for part in (split.fit, split.calibrate, split.select)))
    train = _known(known, split.train)
    if not any(case.prefix.events for case in train):
        raise CaseTrainingRefused(
            "no training case has an event before its outcome, so there is nothing to learn"
        )
    told = telltale_attributes(train, PrefixLayout(PrefixVocabulary.learn(case.prefix for case in train)))
    ignore = _ignored(dataset, ignore_attributes)
    tell("choosing a model")
    choice = choose(slices, ignore | frozenset(told), seed)
    tell("fitting it on all training cases")
    model = fit_model(
        choice.kind,
        train,
        ignore | frozenset(told),
        choice.calibration,
        seed,
        base_rate=latest_rate(train, slices.select),
    )
    tell("judging it on the test cases")
    forecasters = {"chosen": model_forecaster(model), "base": constant_forecaster(model.base_rate)}
    if champion is not None:
        forecasters["champion"] = model_forecaster(champion)
    tested = held_out_rows(known_cases(dataset, split.test), forecasters)
    if not len(tested.labels):
        raise CaseTrainingRefused("no test case has an event before its outcome, so nothing can be judged")
    scores = score_cases(tested.labels, tested.forecasts["chosen"], tested.cases, model.base_rate, seed)
    learnt_from = len(thinned(train, model.layout.width))
    notes = _notes(split, learnt_from, [key for key in told if key not in ignore])
    params = {
        "rule": rule_in_words(dataset.rule),
        "seed": seed,
        "test_share": test_share,
        "follow_up_s": max(drop_last_s, follow_up_s(dataset.rule)),
        **_counts(split, slices, train),
        **_settings(model, choice),
    }
    return CaseTrainingResult(
        choice.signal,
        choice.reason,
        rule_in_words(dataset.rule),
        scores,
        choice.candidates,
        notes,
        params,
        _metrics(scores, choice),
        model.artifacts(),
        model,
        (tested.judged(chosen=_chosen(choice), n_train=len(train), reason=choice.reason),),
        split.cut_us,
    )


def _split(dataset: EventLogDataset, test_share: float, window_s: float) -> CaseSplit:
    try:
        split = split_cases(dataset.summaries(), test_share, window_s)
    except ValueError as error:
        raise CaseTrainingRefused(f"{dataset.path}: {error}") from None
    if not split.train:
        cut = iso_instant(split.cut_us)
        raise CaseTrainingRefused(
            f"{dataset.path}: no outcome of {split.before_cut} earlier cases was final before the test "
            f"begins ({cut}); import a longer log"
        )
    return split


def _chosen(choice: Choice) -> str:
    return choice.kind.value if choice.signal else BASE


def _known(known: Mapping[int, KnownCase], cases: Iterable[OpenCase]) -> list[KnownCase]:
    return [known[case.number] for case in cases if case.number in known]


def _thinned(cases: tuple[OpenCase, ...]) -> tuple[OpenCase, ...]:
    return cases[:: -(-len(cases) // TRAIN_CASES_MAX)]


def _ignored(dataset: EventLogDataset, named: Iterable[str]) -> frozenset[str]:
    """The attributes the caller named, and the one that defines success."""
    of_rule = {dataset.rule.key} if isinstance(dataset.rule, AttributeEquals) else set[str]()
    return frozenset(named) | of_rule


def _notes(split: CaseSplit, learnt_from: int, told: list[str]) -> tuple[str, ...]:
    notes = []
    if split.too_young:
        notes.append(
            f"{split.too_young} cases that started too short a time before the log's end to show their "
            "outcome are left out"
        )
    if late := split.before_cut - len(split.train):
        notes.append(
            f"{late} of {split.before_cut} cases before the cut were still open then, or too young to tell, "
            "and are left out"
        )
    if learnt_from < len(split.train):
        notes.append(f"{learnt_from} of {len(split.train)} training cases are used, evenly over time")
    notes += [
        f"attribute {key!r} gives the outcome away from the first event and is left out" for key in told
    ]
    return tuple(notes)


def _counts(split: CaseSplit, slices: Slices, train: list[KnownCase]) -> dict[str, Parameter]:
    return {
        "cut": iso_instant(split.cut_us),
        "train_cases": len(train),
        "test_cases": len(split.test),
        "fit_cases": len(slices.fit),
        "calibrate_cases": len(slices.calibrate),
        "select_cases": len(slices.select),
    }


def _settings(model: CaseOutcomeModel, choice: Choice) -> dict[str, Parameter]:
    platt = choice.calibration
    calibration = (
        f"platt {platt.slope:.4f} {platt.intercept:.4f}" if isinstance(platt, PlattMap) else "isotonic"
    )
    return {
        "model": model.kind.value,
        "signal": choice.signal,
        "prefix_events_max": PREFIX_EVENTS_MAX,
        "columns": model.layout.width,
        "calibration": calibration,
        "logistic_c": case_fit.LOGISTIC_C,
        "trees": case_fit.TREES,
        "tree_leaf_share_min": case_fit.LEAF_SHARE_MIN,
        **{f"tree_{name}": value for name, value in case_fit.TREE_PARAMS.items()},
    }


def _metrics(scores: CaseScores, choice: Choice) -> dict[str, float]:
    figures = {
        "test_rows": float(scores.rows),
        "test_positive_share": scores.positive_share,
        "test_log_loss": scores.log_loss,
        "test_brier": scores.brier,
        "test_base_rate": scores.base_rate,
        "test_base_log_loss": scores.base_log_loss,
        "test_base_brier": scores.base_brier,
        "test_calibration_error": scores.calibration_error,
    }
    intervals = {"test_log_loss_gain": scores.log_loss_gain, "test_brier_gain": scores.brier_gain}
    if scores.auc is not None:
        intervals["test_auc"] = scores.auc
    for candidate in choice.candidates:
        figures[f"select_log_loss_{candidate.kind.value}"] = candidate.log_loss
        figures[f"select_auc_{candidate.kind.value}"] = candidate.auc
        figures["select_base_log_loss"] = candidate.base_log_loss
        intervals[f"select_gain_{candidate.kind.value}"] = candidate.gain
    for name, interval in intervals.items():
        figures |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return figures


def _silent(_stage: str) -> None:
    """Nobody wants to know."""
