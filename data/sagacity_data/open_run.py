"""A run that a recorder follows and that has not ended: what its rows need and its events tell only once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from sagacity_data.plan_facts import Facts
from sagacity_data.recorded_rows import Launched, Start
from sagacity_data.rows import StepFeatures
from sagacity_engine import Direction
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState

WORDS_MAX: Final = 64
"""Errors of one run whose words are remembered, so that its reason repeats none of them as it stood."""

Place = tuple[str, Direction]
"""A step and a direction: at most one attempt of each is open at a time."""


@dataclass(slots=True)
class OpenRun:
    """A run that has not ended, as far as its recorder saw it."""

    launched: Launched
    facts: Facts
    started: int  # Attempts of services so far.
    told: int = 0  # Rows made of them.
    features: dict[str, StepFeatures] = field(default_factory=dict)
    starts: dict[Place, Start] = field(default_factory=dict)
    due: dict[Place, float] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)  # Of its errors: as they stood, and as they are kept.

    def remember(self, stood: str, kept: str) -> None:
        """Remembers an error's words as they stood, and what is kept of them."""
        if stood and len(self.words) < WORDS_MAX:
            self.words[stood] = kept

    def kept_of(self, reason: str) -> str:
        """The reason with what is kept in the place of every error's words, the longest first."""
        for stood in sorted(self.words, key=len, reverse=True):
            reason = reason.replace(stood, self.words[stood])
        return reason


def attempts_of(state: RunState, facts: Facts) -> int:
    """Attempts of services that the run has started so far."""
    return sum(
        [
            step.attempts + step.undo_attempts
            for name, step in state.steps.items()
            if facts[name, Direction.FORWARD].is_call
        ]
    )


def steps_done(state: RunState) -> int:
    """Steps of the run that have succeeded."""
    succeeded = StepPhase.SUCCEEDED
    return len([1 for step in state.steps.values() if step.phase is succeeded])


def input_bytes(run_input: object) -> int:
    """The size of a run's input as compact JSON in UTF-8, in bytes.

    >>> input_bytes({"who": "Zoë"})
    14
    """
    text = _compact(run_input)
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
