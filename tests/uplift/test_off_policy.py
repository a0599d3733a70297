"""What a policy that never ran would have done, in logs of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sagacity_data.rows import RunRow
from sagacity_training.uplift import off_policy as estimators
from sagacity_training.uplift.candidate import (
    ADVISE_ALL,
    ADVISE_NONE,
    Candidate,
    CandidateRefused,
    Rule,
    candidate_of,
)
from sagacity_training.uplift.off_policy import OffPolicyRefused, off_policy
from sagacity_training.uplift.trial import trial_of

Simulate = Callable[..., list[RunRow]]
MakeRun = Callable[..., RunRow]

HIGH_ONLY = Candidate(0.0, (Rule("", {"season": "high"}, 1.0),))


def test_every_estimator_finds_the_truth(simulate: Simulate) -> None:
    """Advice saves 4, so advising half of the runs costs 22 - 2 = 20: each interval holds that."""
    trial = trial_of(simulate(seed=5, effect=-4.0, holdout=0.4, days=60))
    told = off_policy(trial, HIGH_ONLY)
    for estimate in (told.ips, told.snips, told.dr):
        assert estimate.always_low < 20.0 < estimate.always_high
        assert estimate.value == pytest.approx(20.0, abs=1.0)


def test_the_policy_that_ran_is_worth_what_it_cost(simulate: Simulate) -> None:
    """A candidate that does what was done with the probability it had is worth the logged mean."""
    trial = trial_of(simulate(seed=6, holdout=0.3))
    told = off_policy(trial, Candidate(0.7))
    assert told.ips.value == pytest.approx(told.logged.value)
    assert told.snips.value == pytest.approx(told.logged.value)
    assert told.effective_n == pytest.approx(told.n)


def test_doubly_robust_is_unbiased_with_a_wrong_model(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model that is wrong by far, DR's mean over 60 logs is the truth within 3 standard errors."""
    monkeypatch.setattr(
        estimators, "reward_model", lambda trial, _values, _known: np.full((2, len(trial)), 35.0)
    )
    values = [
        off_policy(
            trial_of(simulate(seed=seed, effect=-4.0, holdout=0.4, days=25, per_day=20)), HIGH_ONLY
        ).dr.value
        for seed in range(60)
    ]
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    assert abs(float(np.mean(values)) - 20.0) < 3 * error


def test_a_good_model_makes_it_surer(simulate: Simulate) -> None:
    """DR's interval is narrower than that of IPS: the model takes away what the arms have in common."""
    told = off_policy(trial_of(simulate(seed=7, effect=-4.0, holdout=0.4)), HIGH_ONLY)
    assert told.dr.high - told.dr.low < told.ips.high - told.ips.low


def test_too_little_evidence_is_refused(simulate: Simulate) -> None:
    """Of 500 runs 5 % were held out: 'advise nobody' is worth some 25 runs, and is refused by that number."""
    trial = trial_of(simulate(seed=8, days=25, per_day=20, holdout=0.05))
    with pytest.raises(OffPolicyRefused, match=r"500 runs that tell their cost are worth \d\d runs"):
        off_policy(trial, ADVISE_NONE)


def test_decisions_that_were_never_taken_are_refused(simulate: Simulate, one_run: MakeRun) -> None:
    """A saga that was never advised makes up 20 % of the runs: advising all is refused by that share."""
    never = [
        one_run(f"n{n}", 1_760_000_000.0 + 300.0 * n, advised=False, propensity=1.0, saga="other")
        for n in range(500)
    ]
    trial = trial_of([*simulate(seed=9), *never])
    with pytest.raises(OffPolicyRefused, match=r"20\.0% of the candidate's decisions were never taken"):
        off_policy(trial, ADVISE_ALL)
    assert off_policy(trial, Candidate(0.0)).unsupported_share == 0.0


def test_a_candidate_is_read_from_json() -> None:
    """The first rule that holds decides; conditions are equality, and a missing key fails them."""
    told = candidate_of(
        {
            "default": "author",
            "rules": [
                {"saga": "trip", "context": {"season": "high"}, "advised_probability": 1},
                {"context": {"tier": "gold"}, "advised_probability": 0.5},
            ],
        }
    )
    assert told.advised_probability("trip", {"season": "high", "tier": "gold"}) == 1.0
    assert told.advised_probability("other", {"season": "high", "tier": "gold"}) == 0.5
    assert told.advised_probability("other", {}) == 0.0


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "the policy must be an object, not list"),
        ({}, "lacks 'default'"),
        ({"default": 2}, "'default' is 2"),
        ({"default": float("nan")}, "'default' is nan"),
        ({"default": True}, "'default' is True"),
        ({"default": 0.5, "rule": []}, "unknown key 'rule'"),
        ({"default": 0.5, "rules": {}}, "'rules' must be a list"),
        ({"default": 0.5, "rules": [3]}, "rule 1 must be an object"),
        ({"default": 0.5, "rules": [{"saga": 3, "advised_probability": 1}]}, "rule 1: 'saga' is 3"),
        ({"default": 0.5, "rules": [{"context": {"a": []}, "advised_probability": 1}]}, "rule 1: 'context'"),
        ({"default": 0.5, "rules": [{}]}, "rule 1 lacks 'advised_probability'"),
    ],
)
def test_a_wrong_candidate_is_refused_by_its_place(document: object, words: str) -> None:
    """What is wrong is named with its place and the way out."""
    with pytest.raises(CandidateRefused, match=words):
        candidate_of(document)
