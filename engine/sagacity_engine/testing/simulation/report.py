"""What simulated days came to: figures, situations, and every breach with the seed that shows it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Report:
    """Counts are over all days. `journals` holds every run's records where they were asked for."""

    runs: int = 0
    inner_runs: int = 0
    events: int = 0
    crashes: int = 0
    virtual_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    situations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    journals: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Adds other days' figures; their journals are left out."""
        for each in fields(self):
            if each.name != "journals":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def document(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "journals"}

    @staticmethod
    def read(document: Mapping[str, Any]) -> Report:
        """The report of a document."""
        plain: dict[str, Any] = dict(document)
        for name in ("faults", "situations", "statuses"):
            plain[name] = Counter(plain[name])
        return Report(**plain)
