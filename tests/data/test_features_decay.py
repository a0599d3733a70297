"""Decayed sums against their definition, over weeks, and what is under way against a plain count."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_data import under_way
from sagacity_data.decay import HALF_LIVES_S, WEEK_S, DecayedSums, Moment
from sagacity_data.under_way import STALE_S, UnderWay

TIMES = st.floats(-3 * WEEK_S, 60 * WEEK_S)


def read(sums: DecayedSums, at: float) -> list[float]:
    """The first sum in every window, as of `at`."""
    now = Moment(at)
    return [amount / growth for amount, growth in zip(sums.in_week(now.week)[:4], now.growth, strict=True)]


@given(added=st.lists(st.tuples(TIMES, st.floats(0.001, 1_000.0)), min_size=1, max_size=8))
def test_a_sum_is_what_its_definition_says(added: list[tuple[float, float]]) -> None:
    """However late or far apart amounts come, every window holds the sum of amount * 2^-(age / half-life)."""
    sums = DecayedSums.zero(Moment(added[0][0]), 1)
    for at, amount in added:
        sums.add(Moment(at), [(0, amount)])
    asked_at = max(at for at, _ in added) + 100.0
    for told, half_life in zip(read(sums, asked_at), HALF_LIVES_S.values(), strict=True):
        right = math.fsum(amount * 2.0 ** (-(asked_at - at) / half_life) for at, amount in added)
        assert told == pytest.approx(right, rel=1e-9, abs=1e-60)


def test_a_week_later_is_a_power_of_two() -> None:
    """To carry sums from week to week is exact: one by one or all at once, the bits are the same."""
    sums = DecayedSums.zero(Moment(0.0), 1)
    sums.add(Moment(WEEK_S / 3), [(0, math.pi)])
    carried = DecayedSums(sums.at, 1, sums.in_week(1))
    assert carried.in_week(2) == sums.in_week(2)
    assert sums.in_week(2)[3] == sums.sums[3] / 4


@pytest.mark.parametrize("at", [0.0, 1.75e9, -1e9, 1e18, 1e300, -1e300])
def test_no_time_is_too_far(at: float) -> None:
    """Growths are finite at any finite time, and what lies ages apart has simply gone."""
    assert all(1.0 <= growth < 2.0**337 for growth in Moment(at).growth)
    sums = DecayedSums.zero(Moment(-1e300), 1)
    sums.add(Moment(-1e300), [(0, 1.0)])
    sums.add(Moment(1e300), [(0, 0.0)])
    assert read(sums, 1e300) == [0.0, 0.0, 0.0, 0.0]


STARTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8).map(lambda n: n * STALE_S / 4), st.booleans()), max_size=20
)


@given(told=STARTS)
def test_what_is_under_way_is_counted(told: list[tuple[int, float, bool]]) -> None:
    """In any order of starts and ends, what started within the last day and has not ended counts."""
    tested, plain = UnderWay(), dict[int, float]()
    for name, at, ends in told:
        if ends:
            tested.close((name,))
            plain.pop(name, None)
        else:
            tested.open((name,), at)
            plain[name] = at
    asked_at = 2 * STALE_S
    assert tested.count(asked_at) == sum(at >= asked_at - STALE_S for at in plain.values())
    assert tested.count(asked_at) == tested.count(asked_at)


def test_the_oldest_tenth_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full with twenty, the next start drops the two oldest, whenever they were told."""
    monkeypatch.setattr(under_way, "UNDER_WAY_MAX", 20)
    tested = UnderWay()
    for name in range(10, 28):
        tested.open((name,), float(name))
    tested.open((1,), 1.0)
    tested.open((2,), 2.0)
    tested.open((30,), 30.0)
    assert [name for _, name in tested.snapshot()] == [*range(10, 28), 30]
