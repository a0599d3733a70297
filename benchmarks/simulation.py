"""How many random sagas a second the whole engine is simulated with, what befell them, and what they met.

    python benchmarks/simulation.py [--sagas 20000] [--seed 1000000] [--processes 2]

A day of two dozen random sagas is played per seed, in virtual time, on the real engine: crashes, takeovers,
full disks, ill services and people included. Every run is held against the checker. Each breach is printed
with the seed that shows it again; then the program ends with 1. Last come five plain steps, one saga after
the other and without any trouble, for comparison.
"""

import argparse
import asyncio
import sys
import time

from sagacity_engine import Call, Engine, MemoryJournal, Status, define
from sagacity_engine.testing.simulation.processes import days_for, simulate_days
from sagacity_engine.testing.simulation.report import Report
from sagacity_engine.testing.simulation.situations import SITUATIONS
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

PLAIN = 2_000


def main() -> None:
    """Plays the days and prints what they came to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sagas", type=int, default=20_000, help="about how many sagas")
    parser.add_argument("--seed", type=int, default=1_000_000, help="the first day's seed")
    parser.add_argument("--processes", type=int, default=2, help="among how many processes they are shared")
    given = parser.parse_args()

    began = time.perf_counter()
    report = simulate_days(given.seed, days_for(given.sagas), given.processes)
    print("\n".join(lines(report, time.perf_counter() - began)))
    print(f"{'plain five-step sagas a second':<50} {plain_sagas_per_s():>10,.0f}")
    sys.exit(1 if report.breaches else 0)


def lines(report: Report, seconds: float) -> list[str]:
    """The report as text."""
    figures = {
        "sagas": report.runs,
        "sagas within sagas": report.inner_runs,
        "events": report.events,
        "engines killed": report.crashes,
        "faults": report.faults.total(),
        "virtual hours": report.virtual_s / 3600,
        "seconds": seconds,
        "sagas a second": report.runs / seconds,
    }
    met = {name: report.situations[name] for name in SITUATIONS}
    return [
        *(f"{name:<50} {figure:>10,.0f}" for name, figure in figures.items()),
        *("", "ends", *_table(report.statuses)),
        *("", "faults", *_table(report.faults)),
        *("", f"situations ({len(met)})", *_table(met)),
        *("", f"breaches: {len(report.breaches)}", *report.breaches),
        "",
    ]


def _table(counts: dict[str, int]) -> list[str]:
    return [f"  {name:<58} {count:>8,}" for name, count in sorted(counts.items())]


def plain_sagas_per_s() -> float:
    """Sagas of five plain steps that succeed, in virtual time, per second of real time."""
    saga = define("plain")
    for number in range(5):

        async def act(call: Call) -> int:
            return call.attempt

        saga.step(name=f"step-{number}", compensate=act)(act)

    async def play() -> None:
        async with Engine(MemoryJournal(), [saga.bind()]) as engine:
            results = await asyncio.gather(*(engine.run("plain") for _ in range(PLAIN)))
        assert all(result.status is Status.COMPLETED for result in results)

    began = time.perf_counter()
    run_in_virtual_time(play())
    return PLAIN / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
