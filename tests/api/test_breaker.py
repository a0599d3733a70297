"""The circuit breaker around the service."""

import pytest

from sagacity_api.client import Breaker, Circuit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock=clock, failures_max=3, cool_down_s=10)
    for _ in range(3):
        assert breaker.admit()
        breaker.failed()
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """After the given number of failures in a row no call passes, and the wait is told."""
    breaker = opened(Clock())
    assert (breaker.admit(), breaker.state, breaker.wait_s()) == (False, Circuit.OPEN, 10)


def test_a_success_in_between_keeps_it_closed() -> None:
    """Only failures in a row count."""
    breaker = Breaker(clock=Clock(), failures_max=2)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert (breaker.admit(), breaker.state, breaker.wait_s()) == (True, Circuit.CLOSED, 0)


def test_one_probe_passes_after_the_cool_down() -> None:
    """When the time is up exactly one call passes, until it has ended."""
    clock = Clock()
    breaker = opened(clock)
    clock.now = 9.999
    assert not breaker.admit()
    clock.now = 10.0
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    assert breaker.state is Circuit.HALF_OPEN


def test_the_probe_decides() -> None:
    """The probe's success closes the breaker; its failure opens it for another cool-down at once."""
    clock = Clock()
    well, ill = opened(clock), opened(clock)
    clock.now = 10.0
    assert well.admit()
    assert ill.admit()
    well.succeeded()
    ill.failed()
    assert (well.state, ill.state, ill.wait_s()) == (Circuit.CLOSED, Circuit.OPEN, 10)


@pytest.mark.parametrize(("failures_max", "cool_down_s"), [(0, 1.0), (1, -1.0)])
def test_senseless_settings_are_refused(failures_max: int, cool_down_s: float) -> None:
    """A breaker that could never close or never be closed is refused."""
    with pytest.raises(ValueError, match="must be at least"):
        Breaker(clock=Clock(), failures_max=failures_max, cool_down_s=cool_down_s)
