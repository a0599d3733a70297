"""What somebody should know of a model before using it: what for, learnt from what, and where it is weak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """`window` is the time of the history learnt from, in seconds since 1970, where it is known.

    `labels` counts labels by who gave them. `facts` are further named values, as they come.
    """

    model: str
    version: str
    made_at: float
    purpose: str
    window: tuple[float, float] | None
    data_sha256: str
    counts: Mapping[str, int]
    labels: Mapping[str, int]
    features: tuple[str, ...]
    weaknesses: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """The card as (name, words), for a reader."""
        told = [
            ("model", self.model),
            ("version", self.version),
            ("made", instant(self.made_at)),
            ("is for", self.purpose),
        ]
        if self.window is not None:
            told.append(("history", f"{instant(self.window[0])} to {instant(self.window[1])}"))
        if self.data_sha256:
            told.append(("data sha256", self.data_sha256))
        told += [(name, f"{count}") for name, count in self.counts.items()]
        if self.labels:
            told.append(("labels by", ", ".join(f"{who}: {n}" for who, n in sorted(self.labels.items()))))
        told += [(name, str(value)) for name, value in self.facts.items()]
        return told

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "model": self.model,
            "version": self.version,
            "made_at": self.made_at,
            "purpose": self.purpose,
            "window": self.window,
            "data_sha256": self.data_sha256,
            "counts": dict(self.counts),
            "labels": dict(self.labels),
            "features": list(self.features),
            "weaknesses": list(self.weaknesses),
            "facts": dict(self.facts),
        }


def instant(at: float) -> str:
    """A time in seconds since 1970 as UTC words; as a number where no calendar has it."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(" ", timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return repr(at)
