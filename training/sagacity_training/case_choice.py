"""Which kind of model a log deserves, decided on cases later than those it was fitted and calibrated on.

Three candidates (logistic regression, boosted trees, their mean) are fitted on the first slice and calibrated
on the second. The one with the least log loss on the third is compared there with the base rate, and it is
used only if it wins by `GAIN_MIN` even at the low end of the interval over resampled cases. Otherwise the log
shows no signal, and that is what is said. The base rate is the better, in hindsight, of the share of
successes in both earlier slices and that of the second alone, so that a share that merely drifts is not taken
for signal. The base rate that serves is the share in the latest slice, drawn towards the share of all of
training (`latest_rate`): what a forecaster that knows nothing of a case would honestly say at the cut.
A model may rank later cases well and still lose, where the shares drift; the reason given tells both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sagacity_models.case_calibration import UNCHANGED, CalibrationMap
from sagacity_models.case_outcome import CaseModelKind, CaseOutcomeModel
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import PrefixVocabulary
from sagacity_models.shrinkage import STRENGTH_DEFAULT, shrunk
from sagacity_training.case_fit import fit_calibration, fit_logistic, fit_trees
from sagacity_training.case_rows import KnownCase, PrefixRows, rows_of_cases, thinned
from sagacity_training.case_scores import CaseBootstrap, Interval, auc, log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CANDIDATES: Final = (CaseModelKind.LOGISTIC, CaseModelKind.LIGHTGBM, CaseModelKind.MEAN)
GAIN_MIN: Final = 0.001
"""Log loss a row by which the low end of the interval must beat the base rate."""
TAIL: Final = 0.01
"""Share of draws below the low end: small, because the best of three candidates is looked at."""
RARER_CASES_MIN: Final = 10
"""Cases of the rarer outcome that each slice needs before anything is concluded from it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind of model on the selection slice; `gain` is base rate minus model in log loss a row."""

    kind: CaseModelKind
    log_loss: float
    base_log_loss: float
    gain: Interval
    auc: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The kind to use, why, and the calibration map learnt on everything later than the fit."""

    kind: CaseModelKind
    signal: bool
    reason: str
    calibration: CalibrationMap
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Slices:
    """Known cases by time: each slice's outcomes were final before the next one starts."""

    fit: Sequence[KnownCase]
    calibrate: Sequence[KnownCase]
    select: Sequence[KnownCase]


def choose(slices: Slices, ignore: frozenset[str], seed: int) -> Choice:
    """The kind of model these slices justify."""
    import numpy as np

    if too_little := _too_little(slices):
        return Choice(CaseModelKind.BASE_RATE, False, too_little, UNCHANGED, ())
    model = fit_model(CaseModelKind.MEAN, slices.fit, ignore, UNCHANGED, seed)
    later = (thinned(part, model.layout.width) for part in (slices.calibrate, slices.select))
    calibrate, select = (rows_of_cases(part, model.layout) for part in later)
    fit_labels = np.concatenate([[case.success] * len(case.prefix.events) for case in slices.fit])
    rates = (float(np.concatenate([fit_labels, calibrate.labels]).mean()), float(calibrate.labels.mean()))
    bootstrap = CaseBootstrap(select.cases, seed)
    base = min((log_losses(select.labels, np.full(len(select.labels), rate)) for rate in rates), key=np.mean)
    raw = {kind: (_raw(model, kind, calibrate), _raw(model, kind, select)) for kind in CANDIDATES}
    candidates = []
    for kind, (earlier_scores, later_scores) in raw.items():
        calibration = fit_calibration(earlier_scores, calibrate.labels, calibrate.cases)
        losses = log_losses(select.labels, calibration.apply(later_scores))
        gain = bootstrap.mean(base - losses, TAIL)
        ranking = auc(select.labels, later_scores)
        assert ranking is not None, "both outcomes occur, or there was too little history"
        candidates.append(Candidate(kind, float(losses.mean()), float(base.mean()), gain, ranking))
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    if best.gain.low <= GAIN_MIN:
        return Choice(CaseModelKind.BASE_RATE, False, _no_signal(best), UNCHANGED, tuple(candidates))
    return Choice(
        best.kind,
        True,
        _signal(best),
        _join_calibration(raw[best.kind], calibrate, select),
        tuple(candidates),
    )


def fit_model(
    kind: CaseModelKind,
    cases: Sequence[KnownCase],
    ignore: frozenset[str],
    calibration: CalibrationMap,
    seed: int,
    *,
    base_rate: float | None = None,
) -> CaseOutcomeModel:
    """A model of `kind` fitted on the prefixes of `cases`; the base rate is by default theirs."""
    vocabulary = PrefixVocabulary.learn((case.prefix for case in cases), ignore)
    layout = PrefixLayout(vocabulary)
    rows = rows_of_cases(thinned(cases, layout.width), layout)
    base_rate = float(rows.labels.mean()) if base_rate is None else base_rate
    logistic = fit_logistic(rows) if kind in (CaseModelKind.LOGISTIC, CaseModelKind.MEAN) else None
    trees = fit_trees(rows, seed) if kind in (CaseModelKind.LIGHTGBM, CaseModelKind.MEAN) else None
    return CaseOutcomeModel(kind, vocabulary, base_rate, calibration, logistic=logistic, trees=trees)


def latest_rate(train: Sequence[KnownCase], latest: Sequence[KnownCase]) -> float:
    """The share of successes among the prefixes of `latest`, drawn towards that of `train`, inside (0, 1).

    Evidence counts in cases, because the prefixes of one case share their outcome.
    """
    whole, cases = _share(train)
    now, latest_cases = _share(latest)
    pooled = shrunk(whole * cases, cases, 0.5, 1.0)
    return shrunk(now * latest_cases, latest_cases, pooled, STRENGTH_DEFAULT)


def _share(cases: Sequence[KnownCase]) -> tuple[float, int]:
    """The share of successes among the prefixes of these cases, and how many cases have one."""
    rows = sum(len(case.prefix.events) for case in cases)
    good = sum(len(case.prefix.events) for case in cases if case.success)
    return good / max(rows, 1), sum(bool(case.prefix.events) for case in cases)


def _raw(model: CaseOutcomeModel, kind: CaseModelKind, rows: PrefixRows) -> NDArray[np.float64]:
    return model.raw(rows.features, kind)


def _join_calibration(
    raw: tuple[NDArray[np.float64], NDArray[np.float64]], calibrate: PrefixRows, select: PrefixRows
) -> CalibrationMap:
    """The map learnt on both later slices, which the model's own fit has seen nothing of."""
    import numpy as np

    labels = np.concatenate([calibrate.labels, select.labels])
    shifted = select.cases + int(calibrate.cases.max()) + 1
    return fit_calibration(np.concatenate(raw), labels, np.concatenate([calibrate.cases, shifted]))


def _too_little(slices: Slices) -> str | None:
    """Why nothing can be concluded, if so: each slice needs enough cases of both outcomes that have rows."""
    for name, cases in (
        ("fitting", slices.fit),
        ("calibration", slices.calibrate),
        ("selection", slices.select),
    ):
        begun = [case.success for case in cases if case.prefix.events]
        rarer = min(sum(begun), len(begun) - sum(begun))
        if rarer < RARER_CASES_MIN:
            return (
                f"no signal: too little history, of {len(begun)} cases for {name}, {rarer} have the rarer "
                f"outcome; {RARER_CASES_MIN} are needed"
            )
    return None


def _signal(best: Candidate) -> str:
    return f"signal: {best.kind.value} {_beats(best)}"


def _no_signal(best: Candidate) -> str:
    return (
        f"no signal: the best candidate, {best.kind.value}, {_beats(best)}, not surely more than {GAIN_MIN}; "
        f"it ranks them with AUC {best.auc:.3f}"
    )


def _beats(best: Candidate) -> str:
    gain = best.gain
    return (
        f"gains {gain.value:.4f} log loss a row over the base rate on later cases "
        f"({100 - 200 * TAIL:.0f} % interval {gain.low:.4f} to {gain.high:.4f})"
    )
