"""The parts of a bundle, each of which is named texts on disk: the one table that says what there is.

A new part is a field of `Bundle` and a line of `PARTS`: which file names are its own, how its value becomes
their texts, and how they become the value again. Texts are JSON, or LightGBM's own; nothing in them runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sagacity_models.base_rates import BaseRates
from sagacity_models.boosted import BoostedModel
from sagacity_models.calibration import Calibration, read_calibration
from sagacity_models.durations import DurationModel
from sagacity_models.encoding import FeatureEncoding
from sagacity_models.linear import LinearModel
from sagacity_models.manifest import canonical, strict_json
from sagacity_models.step_models import Cause, Recipe, RefusalModel

if TYPE_CHECKING:
    from sagacity_models.failure_classifier import FailureClassifier
    from sagacity_models.live_risk import LiveRisk
    from sagacity_models.tabular import TabularForecaster

Texts = Mapping[str, str]
_TASK = re.compile(r"[a-z0-9][a-z0-9_]{0,47}")


@dataclass(frozen=True, slots=True)
class Part:
    """`files` matches the names of its texts; `read` gets those only, and raises `ValueError` on others'."""

    files: re.Pattern[str]
    texts: Callable[[Any], dict[str, str]]
    read: Callable[[Texts], Any]

    def of(self, texts: Texts) -> Any:
        """The part's value among the texts of a whole bundle."""
        return self.read({name: text for name, text in texts.items() if self.files.fullmatch(name)})


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The texts of all parts, whose values are given by name."""
    return {name: text for part, value in values.items() for name, text in PARTS[part].texts(value).items()}


def read_parts(texts: Texts) -> dict[str, Any]:
    """The value of every part, by name. Raises `ValueError` and, for nonsense, what reading it raises.

    No JSON among the texts may hold a NaN, an infinity or a key twice, whichever part reads it how.
    """
    for name, text in texts.items():
        if not any(part.files.fullmatch(name) for part in PARTS.values()):
            raise ValueError(f"no part of a bundle reads {name}")
        if name.endswith(".json"):
            _strict(name, text)
    return {name: part.of(texts) for name, part in PARTS.items()}


class _Written(Protocol):
    def as_json(self) -> dict[str, Any]: ...


def _json_part(file: str, read: Callable[[Mapping[str, Any]], Any]) -> Part:
    def texts(value: _Written) -> dict[str, str]:
        return {file: canonical(value.as_json())}

    return Part(re.compile(re.escape(file)), texts, lambda told: read(_json(told, file)))


def _refusal_part(cause: Cause) -> Part:
    file, trees = f"{cause}.json", f"{cause}.lgb.txt"

    def texts(model: RefusalModel) -> dict[str, str]:
        told = {
            "recipe": model.recipe,
            "calibration": model.calibration.as_json(),
            "pooled": model.pooled.as_json() if model.pooled else None,
            "linear": {key: linear.as_json() for key, linear in model.linear.items()},
        }
        return {file: canonical(told)} | ({trees: model.boosted.text} if model.boosted else {})

    def read(told: Texts) -> RefusalModel:
        written = _json(told, file)
        return RefusalModel(
            recipe=Recipe(written["recipe"]),
            linear={str(key): LinearModel.from_json(model) for key, model in written["linear"].items()},
            pooled=LinearModel.from_json(written["pooled"]) if written["pooled"] else None,
            boosted=BoostedModel(told[trees]) if trees in told else None,
            calibration=read_calibration(written["calibration"]),
            cause=cause,
        )

    return Part(re.compile(f"{cause}\\.(json|lgb\\.txt)"), texts, read)


def _tabular_texts(models: Mapping[str, TabularForecaster]) -> dict[str, str]:
    if strange := [task for task in models if not _TASK.fullmatch(task)]:
        raise ValueError(f"{strange[0]!r} is no name for a task; use a-z, 0-9 and _, at most 48 of them")
    return {
        f"tabular.{task}.{name}": text
        for task, model in sorted(models.items())
        for name, text in model.texts().items()
    }


def _read_tabular(told: Texts) -> dict[str, TabularForecaster]:
    from sagacity_models.tabular import TabularForecaster

    tasks: dict[str, dict[str, str]] = {}
    for file, text in told.items():
        _, task, name = file.split(".", 2)
        tasks.setdefault(task, {})[name] = text
    return {task: TabularForecaster.from_texts(texts) for task, texts in sorted(tasks.items())}


_CLASSIFIER = "failure_classes."


def _classifier_texts(model: FailureClassifier | None) -> dict[str, str]:
    return {} if model is None else {_CLASSIFIER + name: text for name, text in model.texts().items()}


def _read_classifier(told: Texts) -> FailureClassifier | None:
    if not told:
        return None
    from sagacity_models.failure_classifier import FailureClassifier

    return FailureClassifier.from_texts({file.removeprefix(_CLASSIFIER): text for file, text in told.items()})


def _live_risk_texts(risk: LiveRisk | None) -> dict[str, str]:
    from sagacity_models.live_risk_files import files_of

    return {} if risk is None else files_of(risk)


def _read_live_risk(told: Texts) -> LiveRisk | None:
    from sagacity_models.live_risk_files import read_files

    return read_files(told) if told else None


_CALIBRATIONS = "calibrations.json"


def _calibration_texts(maps: Mapping[str, Calibration]) -> dict[str, str]:
    return {_CALIBRATIONS: canonical({saga: each.as_json() for saga, each in maps.items()})} if maps else {}


def _read_calibrations(told: Texts) -> dict[str, Calibration]:
    written = _json(told, _CALIBRATIONS) if told else {}
    return {str(saga): read_calibration(each) for saga, each in written.items()}


def _json(told: Texts, file: str) -> Any:
    if file not in told:
        raise ValueError(f"there is no {file}")
    return _strict(file, told[file])


def _strict(file: str, text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{file} cannot be read: {problem}") from None


PARTS: Final[Mapping[str, Part]] = {
    "base": _json_part("base_rates.json", BaseRates.from_json),
    "encoding": _json_part("encoding.json", FeatureEncoding.from_json),
    "service": _refusal_part(Cause.SERVICE),
    "request": _refusal_part(Cause.REQUEST),
    "durations": Part(
        re.compile(r"durations\.json|duration_\w+\.lgb\.txt"), DurationModel.texts, DurationModel.from_texts
    ),
    "tabular": Part(re.compile(rf"tabular\.{_TASK.pattern}\.[a-z0-9_.]+"), _tabular_texts, _read_tabular),
    "failure_classes": Part(
        re.compile(rf"{re.escape(_CLASSIFIER)}[a-z0-9_.]+"), _classifier_texts, _read_classifier
    ),
    "calibrations": Part(re.compile(re.escape(_CALIBRATIONS)), _calibration_texts, _read_calibrations),
    "live_risk": Part(re.compile(r"live_risk\.[a-z0-9_.]+"), _live_risk_texts, _read_live_risk),
}
"""By the name of the field of `Bundle` that holds the part's value."""
