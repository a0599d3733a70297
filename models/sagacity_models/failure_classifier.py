"""What class a failure is, from what is known at the moment it happens: its words, its step, its service.

The classes are those that a plan can act on: transient, cascading, permanent. An error's own words are read
as words that training found often enough, not as the verdict of the taxonomy's rules; that verdict, and the
class that the participant declared, are two features among others. So where words mislead, and hindsight
showed it, the classifier follows hindsight. Below its stated confidence it abstains: the class is unknown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sagacity_data.attempt_features import attempt_features
from sagacity_data.feature_values import context_features
from sagacity_data.rows import AttemptRow
from sagacity_engine.errors import FailureClass
from sagacity_models.base_rates import CLASSES, step_key
from sagacity_models.feature_columns import Features, FeatureValue
from sagacity_models.tabular import TabularForecaster

CLASS_NAMES: Final = tuple(each.value for each in CLASSES)
WORDS: Final = "words.json"
WORDS_MAX: Final = 60
"""Words that are features of their own."""
WORDS_READ_MAX: Final = 64
"""Words of one error that are looked at."""
ERROR_MAX: Final = 64
"""Characters of an error's type that tell it apart."""
_WORD: Final = re.compile(r"[a-z][a-z_]{2,23}")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class FailureClassifier:
    """P(class | a failed attempt). `words` are the words that count as features, in order."""

    forecaster: TabularForecaster
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.forecaster.classes != CLASS_NAMES:
            raise ValueError(f"a classifier of failures tells {', '.join(CLASS_NAMES)}")
        if len(self.words) > WORDS_MAX or len(set(self.words)) != len(self.words):
            raise ValueError(f"a classifier of failures reads at most {WORDS_MAX} different words")

    def posteriors(
        self, failures: Sequence[tuple[AttemptRow, AttemptRow | None]]
    ) -> list[dict[FailureClass, float]]:
        """P(class) for each failed attempt, given the same step's attempt before it, if there was one."""
        rows = [failure_features(row, before, self.words) for row, before in failures]
        told = self.forecaster.probabilities(rows)
        return [dict(zip(CLASSES, each, strict=True)) for each in told]

    def classes(self, failures: Sequence[tuple[AttemptRow, AttemptRow | None]]) -> list[FailureClass]:
        """The likeliest class of each failed attempt; UNKNOWN where that is not sure enough."""
        rows = [failure_features(row, before, self.words) for row, before in failures]
        return [FailureClass(told) for told in self.forecaster.decide(rows)]

    def texts(self) -> dict[str, str]:
        """File names and texts, from which `from_texts` makes an equal classifier."""
        return {**self.forecaster.texts(), WORDS: json.dumps(list(self.words), separators=(",", ":"))}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> FailureClassifier:
        """The classifier that `texts` wrote; raises `ValueError` for any other texts."""
        if WORDS not in texts:
            raise ValueError(f"a classifier of failures has {WORDS}")
        words = json.loads(texts[WORDS])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{WORDS} is a list of words")
        rest = {name: text for name, text in texts.items() if name != WORDS}
        return cls(TabularForecaster.from_texts(rest), tuple(words))


def failure_features(
    row: AttemptRow, before: AttemptRow | None = None, words: Sequence[str] = ()
) -> Features:
    """What is known when the attempt `row` has just failed; `before` is the step's attempt before it.

    Durations are ln(1+s), and ln of the ratio to the step's usual one where the launch told that.
    """
    at_launch: Features = row.features or context_features(row.context)
    told: dict[str, FeatureValue] = {**at_launch, **attempt_features(row, before)}
    told["step"] = step_key(row.saga, row.step)
    told["service"] = row.service
    told["kind"] = row.kind.value
    told["error"] = row.error_type[:ERROR_MAX]
    told["outcome"] = row.outcome.value
    told["declared"] = None if row.failure_class is None else row.failure_class.value
    told["worded"] = None if row.failure_kind is None else row.failure_kind.value
    duration_s, usual = row.duration_s, at_launch.get("step_log_latency_7d")
    if duration_s is not None and math.isfinite(duration_s):
        told["duration"] = math.log1p(max(duration_s, 0.0))
        if isinstance(usual, float):
            told["duration_over_usual"] = math.log(max(duration_s, 1e-3)) - usual
    found = words_of(row)
    told.update({f"word.{word}": word in found for word in words})
    return told


def words_of(row: AttemptRow) -> frozenset[str]:
    """The words of the error's type, its CamelCase apart, and of its templated message; lower case.

    >>> sorted(_words("ConnectionReset", "order <n> by peer"))
    ['connection', 'order', 'peer', 'reset']
    """
    return _words(row.error_type, row.error_message)


def _words(error_type: str, message: str) -> frozenset[str]:
    text = f"{_HUMP.sub(' ', error_type[:ERROR_MAX])} {message}"
    found = _WORD.findall(text[:1_000].lower())[:WORDS_READ_MAX]
    return frozenset(found)
