"""The facts that hold for every `RowForecaster`: inherit the class in a test file, and say how one is learnt.

    class TestMine(ForecasterChecks):
        def learnt(self, rows, outcomes, seed):
            return Mine.learn(rows, outcomes, seed)

        def read(self, texts):
            return Mine.from_texts(texts)

Nothing here needs a test framework: the checks are methods that assert. They bring their own rows: numbers,
truth values and texts, some of them missing, of which some tell the outcome and some tell nothing.
"""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import exp, isclose, isfinite, log, nan
from typing import ClassVar, Final

from sagacity_models.feature_columns import Features, FeatureValue
from sagacity_models.tabular import RowForecaster

ROWS: Final = 900
TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class CheckRows:
    """Rows in time order, and the place of each one's class."""

    rows: tuple[dict[str, FeatureValue], ...]
    outcomes: tuple[int, ...]

    @classmethod
    @lru_cache(8)
    def drawn(cls, classes: int, seed: int = 0) -> CheckRows:
        """The same rows for the same arguments. "heat" makes later classes likelier."""
        draw = random.Random(seed)
        rows: list[dict[str, FeatureValue]] = []
        outcomes: list[int] = []
        for _ in range(ROWS):
            heat, vendor = draw.gauss(0, 1), draw.choice(["akasa", "indigo", "vistara"])
            row: dict[str, FeatureValue] = {
                "heat": heat,
                "vendor": vendor,
                "weekend": draw.random() < 0.3,
                "noise": draw.gauss(0, 1),
            }
            lift = 2.0 * heat + (1.5 if vendor == "indigo" else 0.0)
            place = sum(draw.random() < 1 / (1 + exp(-lift)) for _ in range(classes - 1))
            rows.append({name: None if draw.random() < 0.05 else told for name, told in row.items()})
            outcomes.append(place)
        return cls(tuple(rows), tuple(outcomes))


class ForecasterChecks(ABC):
    """One set of facts; a subclass says how its forecaster is learnt and read, and what it declares."""

    classes: ClassVar[tuple[str, ...]] = ("no", "yes")
    rising: ClassVar[tuple[str, ...]] = ()
    """Numbers of which more never makes the last of two classes less likely."""
    learns_in_any_order: ClassVar[bool] = False
    """Whether it learns the same from the same rows in another order."""

    @abstractmethod
    def learnt(self, rows: Sequence[Features], outcomes: Sequence[int], seed: int) -> RowForecaster:
        """A forecaster of `classes` from rows in time order and the place of each one's class."""

    @abstractmethod
    def read(self, texts: Mapping[str, str]) -> RowForecaster:
        """The forecaster that `texts()` wrote; must raise `ValueError` for texts that do not fit."""

    def test_learns_the_same_from_the_same_seed(self) -> None:
        """Learning twice from the same rows and seed gives the same texts."""
        told = CheckRows.drawn(len(self.classes))
        again = self.learnt(told.rows, told.outcomes, 7)
        assert again.texts() == self._learnt().texts()

    def test_does_not_care_about_the_order_of_features(self) -> None:
        """Rows whose features are in another order teach the same and are told the same."""
        told = CheckRows.drawn(len(self.classes))
        turned = [dict(reversed(row.items())) for row in told.rows]
        again = self.learnt(turned, told.outcomes, 7)
        assert again.texts() == self._learnt().texts()
        assert self._learnt().probabilities(turned) == self._learnt().probabilities(told.rows)

    def test_does_not_care_about_the_order_of_rows_where_declared(self) -> None:
        """Where that is declared, shuffled rows teach the same, but for the last digits of sums."""
        if not self.learns_in_any_order:
            return
        told = CheckRows.drawn(len(self.classes))
        order = random.Random(1).sample(range(ROWS), ROWS)
        again = self.learnt([told.rows[n] for n in order], [told.outcomes[n] for n in order], 7)
        _alike(again.probabilities(told.rows), self._learnt().probabilities(told.rows))

    def test_gives_probabilities(self) -> None:
        """Every row has one number per class, each within [0, 1]; they sum to 1."""
        forecaster = self._learnt()
        assert forecaster.classes == self.classes
        for told in forecaster.probabilities(CheckRows.drawn(len(self.classes), 5).rows):
            assert len(told) == len(self.classes)
            assert all(isfinite(each) and 0 <= each <= 1 for each in told)
            assert isclose(sum(told), 1, abs_tol=TOLERANCE)

    def test_says_how_much_it_saw(self) -> None:
        """The evidence is the number of rows."""
        assert self._learnt().evidence == ROWS

    def test_tells_many_rows_what_it_tells_each(self) -> None:
        """A batch is its rows one by one, in any order; no rows are no forecasts."""
        forecaster, rows = self._learnt(), CheckRows.drawn(len(self.classes)).rows[:50]
        whole = forecaster.probabilities(rows)
        _alike([forecaster.probabilities([row])[0] for row in rows], whole)
        _alike(forecaster.probabilities(rows[::-1])[::-1], whole)
        assert forecaster.probabilities([]) == []

    def test_bears_missing_values(self) -> None:
        """A feature that is missing, None, NaN, infinite or of another kind gives a forecast all the same."""
        row = dict(CheckRows.drawn(len(self.classes)).rows[0])
        strange: list[FeatureValue] = [None, nan, float("inf"), "seven", "", True, -1e300, 0.0]
        rows: list[Features] = [{}, *({**row, name: value} for name in row for value in strange)]
        rows += [{key: value for key, value in row.items() if key != name} for name in row]
        for told in self._learnt().probabilities(rows):
            assert isclose(sum(told), 1, abs_tol=TOLERANCE)
            assert all(0 <= each <= 1 for each in told)

    def test_takes_a_missing_value_for_none(self) -> None:
        """A feature that is not there, None and NaN are the same."""
        row = dict(CheckRows.drawn(len(self.classes)).rows[0])
        bare = {name: value for name, value in row.items() if name != "heat"}
        alike = self._learnt().probabilities([bare, {**bare, "heat": None}, {**bare, "heat": nan}])
        assert alike[0] == alike[1] == alike[2]

    def test_bears_unseen_categories(self) -> None:
        """All categories that nobody has seen are one; features that nobody has seen are ignored."""
        row = dict(CheckRows.drawn(len(self.classes)).rows[0])
        forecaster = self._learnt()
        one, two = forecaster.probabilities([{**row, "vendor": "zeppelin"}, {**row, "vendor": "balloon"}])
        assert one == two
        assert forecaster.probabilities([{**row, "colour": "red"}]) == forecaster.probabilities([row])

    def test_is_monotone_where_declared(self) -> None:
        """More of a rising number never makes the last class less likely."""
        for name in self.rising:
            for row in CheckRows.drawn(len(self.classes), 5).rows[:40]:
                grid = [{**row, name: value / 4} for value in range(-16, 17)]
                events = [told[-1] for told in self._learnt().probabilities(grid)]
                assert all(later >= before - TOLERANCE for before, later in pairwise(events))

    def test_comes_back_from_its_texts(self) -> None:
        """Read back, it tells the same and writes the same texts, under names that a bundle can hold."""
        forecaster, rows = self._learnt(), CheckRows.drawn(len(self.classes)).rows
        texts = forecaster.texts()
        again = self.read(texts)
        assert again.probabilities(rows) == forecaster.probabilities(rows)
        assert again.texts() == texts
        assert (again.classes, again.evidence) == (forecaster.classes, forecaster.evidence)
        assert all(name == name.lower() and "/" not in name for name in texts)

    def test_refuses_texts_that_do_not_fit(self) -> None:
        """Texts that lack one, have one too many, are no JSON or hold no number are refused."""
        texts = self._learnt().texts()
        document = next(name for name in sorted(texts) if name.endswith(".json"))
        broken: list[dict[str, str]] = [{}, {**texts, "extra.json": "{}"}, {**texts, document: "{"}]
        broken += [{key: text for key, text in texts.items() if key != name} for name in texts]
        broken += [{**texts, document: "[]"}, {**texts, document: _with_nan(texts[document])}]
        for each in broken:
            try:
                self.read(each)
            except ValueError:
                continue
            raise AssertionError(f"texts were read that do not fit: {sorted(each)}")

    def test_learnt_something(self) -> None:
        """The rows tell their outcome, so the mean log loss is not above that of the classes' shares."""
        told = CheckRows.drawn(len(self.classes), 5)
        chances = self._learnt().probabilities(told.rows)
        shares = [told.outcomes.count(place) / ROWS for place in range(len(self.classes))]
        given = [row[place] for row, place in zip(chances, told.outcomes, strict=True)]
        loss = -sum(log(max(each, 1e-9)) for each in given) / ROWS
        assert loss <= -sum(share * log(share) for share in shares) + 0.02

    def _learnt(self) -> RowForecaster:
        return _learnt_once(type(self))


@lru_cache(64)
def _learnt_once(checks: type[ForecasterChecks]) -> RowForecaster:
    """The forecaster of the common rows, learnt once for each kind of forecaster."""
    told = CheckRows.drawn(len(checks.classes))
    return checks().learnt(told.rows, told.outcomes, 7)


def _alike(one: Sequence[Sequence[float]], two: Sequence[Sequence[float]]) -> None:
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert all(isclose(a, b, abs_tol=1e-6) for a, b in zip(left, right, strict=True)), (left, right)


def _with_nan(text: str) -> str:
    """The document with its first number that is a measurement made NaN."""
    document = json.loads(text)
    return json.dumps(_spoilt(document)[0])


def _spoilt(value: object) -> tuple[object, bool]:
    if isinstance(value, float):
        return nan, True
    if isinstance(value, list):
        for place, each in enumerate(value):
            changed, done = _spoilt(each)
            if done:
                return [*value[:place], changed, *value[place + 1 :]], True
    if isinstance(value, dict):
        for key, each in value.items():
            changed, done = _spoilt(each)
            if done:
                return {**value, key: changed}, True
    return value, False
