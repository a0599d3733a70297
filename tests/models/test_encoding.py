"""Features become rows in one fixed order, alike for one step and for a whole history."""

import math
import random

import numpy as np
import pytest

from sagacity_models.encoding import FeatureEncoding, Features, columns_of


@pytest.fixture
def messy() -> list[Features]:
    draw = random.Random(2)
    values: list[Features] = []
    for number in range(300):
        row: dict[str, str | float | bool | None] = {
            "number": draw.choice([1.5, -2.0, None, float("nan"), float("inf")]),
            "flag": draw.random() < 0.5,
            "text": draw.choice(["a", "b", None]) if number else "rare",
            "constant": 4.0,
            "mixed": 1.0 if draw.random() < 0.5 else "one",
        }
        values.append(row if draw.random() < 0.9 else {"flag": True})
    return values


def test_many_rows_are_as_one(messy: list[Features]) -> None:
    """The rows of a history are, bit for bit, those of each step alone: training and serving agree."""
    encoding = FeatureEncoding.learn(columns_of(messy))
    strange: list[Features] = [*messy, {"number": "nine", "text": "new", "flag": "yes"}, {}]
    trees = encoding.tree_rows(columns_of(strange), len(strange))
    designs = encoding.design_rows(trees)
    for place, row in enumerate(strange):
        alone = encoding.tree_row(row)
        np.testing.assert_array_equal(trees[place], alone)
        np.testing.assert_allclose(designs[place], encoding.design_row(alone), rtol=0, atol=1e-12)


def test_columns_that_say_nothing_are_left_out(messy: list[Features]) -> None:
    """A constant number gets no column, and a feature that is text in some rows is a category in all."""
    encoding = FeatureEncoding.learn(columns_of(messy))
    assert encoding.names == ("flag", "number", "mixed", "text")
    assert FeatureEncoding.learn(columns_of([{"a": 1.0, "b": "x"}] * 50)).names == ()


def test_unseen_rare_and_missing_differ(messy: list[Features]) -> None:
    """A rare level and an unseen one are both "other"; a missing one is neither that nor a known level."""
    encoding = FeatureEncoding.learn(columns_of(messy))
    place = encoding.names.index("text")
    rare, unseen, missing = (encoding.tree_row({"text": value})[place] for value in ("rare", "zebra", None))
    assert rare == unseen == 2.0
    assert math.isnan(missing)
    assert encoding.design_row(encoding.tree_row({})) == [0.0] * len(encoding.design_names)


def test_order_of_keys_does_not_matter(messy: list[Features]) -> None:
    """Encodings learnt from the same values are equal in whatever order a row names its features."""
    turned: list[Features] = [dict(reversed(list(row.items()))) for row in messy]
    assert FeatureEncoding.learn(columns_of(turned)) == FeatureEncoding.learn(columns_of(messy))


def test_survives_json(messy: list[Features]) -> None:
    """Written and read, an encoding is equal and has the same schema hash."""
    encoding = FeatureEncoding.learn(columns_of(messy))
    again = FeatureEncoding.from_json(encoding.as_json())
    assert again == encoding
    assert again.schema_hash == encoding.schema_hash
