"""The ranges that numbers of a definition must lie in, with the sentence that refuses the others.

Definitions and plans may be built in Python by anybody, so what is no number at all is refused here too:
a truth value, a text, a fraction where a whole number is wanted.
"""

from __future__ import annotations

from sagacity_engine.errors import SagaRefused
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.wire import shown

SECONDS_MAX = 10 * 366 * 86_400.0
ATTEMPTS_MAX = 1_000
COST_MAX = 1e12


def is_number(value: object) -> bool:
    """Whether the value is a number, which truth values are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether the value is a whole number of Python's own."""
    return isinstance(value, int) and not isinstance(value, bool)


def in_range(where: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Raises `SagaRefused` unless low <= value <= high; with `above`, low itself is out too."""
    if not is_number(value):
        raise SagaRefused(f"{where} is {shown(value)}; it must be a number")
    if not low <= value <= high or (above and value == low):  # Also what is no number in particular.
        lowest = f"more than {low:g}" if above else f"at least {low:g}"
        raise SagaRefused(f"{where} is {shown(value)}; it must be {lowest} and at most {high:g}")


def whole_in_range(where: str, value: int, low: int, high: int) -> None:
    """Raises `SagaRefused` unless the value is a whole number and low <= value <= high."""
    if not is_whole(value):
        raise SagaRefused(f"{where} is {shown(value)}; it must be a whole number")
    in_range(where, value, low, high)


def bounds(where: str, given: tuple[float, float] | None, own: float | None, most: float) -> None:
    """Raises `SagaRefused` unless the bounds are in range and hold the author's own number."""
    if given is None:
        return
    low, high = given
    for bound in given:
        in_range(where, bound, 0, most, above=True)
        if is_whole(own) and not is_whole(bound):
            raise SagaRefused(f"{where} is [{low}, {high}]; they must be whole numbers")
    if own is None and low > high:
        raise SagaRefused(f"{where} is [{low}, {high}], which holds nothing; put the lower bound first")
    if own is not None and not low <= own <= high:
        raise SagaRefused(
            f"{where} is [{low}, {high}] and leaves out the author's own {own}; widen the bounds to hold it"
        )


def retry_numbers(where: str, retry: RetryPolicy) -> None:
    """Raises `SagaRefused` for a retry number out of range."""
    in_range(where + "initial_interval_s", retry.initial_interval_s, 0, SECONDS_MAX)
    in_range(where + "backoff_coefficient", retry.backoff_coefficient, 1, 1_000)
    in_range(where + "maximum_interval_s", retry.maximum_interval_s, 0, SECONDS_MAX)
    whole_in_range(where + "maximum_attempts", retry.maximum_attempts, 1, ATTEMPTS_MAX)
