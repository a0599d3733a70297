"""A service's breaker: when calls are refused, who probes, and what closes it again."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity_engine.guards.breaker import BreakerState, ServiceBreaker
from sagacity_engine.parts import Breaker

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SETTINGS = Breaker(failure_threshold=3, open_s=10.0, probes=2)


def failed(times: int, at: float = 0.0) -> ServiceBreaker:
    breaker = ServiceBreaker()
    for _ in range(times):
        breaker.report(False, at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """The threshold's last failure opens it for `open_s`, counted from that failure; one less does not."""
    assert failed(2).refusal_s(SETTINGS, 1.0) is None
    breaker = failed(3, at=1.0)
    assert breaker.refusal_s(SETTINGS, 1.0) == 10.0
    assert breaker.refusal_s(SETTINGS, 7.0) == 4.0
    assert breaker.refusal_s(SETTINGS, 10.75) == 0.25
    assert breaker.refusal_s(SETTINGS, 11.0) is None


def test_a_success_between_failures_keeps_it_closed() -> None:
    """Only failures in a row count: a success starts the count again."""
    breaker = failed(2)
    breaker.report(True, 0.0)
    breaker.report(False, 0.0)
    breaker.report(False, 0.0)
    assert breaker.refusal_s(SETTINGS, 0.0) is None


def test_probes_are_few() -> None:
    """In half-open as many calls pass as there are places; the next is told when one is free."""
    breaker = failed(3)
    assert [breaker.refusal_s(SETTINGS, at) for at in (10.0, 12.0, 13.0)] == [None, None, 7.0]


def test_a_probes_success_closes_it() -> None:
    """After one success everybody passes, and it takes the whole threshold to open it again."""
    breaker = failed(3)
    breaker.refusal_s(SETTINGS, 10.0)
    breaker.report(True, 11.0)
    breaker.report(False, 11.0)
    assert [breaker.refusal_s(SETTINGS, 11.0) for _ in range(5)] == [None] * 5


def test_a_probes_failure_opens_it_again() -> None:
    """One failure of a probe is enough: nobody passes for another `open_s`, then all places are free."""
    breaker = failed(3)
    breaker.refusal_s(SETTINGS, 10.0)
    breaker.report(False, 12.0)
    assert breaker.refusal_s(SETTINGS, 12.0) == 10.0
    assert [breaker.refusal_s(SETTINGS, 22.0) for _ in range(3)] == [None, None, 10.0]


def test_late_failures_do_not_prolong_it() -> None:
    """Calls that were in flight when it opened, and undos that fail meanwhile, never keep the probes away."""
    breaker = failed(3)
    assert breaker.refusal_s(SETTINGS, 0.0) == 10.0
    for at in range(1, 15):
        breaker.report(False, float(at))
    assert breaker.refusal_s(SETTINGS, 14.0) is None
    for at in range(15, 24):  # The first of these opens it again; the others are late.
        breaker.report(False, float(at))
    assert breaker.refusal_s(SETTINGS, 24.0) == 1.0


def test_an_undo_that_succeeds_closes_it() -> None:
    """A success is one, whoever had it: an undo's proves the service well while it is open."""
    breaker = failed(3)
    assert breaker.refusal_s(SETTINGS, 1.0) == 9.0
    breaker.report(True, 2.0)
    assert breaker.refusal_s(SETTINGS, 2.0) is None


def test_an_abandoned_probe_gives_its_place_back() -> None:
    """A probe that never reports keeps its place for `open_s`, no longer."""
    breaker = failed(3)
    assert [breaker.refusal_s(SETTINGS, 10.0) for _ in range(2)] == [None, None]
    assert breaker.refusal_s(SETTINGS, 19.0) == 1.0
    assert breaker.refusal_s(SETTINGS, 20.0) is None


def test_a_probe_that_says_nothing_gives_its_place_back() -> None:
    """A call that showed the service neither well nor ill changes nothing but frees a place."""
    breaker = failed(3)
    breaker.report(None, 5.0)
    assert [breaker.refusal_s(SETTINGS, 10.0) for _ in range(3)] == [None, None, 10.0]
    breaker.report(None, 11.0)
    assert [breaker.refusal_s(SETTINGS, 11.0) for _ in range(2)] == [None, 9.0]


def test_each_step_brings_its_own_patience() -> None:
    """Steps of one service may differ: each judges the failures, and waits, by its own numbers."""
    eager = Breaker(failure_threshold=1, open_s=2.0)
    breaker = failed(1)
    assert breaker.refusal_s(SETTINGS, 0.0) is None
    assert breaker.refusal_s(eager, 0.0) == 2.0
    assert breaker.refusal_s(SETTINGS, 0.0) == 10.0
    assert breaker.refusal_s(eager, 2.0) is None


def test_no_breaker_no_refusal() -> None:
    """A step without a breaker passes, however the service fares."""
    breaker = failed(100)
    assert breaker.refusal_s(None, 0.0) is None
    assert breaker.state(None, 0.0) is CLOSED


@pytest.mark.parametrize(("at", "expected"), [(0.0, OPEN), (9.9, OPEN), (10.0, HALF_OPEN)])
def test_its_state_can_be_looked_at(at: float, expected: BreakerState) -> None:
    """Looking says what a call would meet, also before any call has met it, and takes no probe's place."""
    breaker = failed(3)
    assert [breaker.state(SETTINGS, at) for _ in range(5)] == [expected] * 5
    assert failed(2).state(SETTINGS, at) is CLOSED
    breaker.refusal_s(SETTINGS, 0.0)
    assert breaker.state(SETTINGS, at) is expected


def test_changes_are_told_once() -> None:
    """Whoever asked to be told hears each state that a call met, once, in order, with its time."""
    told: list[tuple[BreakerState, float]] = []
    breaker = ServiceBreaker(lambda state, at: told.append((state, at)))
    for _ in range(5):
        breaker.report(False, 0.0)
    assert told == []
    for at in (1.0, 2.0, 10.0, 11.0):
        breaker.refusal_s(SETTINGS, at)
    breaker.report(False, 12.0)
    breaker.refusal_s(SETTINGS, 13.0)
    breaker.refusal_s(SETTINGS, 22.0)
    breaker.report(True, 23.0)
    breaker.report(True, 24.0)
    assert told == [(OPEN, 1.0), (HALF_OPEN, 10.0), (OPEN, 12.0), (HALF_OPEN, 22.0), (CLOSED, 23.0)]


def test_a_time_ahead_costs_one_period() -> None:
    """A failure or a probe whose time lies in the future holds nobody up for longer than `open_s`."""
    breaker = failed(3, at=1e9)
    assert breaker.refusal_s(SETTINGS, 0.0) == 10.0
    assert [breaker.refusal_s(SETTINGS, 1e9) for _ in range(2)] == [None, None]
    assert breaker.refusal_s(SETTINGS, 10.0) is None


@dataclass
class Model:
    """The breaker by its definition, with everything that happened kept for ever."""

    row: list[float] = field(default_factory=list)  # The times of the failures in a row.
    opened_at: float | None = None
    probes: list[float] = field(default_factory=list)

    def met(self, settings: Breaker, now: float) -> tuple[BreakerState, float | None]:
        if self.opened_at is None and len(self.row) >= settings.failure_threshold:
            self.opened_at = self.row[-1]
        if self.opened_at is None:
            return CLOSED, None
        if now < self.opened_at + settings.open_s:
            return OPEN, self.opened_at + settings.open_s - now
        out = [at for at in self.probes if now < at + settings.open_s]
        if len(out) < settings.probes:
            self.probes = [*out, now]
            return HALF_OPEN, None
        self.probes = out
        return HALF_OPEN, out[0] + settings.open_s - now

    def report(self, healthy: bool | None, now: float) -> None:
        if healthy is None:
            self.probes = self.probes[1:]
            return
        self.row = [] if healthy else [*self.row, now]
        if healthy:
            self.opened_at = None
        elif self.probes:
            self.opened_at = now
        if healthy or self.probes:
            self.probes = []


ASK = "ask"
REPORTS = {"well": True, "ill": False, "neither": None}
STEPS = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from([ASK, ASK, ASK, "well", "ill", "ill", "ill", "neither"])),
    max_size=60,
)
NUMBERS = st.builds(
    Breaker,
    failure_threshold=st.integers(1, 4),
    open_s=st.integers(1, 8).map(float),
    probes=st.integers(1, 3),
)


@settings(max_examples=500)
@given(NUMBERS, STEPS)
def test_it_does_what_the_model_does(numbers: Breaker, steps: list[tuple[int, str]]) -> None:
    """Whatever happens in whatever order, refusals and states are those of the definition."""
    breaker, model, now = ServiceBreaker(), Model(), 0.0
    for later_s, what in steps:
        now += later_s
        if what == ASK:
            seen = breaker.state(numbers, now)
            state, refusal_s = model.met(numbers, now)
            assert (seen, breaker.refusal_s(numbers, now)) == (state, refusal_s)
            assert refusal_s is None or 0 < refusal_s <= numbers.open_s
        else:
            breaker.report(REPORTS[what], now)
            model.report(REPORTS[what], now)


@given(NUMBERS, STEPS)
def test_an_ill_service_is_left_alone(numbers: Breaker, steps: list[tuple[int, str]]) -> None:
    """Until it has shown itself well, at most `probes` calls pass in any `open_s` seconds."""
    breaker, now = failed(numbers.failure_threshold), 0.0
    passed: list[float] = []
    for later_s, what in steps:
        now += later_s
        if what == "ill":
            breaker.report(False, now)
        elif what == ASK and breaker.refusal_s(numbers, now) is None:
            passed.append(now)
    for begin in passed:
        assert sum(begin <= at < begin + numbers.open_s for at in passed) <= numbers.probes


@given(NUMBERS, STEPS)
def test_nobody_waits_for_ever(numbers: Breaker, steps: list[tuple[int, str]]) -> None:
    """Whatever happened before, whoever is refused and comes back when told passes, if nobody else came."""
    breaker, now = ServiceBreaker(), 0.0
    for later_s, what in steps:
        now += later_s
        if what == ASK:
            breaker.refusal_s(numbers, now)
        else:
            breaker.report(REPORTS[what], now)
    refusal_s = breaker.refusal_s(numbers, now)
    assert refusal_s is None or breaker.refusal_s(numbers, now + refusal_s) is None
