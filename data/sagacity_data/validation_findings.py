"""What a validation found: damage, findings, and notes on what is odd and may well be right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SHOWN_MAX: Final = 100
"""The most findings of one check that are told one by one; all are counted."""


class Check(StrEnum):
    """What a row was found wrong by."""

    TIMES = "times_out_of_order"  # Something ended before it started, or began before its run.
    FUTURE = "later_than_now"  # A time that had not come when the dataset was validated.
    KNOWN_TOO_EARLY = "known_too_early"  # A label older than the end that it is about.
    RANGE = "out_of_range"  # A number that its column cannot mean.
    CONTRADICTION = "contradiction"  # Two columns of the row that cannot both be true.
    RUN = "disagrees_with_its_run"  # An attempt that tells of its run what the run's row denies.
    DAY = "wrong_day"  # A row that lies under another day than its launch, where no reading by time finds it.
    FEATURE = "unknown_feature"  # A stored feature that no catalogue declares, or of another type.
    NOT_AT_LAUNCH = "not_known_at_launch"  # A stored feature that is declared known only later.
    LEAK = "not_what_was_known"  # A stored feature that history before the launch does not give.


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, and the row it is about; `path` is relative to the dataset."""

    check: Check
    words: str
    path: str
    run_id: str
    step: str = ""
    direction: str = ""
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file that is not whole, or not ours."""

    path: str
    reason: str


@dataclass(slots=True)
class Validation:
    """What a validation looked at, and what it found."""

    folder: str
    files: int = 0
    attempts: int = 0
    runs: int = 0
    replayed: int = 0  # Attempts whose features were computed again.
    damaged: list[Damage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[Check] = field(default_factory=Counter)  # Of findings, shown or not.
    notes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged and nothing was found."""
        return not self.damaged and not self.counts

    def found(self, finding: Finding) -> None:
        """Counts a finding, and keeps it while there are few of its check."""
        self.counts[finding.check] += 1
        if self.counts[finding.check] <= SHOWN_MAX:
            self.findings.append(finding)
