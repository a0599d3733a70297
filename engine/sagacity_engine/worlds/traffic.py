"""Who wants to travel, and when: trips in bursts over days, each with what the seller knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine.worlds.draws import exponential, pick, stream, uniform
from sagacity_engine.worlds.law import DAY_S, Context, WorldLaw


@dataclass(frozen=True, slots=True)
class Trip:
    """One request: its id keys every draw it meets; `at` in seconds since the epoch."""

    trip_id: str
    at: float
    context: Context


def trips(law: WorldLaw, *, seed: int, label: str, begin: float, count: int) -> list[Trip]:
    """`count` trips from `begin` on, in time order. Bursts arrive as a Poisson process, by day and night."""
    draw = stream(seed, "arrivals", label)
    between_bursts_s = DAY_S * law.burst_size / law.trips_per_day
    moments: list[float] = []
    burst_at = begin
    while len(moments) < count:
        burst_at += exponential(between_bursts_s, draw())
        at = burst_at
        moments.append(at)
        while draw() > 1 / law.burst_size:  # Geometric, with mean `burst_size`.
            at += exponential(law.burst_gap_s, draw())
            moments.append(at)
    numbered = enumerate(sorted(moments[:count]))
    return [Trip(f"{label}-{n:05d}", at, _context(law, seed, f"{label}-{n:05d}")) for n, at in numbered]


def _context(law: WorldLaw, seed: int, trip_id: str) -> Context:
    def draw(purpose: str) -> float:
        return uniform(seed, trip_id, "context", purpose)

    season = pick(dict(law.context_shares["season"]), draw("season"))
    return {
        "season": season,
        "weekend": draw("weekend") < 0.35,
        "party": float(1 + int(6 * draw("party") ** 1.8)),
        "lead_days": float(round(min(60.0, exponential(18.0, draw("lead"))))),
        "tier": "gold" if draw("tier") < 0.25 else "standard",
    }
