"""Which version an alias names, which it named before, and what is noted about that: values alone.

An alias has a *line* of versions, the latest last. Promoting a version puts it at the end, rolling back takes
the last one away; so a rollback goes to the champion before, a second one further back, and a version that
was rolled back is not come back to. The notes are tags, which any tool of the registry shows: on a version
`champion.promoted_at`, `.promoted_by`, `.reason`, `.forced`, `.demoted_at`, `.demoted_by`, `.demoted_reason`;
on the model the line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
LINE_MAX: Final = 50
TAG_CHARS_MAX: Final = 1000
VERDICT: Final = "verdict"
"""The tag that holds what the training's own judgement came to."""
VERDICT_REASONS: Final = "verdict.reasons"
BETTER, NOT_BETTER = "better", "not better"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One registered version: its run's parameters and figures, its tags, and the aliases that name it."""

    version: str
    model: str
    run_id: str
    created_at: float
    """Seconds since 1970."""
    source: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def better(self) -> bool | None:
        """What its training judged, by the version's tag or its run's `promoted`; None if neither tells."""
        told = self.tags.get(VERDICT)
        if told in (BETTER, NOT_BETTER):
            return told == BETTER
        return {"True": True, "False": False}.get(self.params.get("promoted", ""))

    def doubt(self, alias: str = CHAMPION) -> str:
        """Why it should not be promoted by its own record; empty where nothing speaks against it."""
        if self.better is False:
            reasons = self.tags.get(VERDICT_REASONS, "")
            return f"its training judged it not better{f': {reasons}' if reasons else ''}"
        if self.better is None and f"{alias}.promoted_at" not in self.tags:
            return "no judgement of it was recorded"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A promotion or a rollback: who, when (seconds since 1970), why, and whether a refusal was overruled."""

    at: float
    by: str = ""
    reason: str = ""
    forced: bool = False

    def promotion(self, alias: str) -> dict[str, str]:
        """The tags of the version that is named from now on."""
        return {
            f"{alias}.promoted_at": _iso(self.at),
            f"{alias}.promoted_by": _short(self.by),
            f"{alias}.reason": _short(self.reason),
            f"{alias}.forced": str(self.forced).lower(),
        }

    def demotion(self, alias: str) -> dict[str, str]:
        """The tags of the version that was named until now."""
        return {
            f"{alias}.demoted_at": _iso(self.at),
            f"{alias}.demoted_by": _short(self.by),
            f"{alias}.demoted_reason": _short(self.reason),
        }


def verdict_tags(better: bool | None, reasons: Sequence[str]) -> dict[str, str]:
    """What a training judged, as tags; none where it did not judge."""
    if better is None:
        return {}
    return {VERDICT: BETTER if better else NOT_BETTER, VERDICT_REASONS: _short("; ".join(reasons))}


def line_tag(alias: str) -> str:
    """The model's tag that holds the line of an alias."""
    return f"{alias}.line"


def read_line(written: str, present: str | None) -> tuple[str, ...]:
    """The line, the latest last. `present` is what the alias names, by whatever tool: it is always the last.

    >>> read_line("1 2 5", "2")
    ('1', '2')
    >>> read_line("1 2", "7")
    ('1', '2', '7')
    """
    line = [each for each in written.split() if each.isdecimal()]
    if present is None:
        return tuple(line)
    return (*(line[: line.index(present)] if present in line else line), present)


def promoted(line: Sequence[str], version: str) -> tuple[str, ...]:
    """The line once `version` is named.

    >>> promoted(("1", "2"), "3"), promoted(("1", "2"), "2"), promoted(("1", "2", "3"), "1")
    (('1', '2', '3'), ('1', '2'), ('2', '3', '1'))
    """
    return (*(each for each in line if each != version), version)[-LINE_MAX:]


def written_line(line: Sequence[str]) -> str:
    """The line as its tag holds it."""
    return " ".join(line)


def _short(text: str) -> str:
    return " ".join(text.split())[:TAG_CHARS_MAX]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
