"""The gate: what passes, what does not, and how often chance does."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sagacity_training.judging.gate import Verdict, gate
from sagacity_training.judging.judged import BASE, Judged
from sagacity_training.judging.ledger import Ledger, alpha_of
from sagacity_training.judging.policy import GatePolicy

POLICY = GatePolicy()
Array = NDArray[np.float64]


def logistic(values: Array) -> Array:
    told: Array = 1 / (1 + np.exp(-values))
    return told


def judged(
    outcomes: Array, forecasts: Array, base: float, champion: Array | None = None, **given: object
) -> Judged:
    rows = len(outcomes)
    values: dict[str, object] = {
        "task": "step_failure",
        "outcomes": outcomes,
        "forecasts": forecasts,
        "base": np.full(rows, base),
        "champion": champion,
        "at": np.arange(rows, dtype=float),
        "cases": np.arange(rows) // 2,
        "n_train": 5_000,
        "chosen": "linear",
        "reason": "it gains",
    }
    return Judged(**{**values, **given})  # type: ignore[arg-type]  # tests give what they mean to


def world(seed: int, rows: int = 4_000) -> tuple[Array, Array]:
    """The true probabilities of rows, and what happened."""
    rng = np.random.default_rng(seed)
    truth = logistic(-3.5 + 1.2 * rng.normal(size=rows))
    return truth, (rng.random(rows) < truth).astype(float)


def once(told: Judged, spent: Ledger | None = None, **given: bool) -> Verdict:
    return gate([told], POLICY, spent or Ledger(), **given)


def test_a_better_model_passes() -> None:
    """One that knows the truth is promoted without a champion, and against one that knows half of it."""
    for seed in range(5):
        truth, outcomes = world(seed)
        verdict = once(judged(outcomes, truth, truth.mean()))
        assert verdict.promoted
        assert "surely better" in verdict.reasons[0]
        half = np.full(len(truth), truth.mean())
        assert once(judged(outcomes, truth, truth.mean(), half)).promoted


def test_the_champion_stays_where_nothing_is_better() -> None:
    """A model equal to the champion, or worse than it, is not promoted, and the reason has the figure."""
    truth, outcomes = world(1)
    verdict = once(judged(outcomes, truth, truth.mean(), truth))
    assert not verdict.promoted
    assert "not surely better" in verdict.reasons[0]
    assert "0.0000 a row below the champion's" in verdict.reasons[0]


def test_too_little_is_said() -> None:
    """Few rows, few of the rarer outcome, and a champion that saw them all: each is named with its number."""
    truth, outcomes = world(2)
    few = once(judged(outcomes[:400], truth[:400], 0.05))
    assert not few.promoted
    assert "400 held-out rows, fewer than 500" in few.reasons[0]
    none = np.zeros(4_000)
    none[:7] = 1
    assert any("occurs in 7 of 4000" in reason for reason in once(judged(none, truth, 0.05)).reasons)
    seen = once(judged(outcomes, truth, 0.05, np.full(4_000, math.nan)))
    assert "0 held-out rows that the champion had not learnt from" in seen.reasons[0]
    assert "forecasts none of these rows" in once(judged(outcomes, truth, 0.05), champion=True).reasons[0]


def test_too_little_spends_nothing() -> None:
    """A gating that compares nothing leaves the ledger as it is."""
    truth, outcomes = world(2)
    assert once(judged(outcomes[:400], truth[:400], 0.05)).spent == Ledger()


def test_an_uncalibrated_model_is_refused() -> None:
    """Forecasts that rank well and are far too high do not pass, and ECE is named."""
    truth, outcomes = world(3)
    verdict = once(judged(outcomes, np.minimum(truth * 2.2, 1), 0.5))
    assert not verdict.promoted
    assert any("calibration error" in reason and "above 0.05" in reason for reason in verdict.reasons)


def test_no_slice_may_be_badly_worse() -> None:
    """A model that is better on the whole and worse for one service is refused by the service's name."""
    truth, outcomes = world(4, 6_000)
    told = truth.copy()
    bad = np.arange(6_000) % 6 == 0
    told[bad] = np.clip(1.5 * truth.mean() - truth[bad], 0.001, 1)
    groups = {"service": np.where(bad, "bank", "hotel").tolist()}
    verdict = once(judged(outcomes, told, truth.mean(), groups=groups))
    assert not verdict.promoted
    assert any("service 'bank'" in reason and "badly worse" in reason for reason in verdict.reasons)


def test_without_signal_nothing_is_promoted() -> None:
    """Base rates are no model: they stand in where there is no champion, and never replace one."""
    _, outcomes = world(5)
    told = judged(outcomes, np.full(4_000, 0.05), 0.05, chosen=BASE, reason="no signal: too little")
    first, later = once(told), once(told, champion=True)
    assert (first.promoted, first.signal, first.stands_in) == (False, False, True)
    assert (later.promoted, later.signal, later.stands_in) == (False, False, False)
    assert "no champion yet" in first.reasons[0]
    assert "the champion stays" in later.reasons[0]
    assert "too little" in first.reasons[1]


def test_a_task_that_got_worse_is_a_reason() -> None:
    """A model with one better task is refused if another one lost what its champion knew."""
    truth, outcomes = world(6)
    better = judged(outcomes, truth, truth.mean(), np.full(4_000, truth.mean()))
    lost = judged(
        outcomes, np.full(4_000, truth.mean()), truth.mean(), truth, task="undo", chosen=BASE, reason="none"
    )
    verdict = gate([better, lost], POLICY, Ledger())
    assert not verdict.promoted
    assert any(reason.startswith("undo: it as a whole is badly worse") for reason in verdict.reasons)


@pytest.mark.slow
def test_chance_promotes_at_most_alpha_of_repeated_gatings() -> None:
    """Forecasts of equal expected loss, tried ten times on the same rows, pass in at most alpha of worlds."""
    rows, truth, low = 1_500, 0.05, 0.03
    high = _partner(truth, low)
    promoted = 0
    for seed in range(300):
        outcomes = (np.random.default_rng(seed).random(rows) < truth).astype(float)
        spent, passed = Ledger(), False
        for number in range(10):
            told, base = (low, high) if number % 2 else (high, low)
            noise = np.random.default_rng(1_000 * seed + number).normal(0, 1e-4, rows)
            verdict = once(judged(outcomes, told + noise, base), spent)
            spent, passed = verdict.spent, passed or verdict.promoted
        promoted += passed
    assert promoted / 300 <= POLICY.alpha + 2 * math.sqrt(POLICY.alpha * (1 - POLICY.alpha) / 300)


def _partner(truth: float, low: float) -> float:
    wanted = truth * math.log(low) + (1 - truth) * math.log1p(-low)
    below, above = truth, 0.5
    for _ in range(200):
        middle = (below + above) / 2
        better = truth * math.log(middle) + (1 - truth) * math.log1p(-middle) > wanted
        below, above = (middle, above) if better else (below, middle)
    return below


@pytest.mark.slow
def test_noise_about_the_base_rate_is_never_promoted() -> None:
    """A forecaster that is the base rate and noise passes none of 200 repetitions."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        outcomes = (rng.random(1_500) < 0.1).astype(float)
        told = logistic(np.log(0.1 / 0.9) + rng.normal(0, 0.3, 1_500))
        assert not once(judged(outcomes, told, 0.1)).promoted


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_flipped_labels_do_not_pass(share: float) -> None:
    """A model learnt from flipped labels is refused on clean rows, and on rows that are flipped alike."""
    clean = flipped = 0
    for seed in range(40):
        truth, outcomes = world(seed, 6_000)
        learnt = share + (1 - 2 * share) * truth
        flips = np.random.default_rng(seed + 999).random(6_000) < share
        clean += once(judged(outcomes, learnt, learnt.mean(), truth)).promoted
        flipped += once(judged(abs(outcomes - flips), learnt, learnt.mean(), truth)).promoted
    assert clean == 0
    assert flipped <= 4


@pytest.mark.slow
def test_a_world_that_changed_is_learnt() -> None:
    """Where failures became twice as likely, the model that knows replaces the champion that does not."""
    promoted = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = -3.5 + 1.2 * rng.normal(size=6_000)
        now = logistic(scores + 0.7)
        outcomes = (rng.random(6_000) < now).astype(float)
        promoted += once(judged(outcomes, now, now.mean(), logistic(scores))).promoted
    assert promoted >= 19


def test_levels_sum_to_alpha() -> None:
    """All looks at one stretch together spend no more than alpha, and nearly all of it."""
    spent = sum(alpha_of(number, 0.05) for number in range(1, 5_000))
    assert 0.0499 < spent < 0.05


def test_new_data_refills_the_budget() -> None:
    """Only looks at overlapping stretches count; the same question again is no new look."""
    first, ledger = Ledger().look(0, 10, "a", 0.05)
    again, same = ledger.look(0, 10, "a", 0.05)
    assert (again, same) == (first, ledger)
    second, ledger = ledger.look(5, 15, "b", 0.05)
    fresh, ledger = ledger.look(11, 20, "c", 0.05)
    clear, ledger = ledger.look(21, 30, "d", 0.05)
    assert [each.number for each in (first, second, fresh, clear)] == [1, 2, 2, 1]
    assert clear.level == pytest.approx(0.05 * 6 / math.pi**2)


def test_no_moment_is_looked_at_for_more_than_alpha() -> None:
    """For sliding stretches, the levels of all that hold a moment sum to at most alpha, at any moment."""
    rng = np.random.default_rng(2)
    ledger = Ledger()
    for number in range(200):
        begin = number * 0.3
        _, ledger = ledger.look(begin, begin + rng.uniform(1, 10), str(number), 0.05)
    for moment in np.linspace(0, 70, 500):
        spent = sum(each.level for each in ledger.gatings if each.begin <= moment <= each.end)
        assert spent <= 0.05


def test_a_ledger_can_be_written_and_read() -> None:
    """JSON gives the same ledger back, and what is none is refused."""
    ledger = Ledger().look(0, 10, "a", 0.05)[1]
    assert Ledger.from_json(json.loads(json.dumps(ledger.as_json()))) == ledger
    damaged: list[list[Any]] = [[{}], [3], [{**ledger.as_json()[0], "level": 2}]]
    for bad in damaged:
        with pytest.raises(ValueError, match="no ledger"):
            Ledger.from_json(bad)
