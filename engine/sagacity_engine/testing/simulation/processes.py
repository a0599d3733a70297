"""Many simulated days at once, each process with its own seeds.

A process prints its report as JSON, and the one that started it adds the reports up. What the seeds play does
not depend on how they are shared out.
"""

from __future__ import annotations

import json
import subprocess
import sys

from sagacity_engine.testing.simulation.day import RUNS, simulate
from sagacity_engine.testing.simulation.report import Report

_CHILD = (
    "import sys; from sagacity_engine.testing.simulation.processes import main; main(*map(int, sys.argv[1:]))"
)


def simulate_days(first_seed: int, days: int, processes: int = 1) -> Report:
    """The days of `days` seeds from the first, shared out among processes."""
    if processes == 1:
        return _played(range(first_seed, first_seed + days))
    children = [
        subprocess.Popen(  # noqa: S603  this very interpreter, with numbers
            [sys.executable, "-c", _CHILD, str(first_seed + place), str(first_seed + days), str(processes)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for place in range(processes)
    ]
    report = Report()
    for child in children:
        with child:
            printed, _ = child.communicate()
        if child.returncode:
            raise RuntimeError(f"a process of the simulation ended with {child.returncode}; see its message")
        report.add(Report.read(json.loads(printed)))
    return report


def days_for(sagas: int) -> int:
    """How many days run at least so many sagas, although a few are never accepted."""
    return -(-sagas // (RUNS - 1))


def main(first: int, end: int, step: int) -> None:
    """Plays every `step`-th seed and prints the report."""
    sys.stdout.write(json.dumps(_played(range(first, end, step)).document()))


def _played(seeds: range) -> Report:
    report = Report()
    for seed in seeds:
        report.add(simulate(seed))
    return report
