"""What the end of a call means: the event that the journal keeps of it.

What a function raises decides (see `handlers`). Any exception that is not ours is a bug in the function or
below it: the effect may have happened, so the outcome is unknown and the exception's type is kept. A probe
that fails, in whatever way, cannot tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from sagacity_engine.errors import FailureClass, OutcomeUnknown, StepError
from sagacity_engine.events import (
    Answer,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Direction,
    Event,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.handlers import OUTPUT_BYTES_MAX, Found
from sagacity_engine.rules.number_rules import SECONDS_MAX

MESSAGE_MAX = 1_000
"""The most characters of an error's message that the journal keeps."""

DEPTH_MAX = 100
"""The deepest nesting of an input or an output, so that it can be read wherever it could be written."""


class Outcomes:
    """Makes the event that ends one attempt at the time `at`, in seconds since the epoch."""

    __slots__ = ("_at", "_draw", "_started")

    def __init__(self, started: AttemptStarted, at: float, draw: Callable[[], float]) -> None:
        self._started = started
        self._at = at
        self._draw = draw

    def returned(self, output: Any) -> Event:
        """The function returned."""
        if self._started.direction is Direction.PROBE:
            return self._found(output)
        try:
            output = journaled(output)
        except (TypeError, ValueError, RecursionError) as problem:
            return self.unknown(UnknownReason.LOST_REPLY, f"the output cannot be kept: {problem}")
        if self._started.direction is Direction.UNDO:
            output = None  # What an undo returns is nobody's input.
        started = self._started
        return AttemptSucceeded(
            at=self._at,
            step=started.step,
            direction=started.direction,
            attempt=started.attempt,
            output=output,
        )

    def raised(self, problem: BaseException) -> Event:
        """The function raised."""
        if isinstance(problem, StepError):
            return self.failed(
                str(problem.error_type),
                problem.message,
                problem.failure_class,
                retry_after_s=_seconds(problem.retry_after_s),
                terminal=bool(problem.terminal),
            )
        words = str(problem) if isinstance(problem, OutcomeUnknown) else type(problem).__name__
        return self.unknown(UnknownReason.LOST_REPLY, words)

    def failed(
        self,
        error_type: str,
        message: str,
        failure_class: FailureClass | str,
        *,
        retry_after_s: float | None = None,
        terminal: bool = False,
    ) -> Event:
        """The effect did not happen."""
        started = self._started
        if started.direction is Direction.PROBE:
            return self._answered(Answer.CANNOT_TELL, None, f"{error_type}: {message}")
        known = failure_class in tuple(FailureClass)
        return AttemptFailed(
            at=self._at,
            step=started.step,
            direction=started.direction,
            attempt=started.attempt,
            error_type=error_type[:MESSAGE_MAX],
            message=str(message)[:MESSAGE_MAX],
            failure_class=FailureClass(failure_class) if known else FailureClass.UNKNOWN,
            jitter=self._draw(),
            retry_after_s=retry_after_s,
            terminal=terminal,
        )

    def unknown(self, reason: UnknownReason, message: str) -> Event:
        """Nobody can tell whether the effect happened."""
        started = self._started
        if started.direction is Direction.PROBE:
            return self._answered(Answer.CANNOT_TELL, None, f"{reason.value}: {message}")
        return AttemptUnknown(
            at=self._at,
            step=started.step,
            direction=started.direction,
            attempt=started.attempt,
            reason=reason,
            message=message[:MESSAGE_MAX],
            jitter=self._draw(),
        )

    def crashed(self) -> Event:
        """The engine that made the call stopped before it ended."""
        words = "the engine stopped while the attempt was in flight"
        if self._started.direction is Direction.PROBE:
            return self._answered(Answer.CANNOT_TELL, None, words)
        return self.unknown(UnknownReason.CRASHED, words)

    def _found(self, found: Any) -> Event:
        if isinstance(found, bool):
            return self._answered(Answer.HAPPENED if found else Answer.DID_NOT_HAPPEN, None, "")
        if not isinstance(found, Found) or found.answer not in tuple(Answer):
            words = f"the probe returned {type(found).__name__}; return Found, True or False"
            return self._answered(Answer.CANNOT_TELL, None, words)
        try:
            output = journaled(found.output)
        except (TypeError, ValueError, RecursionError) as problem:
            return self._answered(Answer.CANNOT_TELL, None, f"the output cannot be kept: {problem}")
        return self._answered(Answer(found.answer), output, "")

    def _answered(self, answer: Answer, output: Any, message: str) -> Event:
        return ProbeAnswered(
            at=self._at,
            step=self._started.step,
            attempt=self._started.attempt,
            answer=answer,
            output=output,
            message=message[:MESSAGE_MAX],
            jitter=self._draw(),
        )


def journaled(value: Any) -> Any:
    """The value as the journal will give it back; raises `TypeError` or `ValueError` when it cannot be kept.

    >>> journaled({"seats": (1, 2)})
    {'seats': [1, 2]}
    """
    if value is None or isinstance(value, bool):
        return value
    text = _to_json(value)
    if text.count("[") + text.count("{") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep")
    if len(text) > OUTPUT_BYTES_MAX:
        raise ValueError(f"{len(text)} bytes of JSON; the most is {OUTPUT_BYTES_MAX}")
    return _from_json(text)


_to_json = json.JSONEncoder(allow_nan=False).encode
_from_json = json.JSONDecoder().decode


def _depth(value: Any) -> int:
    """How deep lists and mappings are nested, without recursion."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, list | tuple | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _seconds(asked: object) -> float | None:
    """A delay that a participant asked for, if it is one."""
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not math.isfinite(asked):
        return None
    return min(max(0.0, float(asked)), SECONDS_MAX)
