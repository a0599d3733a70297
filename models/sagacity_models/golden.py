"""Golden rows: a few rows of features with what a bundle forecasts for them, stored when it is saved.

Whoever loads the bundle forecasts the same rows again, in the probe's child process; another number, or one
that is none, means that this machine reads the models otherwise than the one that trained them. The rows are
made up from the encodings alone (nothing known; every number at its mean, above and below it; first, last,
middle and unseen levels), so no row of anybody's data is in a bundle, and equal bundles have equal rows.

Forecasts are kept with nine digits, and a relative difference of 1e-6 is forgiven: other processors round
elsewhere, while a model that is read wrongly is off by far more. Live risk adds up in single precision, so
1e-4 is forgiven it; its cases are made up by `live_risk_golden`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sagacity_models.encoding import FeatureEncoding
from sagacity_models.feature_columns import Features, FeatureValue
from sagacity_models.manifest import canonical, strict_json
from sagacity_models.step_models import KnownSteps, StepRows

if TYPE_CHECKING:
    from sagacity_models.bundle import Bundle

GOLDEN: Final = "golden.json"
_DIGITS: Final = 9
_RELATIVE: Final = 1e-6
_RELATIVE_LIVE: Final = 1e-4
_LIVE: Final = "live_risk"
_ABSOLUTE: Final = 1e-9
_STEPS_MAX: Final = 8
_STEP: Final = "step"
_UNSEEN: Final = "a level that nobody has seen"
_DEVIATIONS: Final = (0.0, 2.0, -2.0, 0.5)
_CHANCES: Final = (0.02, 0.5, 0.98)

Forecasts = dict[str, list[float]]
"""For each model, its numbers for all rows one after the other."""


def golden_text(bundle: Bundle) -> str:
    """The rows and their forecasts, as `GOLDEN` holds them."""
    rows = _rows(bundle)
    told = {name: [float(f"{each:.{_DIGITS}g}") for each in numbers] for name, numbers in _all(bundle, rows)}
    return canonical({"rows": rows, "forecasts": told})


def refusal_of(bundle: Bundle, text: str) -> str:
    """Why the bundle does not forecast what `text` says it did; empty where it does."""
    written = strict_json(text)
    rows, expected = written["rows"], written["forecasts"]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return "has no golden rows"
    found = dict(_all(bundle, rows))
    if set(found) != set(expected):
        return "has golden rows of other models than it holds"
    for name, numbers in found.items():
        relative = _RELATIVE_LIVE if name.startswith(_LIVE) else _RELATIVE
        if breach := _breach(numbers, expected[name], relative):
            return f"forecasts {breach} for its golden rows ({name})"
    return ""


def _breach(numbers: Sequence[float], expected: Sequence[float], relative: float) -> str:
    if len(numbers) != len(expected):
        return f"{len(numbers)} numbers instead of {len(expected)}"
    for one, other in zip(numbers, expected, strict=True):
        if not math.isfinite(one) or one < 0:
            return f"{one!r}"
        if not math.isclose(one, other, rel_tol=relative, abs_tol=_ABSOLUTE):
            return f"{one:.9g} instead of {other:.9g}"
    return ""


def _all(bundle: Bundle, rows: Sequence[Features]) -> Iterator[tuple[str, list[float]]]:
    steps = _step_rows(bundle, rows)
    yield "service", bundle.service.probabilities(steps)
    yield "request", bundle.request.probabilities(steps)
    pairs = bundle.durations.pairs(steps)
    yield "success_median_s", [success.quantile(0.5) for success, _ in pairs]
    yield "success_p95_s", [success.quantile(0.95) for success, _ in pairs]
    yield "refusal_median_s", [refusal.quantile(0.5) for _, refusal in pairs]
    for task, model in sorted(bundle.tabular.items()):
        yield f"tabular.{task}", [chance for row in model.probabilities(rows) for chance in row]
    if bundle.failure_classes is not None:
        told = bundle.failure_classes.forecaster.probabilities(rows)
        yield "failure_classes", [chance for row in told for chance in row]
    if bundle.calibrations:
        maps = [each for _, each in sorted(bundle.calibrations.items())]
        yield "calibrations", [calibrated(chance) for calibrated in maps for chance in _CHANCES]
    if bundle.live_risk is not None:
        from sagacity_models.live_risk_golden import live_forecasts

        yield from live_forecasts(bundle.live_risk).items()


def _step_rows(bundle: Bundle, rows: Sequence[Features]) -> StepRows:
    keys = [str(row.get(_STEP, "")) for row in rows]
    rates = [bundle.base.steps.get(key, bundle.base.pooled) for key in keys]
    return StepRows.of(KnownSteps(keys, rates), bundle.encoding, rows)


def _rows(bundle: Bundle) -> list[dict[str, FeatureValue]]:
    steps = _spread(sorted(bundle.base.steps), _STEPS_MAX) or [""]
    count = max(len(_DEVIATIONS), len(steps))
    filled = [_row(_encodings(bundle), number) for number in range(count)]
    return [{}, *({**row, _STEP: steps[place % len(steps)]} for place, row in enumerate(filled))]


def _encodings(bundle: Bundle) -> list[FeatureEncoding]:
    classifier = bundle.failure_classes
    forecasters = [*bundle.tabular.values(), *([classifier.forecaster] if classifier else [])]
    return [bundle.encoding, *(forecaster.encoding for forecaster in forecasters)]


def _row(encodings: Sequence[FeatureEncoding], number: int) -> dict[str, FeatureValue]:
    row: dict[str, FeatureValue] = {}
    deviation = _DEVIATIONS[number % len(_DEVIATIONS)]
    for encoding in encodings:
        for column in encoding.numbers:
            row.setdefault(column.name, float(f"{column.mean + deviation * column.scale:.{_DIGITS}g}"))
        for category in encoding.categories:
            row.setdefault(category.name, _level(category.levels, number))
    return row


def _level(levels: Sequence[str], number: int) -> str:
    known = [levels[0], levels[-1], levels[len(levels) // 2]] if levels else []
    return [*known, _UNSEEN][number % (len(known) + 1)]


def _spread(names: Sequence[str], count_max: int) -> list[str]:
    stride = max(1, math.ceil(len(names) / count_max))
    return list(names[::stride])
