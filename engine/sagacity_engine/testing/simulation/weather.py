"""How a simulated day is: what goes wrong how often, and when which service is ill.

Everything is drawn from one seeded generator before anything runs, or per call in the order of the calls,
which virtual time makes the same every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random


class Ill(Enum):
    """What is wrong with a service for a while."""

    DOWN = "down"  # It refuses everything at once, as overloaded services do.
    CUT_OFF = "cut off"  # Calls or their replies are lost on the way.
    SLOW = "slow"  # Everything takes long.


@dataclass(frozen=True, slots=True)
class Spell:
    """A service's illness. Times in virtual seconds."""

    service: str
    what: Ill
    begins_s: float
    ends_s: float


@dataclass(slots=True)
class Weather:
    """One day. Rates are chances per call, commit, or run; they are all zero once the day is `calm`."""

    spells: tuple[Spell, ...]
    trouble: float  # Of a call, that something goes wrong with it.
    undo_trouble: float
    stuck_undos: float  # Of a step, that its undo fails until a person mends it.
    crash: float  # Of a commit, that its process dies in it.
    late: float  # Of a call that goes wrong, that it is slow beyond its timeout.
    calm: bool = False

    def ill(self, service: str, at_s: float) -> Ill | None:
        """What is wrong with the service now."""
        if not self.calm:
            for spell in self.spells:
                if spell.service == service and spell.begins_s <= at_s < spell.ends_s:
                    return spell.what
        return None


def random_weather(rng: Random, services: tuple[str, ...], lasts_s: float) -> Weather:
    """A day of `lasts_s` virtual seconds, from nearly fair to very bad."""
    spells = tuple(
        Spell(rng.choice(services), rng.choice(tuple(Ill)), at, at + rng.uniform(1.0, 18.0))
        for at in (rng.uniform(0.0, lasts_s) for _ in range(rng.randint(0, 12)))
    )
    return Weather(
        spells=spells,
        trouble=rng.choice((0.2, 0.4, 0.55, 0.7)),
        undo_trouble=rng.choice((0.2, 0.45, 0.65)),
        stuck_undos=rng.choice((0.0, 0.05, 0.15)),
        crash=rng.choice((0.0, 0.01, 0.03)),
        late=rng.choice((0.1, 0.3, 0.5)),
    )
