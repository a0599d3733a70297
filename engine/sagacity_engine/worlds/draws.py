"""Random numbers keyed by what they are for, never by when they are asked.

Each draw is a hash of (seed, key...), so that two policies that meet the same trip, step and attempt meet the
same luck (common random numbers), however differently they got there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from statistics import NormalDist

Key = str | int | float
_NORMAL = NormalDist()


def uniform(seed: int, *key: Key) -> float:
    """A number in (0, 1), the same for the same seed and key.

    >>> uniform(1, "trip", 7) == uniform(1, "trip", 7) != uniform(2, "trip", 7)
    True
    """
    text = "\x1f".join((str(seed), *map(str, key)))
    whole = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return (whole + 0.5) / 2**64


def exponential(mean: float, draw: float) -> float:
    """The exponential variate with this mean that belongs to the uniform `draw`."""
    return -mean * math.log(draw)


def log_normal(median: float, sigma: float, draw: float) -> float:
    """The log-normal variate with this median that belongs to the uniform `draw`."""
    return median * math.exp(sigma * _NORMAL.inv_cdf(draw))


def pick(choices: dict[str, float], draw: float) -> str:
    """The choice on which the uniform `draw` falls; the shares sum to 1."""
    for name, share in choices.items():
        if draw < share:
            return name
        draw -= share
    return next(reversed(choices))


Stream = Callable[[], float]


def stream(seed: int, *key: Key) -> Stream:
    """An endless sequence of uniforms for one purpose."""
    count = 0

    def draw() -> float:
        nonlocal count
        count += 1
        return uniform(seed, *key, count)

    return draw
