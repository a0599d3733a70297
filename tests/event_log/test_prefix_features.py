from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sagacity_data.event_log import Case, CaseEvent
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import (
    LEVELS_MAX,
    RESOURCES_MAX,
    STEPS_MAX,
    PrefixVocabulary,
)

HOUR = 3_600_000_000


def event(activity: str, hour: float, resource: str | None = None, **attributes: str | float) -> CaseEvent:
    return CaseEvent(activity, round(hour * HOUR), "complete", resource, attributes)


def cases(count: int = 40) -> list[Case]:
    return [
        Case(
            f"c{number}",
            (
                event("a", number, "ann"),
                event("b", number + 1, "bob", risk=number * 1.5),
                event("a", number + 3),
            ),
            {
                "amount": str(100 * number),
                "region": "north" if number % 2 else "south",
                "id": f"free text {number}",
            },
        )
        for number in range(count)
    ]


def row(layout: PrefixLayout, case: Case) -> dict[str, float]:
    rows = [features.copy() for features in layout.rows(case)]
    return dict(zip(layout.columns, rows[-1].tolist(), strict=True))


def test_the_features_of_a_prefix_are_those_of_its_events() -> None:
    """Counts, last steps, times, people and attributes of a small case come out as written here."""
    layout = PrefixLayout(PrefixVocabulary.learn(cases()))
    found = row(layout, cases()[3])
    assert found["events"] == 3
    assert math.isclose(found["elapsed"], math.log1p(3 * 3600), rel_tol=1e-6)
    assert math.isclose(found["gap"], math.log1p(2 * 3600), rel_tol=1e-6)
    assert (found["count: a|complete"], found["count: b|complete"], found["count is another"]) == (2, 1, 0)
    assert (found["last: a|complete"], found["last: b|complete"], found["before: b|complete"]) == (1, 0, 1)
    assert (found["resources_distinct"], found["handovers"], found["resource: bob"]) == (2, 1, 1)
    assert math.isclose(found["number amount"], math.log1p(300), rel_tol=1e-6)
    assert math.isclose(found["number risk"], math.log1p(4.5), rel_tol=1e-6)
    assert (found["level region: north"], found["level region: south"]) == (1, 0)


def test_no_feature_knows_what_comes_later() -> None:
    """Changing a later event changes no row of an earlier prefix."""
    layout = PrefixLayout(PrefixVocabulary.learn(cases()))
    case = cases()[5]
    changed = replace(case, events=(*case.events[:2], event("z", 900, "zoe", risk=1e9)))
    for before, after in zip(
        [features.copy() for features in layout.rows(case)][:2],
        [features.copy() for features in layout.rows(changed)][:2],
        strict=True,
    ):
        assert np.array_equal(before, after, equal_nan=True)


def test_what_was_never_seen_counts_as_other() -> None:
    """Unknown steps, people and levels go to the column for others; missing attributes say that they are."""
    layout = PrefixLayout(PrefixVocabulary.learn(cases()))
    found = row(layout, Case("new", (event("zzz", 1, "zoe"),), {"region": "moon", "amount": "much"}))
    assert (found["count is another"], found["last is another"], found["resource is another"]) == (1, 1, 1)
    assert found["level region is another"] == 1
    assert math.isnan(found["number amount"])
    assert (found["number amount is missing"], found["number risk is missing"]) == (1, 1)


def test_free_text_and_ignored_attributes_get_no_column() -> None:
    """A text that never repeats is neither number nor category, and what is ignored is not learnt."""
    vocabulary = PrefixVocabulary.learn(cases(), frozenset({"region"}))
    assert (vocabulary.numbers, vocabulary.levels) == (("amount", "risk"), ())


def test_the_matrix_is_bounded_for_any_log() -> None:
    """Thousands of activities, people and values give no more columns than the caps allow."""
    many = [
        Case(
            str(number),
            tuple(event(f"act{number}-{place}", place, f"person{number % 90}") for place in range(20)),
            {"colour": f"shade {number % 60}"},
        )
        for number in range(300)
    ]
    vocabulary = PrefixVocabulary.learn(many)
    assert (len(vocabulary.steps), len(vocabulary.resources)) == (STEPS_MAX, RESOURCES_MAX)
    assert all(len(levels) <= LEVELS_MAX for _key, levels in vocabulary.levels)
    assert row(PrefixLayout(vocabulary), many[-1])["count is another"] > 0


def test_a_vocabulary_survives_json_and_does_not_depend_on_case_order() -> None:
    """Reading back what was written, and learning from the same cases reversed, give equal columns."""
    vocabulary = PrefixVocabulary.learn(cases())
    assert PrefixVocabulary.from_json(vocabulary.as_json()) == vocabulary
    assert PrefixVocabulary.learn(reversed(cases())) == vocabulary


def test_time_never_runs_backwards() -> None:
    """An event with an earlier instant than the one before adds no time and no NaN."""
    layout = PrefixLayout(PrefixVocabulary.learn(cases()))
    found = row(layout, Case("c", (event("a", 10), event("b", 12), event("a", 1))))
    assert math.isclose(found["elapsed"], math.log1p(2 * 3600), rel_tol=1e-6)
    assert found["gap"] == 0
