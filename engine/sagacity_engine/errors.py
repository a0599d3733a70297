"""Everything the engine refuses or reports, as one small tree.

Two branches matter to a caller: `SagaRefused` says that *we were called wrongly* (a bad definition, plan or
setting) and nothing was started; `StepError` is what a *participant* raises to say how its call went wrong.
"""

from __future__ import annotations

from enum import StrEnum


class FailureClass(StrEnum):
    """What kind of failure a step met; the plan says what to do for each."""

    TRANSIENT = "transient"  # The same call may well succeed a moment later.
    PERMANENT = "permanent"  # This input will not succeed, however often it is tried.
    CASCADING = "cascading"  # The service itself is down or overloaded; more calls make it worse.
    UNKNOWN = "unknown"  # Nothing says which of the above it is.


class EngineError(Exception):
    """Base of every error this package raises."""


class SagaRefused(EngineError):
    """A definition, document or value breaks a rule; the message names the value and the way out."""


class PlanRefused(EngineError):
    """A plan failed `check`; nothing was started."""


class IllegalEvent(EngineError):
    """An event that cannot happen in the state it was applied to: an altered journal, or a bug."""


class JournalRefused(EngineError):
    """The journal cannot be opened, read or written as asked; the message names the file and the way out."""


class RunRefused(EngineError):
    """A run cannot be started, found, awaited or cancelled as asked; the message says what to do."""


class StepError(EngineError):
    """A participant's definite refusal: the effect did *not* happen.

    Raise it from an action or a compensation. `error_type` is matched against
    `non_retryable_error_types`; `failure_class` selects the plan's strategy. With `retry_after_s` the next
    attempt comes no sooner than that.
    """

    terminal = False

    def __init__(
        self,
        error_type: str,
        message: str = "",
        failure_class: FailureClass = FailureClass.UNKNOWN,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message or error_type)
        self.error_type = error_type
        self.message = message
        self.failure_class = failure_class
        self.retry_after_s = retry_after_s


class TerminalError(StepError):
    """A definite refusal after which nothing is tried again, whatever the retry numbers say."""

    terminal = True


class OutcomeUnknown(EngineError):
    """A participant raises this when it cannot tell whether the effect happened (a lost reply, a reset)."""
