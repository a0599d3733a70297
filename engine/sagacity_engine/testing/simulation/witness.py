"""What is seen while a simulated day goes on: faults, situations, and accidents that must not be."""

from __future__ import annotations

from collections import Counter, defaultdict


class Witness:
    """Keeps what it is told. Accidents are breaches; the others only count what came up."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()  # Situations of the day.
        self.marks: defaultdict[str, set[str]] = defaultdict(set)  # Situations of runs, by run id.
        self.accidents: list[str] = []

    def fault(self, what: str) -> None:
        """Something was made to go wrong."""
        self.faults[what] += 1

    def note(self, what: str) -> None:
        """Something came up in the day."""
        self.notes[what] += 1

    def mark(self, run_id: str, what: str) -> None:
        """Something came up in a run."""
        self.marks[run_id].add(what)

    def accident(self, what: str) -> None:
        """Something happened that must not."""
        self.accidents.append(what)
