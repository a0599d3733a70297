"""What somebody asks of a run, and when."""

from __future__ import annotations

from collections.abc import Callable

from sagacity_engine.events import Event
from sagacity_engine.machine.run_state import RunState

Wish = tuple[float, Event]
"""Seconds after the launch, and the event, whose own time does not matter; what is refused is left out."""

Attend = Callable[[RunState, float], Event | None]
"""What a person does about a run that stands still, at the time given or later; None to leave it alone."""
