"""Remaining times are honest though running cases have not ended yet."""

from __future__ import annotations

from math import log1p

import numpy as np
import pytest

from sagacity_data.event_log import Case, CaseEvent
from sagacity_models.live_risk_remaining import (
    PROBABILITIES,
    RemainingKind,
    RemainingLaw,
    RemainingTime,
    ResidualLaw,
)
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import PrefixVocabulary
from sagacity_training.live_risk_remaining import fit_law, learn_remaining
from sagacity_training.live_risk_rows import RemainingRows, TimedCase, mean_remaining_s, remaining_rows

UNIFORM = ResidualLaw(tuple(log1p(100 * p) for p in PROBABILITIES), 500)
"""The remaining time is (nearly) even over 0 to 100 s."""


def rows_of(remaining_s: list[float], ended: list[bool], watched_s: list[float]) -> RemainingRows:
    count = len(remaining_s)
    return RemainingRows(
        np.zeros((count, 1), dtype=np.float32),
        ("a|complete",) * count,
        np.array(remaining_s),
        np.array(watched_s),
        np.array(ended),
        np.arange(count),
    )


def test_the_law_of_a_waiting_case_is_that_of_those_who_waited_as_long() -> None:
    """Even over 100 s: after 40 s of silence the median of the rest is 30 s, and half are done by then."""
    law = RemainingLaw(0.0, UNIFORM)
    assert law.quantile_s(0.5) == pytest.approx(50.0, rel=0.01)
    assert law.done_by(25.0) == pytest.approx(0.25, abs=0.01)
    assert law.quantile_s(0.5, since_s=40.0) == pytest.approx(30.0, rel=0.02)
    assert law.done_by(30.0, since_s=40.0) == pytest.approx(0.5, abs=0.01)
    assert (law.done_by(0.0), law.done_by(-5.0), law.done_by(101.0)) == (0.0, 0.0, 1.0)


def test_a_wait_longer_than_any_seen_promises_no_end() -> None:
    """Of 500 none took over 100 s: after 1,000 s of silence half end within as long again, both ways."""
    law = RemainingLaw(0.0, UNIFORM)
    assert law.done_by(1000.0, since_s=1000.0) == pytest.approx(0.5)
    assert law.done_by(1.0, since_s=1000.0) < 0.01
    assert law.quantile_s(0.5, since_s=1000.0) == pytest.approx(1000.0)
    assert law.quantile_s(0.9, since_s=1000.0) == pytest.approx(9000.0)


def test_quantiles_and_probabilities_are_each_other_s_inverse() -> None:
    """P(done by the p-quantile) is p, at any location and after any silence that leaves something."""
    law = RemainingLaw(1.5, ResidualLaw(tuple(4 * p - 1 for p in PROBABILITIES), 9))
    for since_s in (0.0, 5.0, 20.0):
        for p in (0.05, 0.3, 0.5, 0.9):
            assert law.done_by(law.quantile_s(p, since_s), since_s) == pytest.approx(p, abs=1e-6)


def test_a_law_comes_back_from_its_texts_and_others_are_refused() -> None:
    """Texts give the same law; a law that falls, lacks knots or has no trees where it needs them does not."""
    part = RemainingTime(
        RemainingKind.STAGE, UNIFORM, {"a|complete": ResidualLaw((0.5,) * len(PROBABILITIES), 7)}
    )
    again = RemainingTime.from_texts(part.texts())
    assert again.texts() == part.texts()
    row = np.zeros(1, dtype=np.float32)
    assert again.law(row, "a|complete").quantile_s(0.5) == pytest.approx(np.expm1(0.5))
    assert again.law(row, "unheard|of") == RemainingLaw(0.0, UNIFORM)
    with pytest.raises(ValueError, match="never fall"):
        ResidualLaw(tuple(-p for p in PROBABILITIES), 1)
    with pytest.raises(ValueError, match="needs trees"):
        RemainingTime(RemainingKind.TREES, UNIFORM, {})
    with pytest.raises(ValueError, match="no law of remaining time"):
        RemainingTime.from_texts({})


def test_open_cases_are_censored_not_short() -> None:
    """Kaplan and Meier by hand: ends after 1, 3 and 4, one open after 2: survival 3/4, 3/8, 0."""
    rows = rows_of([1.0, 2.0, 3.0, 4.0], [True, False, True, True], [9.0, 2.0, 9.0, 9.0])
    law = fit_law(RemainingKind.POOLED, rows, rows, 0).pooled
    told = dict(zip(PROBABILITIES, np.expm1(law.knots), strict=True))
    assert [told[p] for p in (0.25, 0.3, 0.6, 0.65, 1.0)] == pytest.approx([1.0, 3.0, 3.0, 4.0, 4.0])
    assert law.evidence == 3


def test_weights_make_up_for_the_cases_that_were_cut_off() -> None:
    """Even over 0-100 s, watched for 0-120 s: ended rows alone are short by far, weighted they are not."""
    draw = np.random.default_rng(5)
    true_s, watched_s = draw.uniform(0, 100, 20_000), draw.uniform(0, 120, 20_000)
    ended = true_s <= watched_s
    rows = rows_of(np.minimum(true_s, watched_s).tolist(), ended.tolist(), watched_s.tolist())
    assert true_s[ended].mean() < 40
    assert mean_remaining_s(rows) == pytest.approx(50, abs=1.5)
    assert np.all(rows.weights()[~ended] == 0)


def test_rows_hold_what_was_known_at_a_moment() -> None:
    """A case that ends later is open, its later events are not there, and no row lies at the end itself."""
    case = Case("c", tuple(CaseEvent("a", second * 1_000_000) for second in (10, 20, 30)))
    layout = PrefixLayout(PrefixVocabulary.learn([case]))
    told = remaining_rows([TimedCase(case, 30_000_000)], layout, 40_000_000)
    assert (told.remaining_s.tolist(), told.ended.tolist()) == ([20.0, 10.0], [True, True])
    earlier = remaining_rows([TimedCase(case, 30_000_000)], layout, 25_000_000)
    assert (earlier.remaining_s.tolist(), earlier.ended.tolist()) == ([15.0, 5.0], [False, False])
    assert earlier.watched_s.tolist() == [15.0, 5.0]
    assert earlier.ended_cases == 0


def test_without_ends_there_is_no_law_and_with_few_one_for_all() -> None:
    """No ended case: None. Fewer than twenty: the pooled law, and why."""
    open_rows = rows_of([5.0], [False], [5.0])
    assert learn_remaining(open_rows, open_rows, open_rows, 0) is None
    few = rows_of([1.0, 2.0], [True, True], [9.0, 9.0])
    told = learn_remaining(few, few, few, 0)
    assert told is not None
    assert told.remaining.kind is RemainingKind.POOLED
    assert "too few" in told.reason
