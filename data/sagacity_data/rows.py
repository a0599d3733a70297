"""The execution dataset's rows: one `AttemptRow` per attempt, forward or undo, and one `RunRow` per run.

This is the one place that says what every column means, its unit, and since when it is known. A model that
chooses plans may read only what is known at the launch; what is known from the attempt's start serves live
risk; what is known at the end is outcome. Columns that a history does not tell are None: a missing time stays
missing, it gives order at best, never a duration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_engine import Direction, FailureClass, Kind, Status
from sagacity_engine.events import UnknownReason

SCHEMA_VERSION: Final = 2
"""Raised whenever a column is added, dropped or changes its meaning."""

ENGINE: Final = "engine"
"""The source of rows that our own engine told."""

Scalar = str | float | bool
ContextValues = Mapping[str, Scalar]
StepFeatures = Mapping[str, float | str]
NO_CONTEXT: Final[ContextValues] = MappingProxyType({})
NO_FEATURES: Final[StepFeatures] = MappingProxyType({})


class Known(StrEnum):
    """From when on a column's value is known."""

    LAUNCH = "launch"  # Before the run's first step starts: plan models may use it.
    ATTEMPT = "attempt"  # When this attempt starts: only live decisions may use it.
    END = "end"  # When this attempt or run has ended: an outcome.


class AttemptOutcome(StrEnum):
    """How one attempt ended. All but the first two leave open whether the effect happened."""

    SUCCEEDED = "succeeded"  # The participant confirmed the effect.
    FAILED = "failed"  # The participant definitely refused: no effect.
    TIMED_OUT = "timed_out"  # The timeout of the caller's engine fired first: the duration is censored.
    LOST_REPLY = "lost_reply"  # The reply was lost or said that nobody can tell.
    CRASHED = "crashed"  # The engine stopped meanwhile.
    UNKNOWN = "unknown"  # The history says that nobody can tell, but not why.
    CANCELLED = "cancelled"  # The caller gave it up before it ended: the duration is censored.
    OPEN = "open"  # It had not ended when the history was written; it has no end.

    @property
    def tells(self) -> bool:
        """Whether this end says anything about the participant.

        >>> AttemptOutcome.CRASHED.tells
        False
        """
        return self not in _SILENT

    @classmethod
    def of_unknown(cls, reason: UnknownReason) -> AttemptOutcome:
        """The outcome of an attempt that the engine recorded as unknown; a lost heartbeat is a timeout.

        >>> AttemptOutcome.of_unknown(UnknownReason.TIMED_OUT)
        <AttemptOutcome.TIMED_OUT: 'timed_out'>
        """
        return cls.TIMED_OUT if reason is UnknownReason.HEARTBEAT_LOST else cls(reason.value)


_SILENT: Final = (AttemptOutcome.CRASHED, AttemptOutcome.CANCELLED, AttemptOutcome.OPEN)


def unhealthy(outcome: AttemptOutcome, failure_class: FailureClass | None) -> bool:
    """Whether an attempt's end speaks against the *service*: no answer, or a failure declared to be its own.

    A refusal of this input (permanent) and an undeclared one do not; nor does an end that tells nothing.

    >>> unhealthy(AttemptOutcome.TIMED_OUT, None)
    True
    >>> unhealthy(AttemptOutcome.FAILED, FailureClass.PERMANENT)
    False
    """
    if outcome is AttemptOutcome.FAILED:
        return failure_class is FailureClass.TRANSIENT or failure_class is FailureClass.CASCADING
    return outcome is not AttemptOutcome.SUCCEEDED and outcome.tells


def column(known: Known, meaning: str, unit: str = "") -> dict[str, str]:
    """The documentation of one column, as dataclass metadata."""
    return {"known": known.value, "meaning": meaning, "unit": unit}


_EPOCH_S = "s since 1970 UTC"
_UNIT = "owner's unit"
_L, _A, _E = Known.LAUNCH, Known.ATTEMPT, Known.END


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of one step, in one direction. Identified by (run_id, step, direction, attempt)."""

    run_id: str = field(metadata=column(_L, "the run"))
    saga: str = field(metadata=column(_L, "the saga type"))
    definition_hash: str = field(metadata=column(_L, "the definition the run is pinned to"))
    step: str = field(metadata=column(_L, "the step"))
    service: str = field(metadata=column(_L, "whose health the step shares"))
    region: str = field(metadata=column(_L, "where the service is; empty when the document does not say"))
    kind: Kind = field(metadata=column(_L, "what the step means to the saga's atomicity"))
    direction: Direction = field(metadata=column(_A, "the step's work, or its undo"))
    attempt: int = field(metadata=column(_A, "number of the attempt, from 1 in each direction"))
    position: int | None = field(metadata=column(_A, "rank of the step in start order, from 0"))
    steps_done: int | None = field(metadata=column(_A, "steps of the run that had succeeded at the start"))
    in_flight: int | None = field(metadata=column(_A, "other calls of the service under way at the start"))
    scheduled_at: float | None = field(metadata=column(_A, "when the attempt was due", _EPOCH_S))
    started_at: float | None = field(metadata=column(_A, "when its intent was written", _EPOCH_S))
    timeout_s: float | None = field(metadata=column(_A, "start-to-close timeout in force", "s"))
    maximum_attempts: int | None = field(metadata=column(_A, "attempts allowed in this direction"))
    ended_at: float | None = field(metadata=column(_E, "when its outcome was known", _EPOCH_S))
    outcome: AttemptOutcome = field(metadata=column(_E, "how it ended"))
    error_type: str = field(metadata=column(_E, "the participant's error type; empty unless refused"))
    failure_class: FailureClass | None = field(metadata=column(_E, "as declared; None unless refused"))
    launch_at: float | None = field(metadata=column(_L, "when the run was launched", _EPOCH_S))
    arm: str = field(metadata=column(_L, "the policy arm the run was assigned to"))
    propensity: float = field(metadata=column(_L, "probability of that assignment"))
    fallback: bool = field(metadata=column(_L, "whether the author's plan stood in for the advice"))
    advice_id: str = field(metadata=column(_L, "the advice; empty for none"))
    model_version: str = field(metadata=column(_L, "the model that advised; empty for none"))
    context: ContextValues = field(metadata=column(_L, "what the caller said of the run"))
    features: StepFeatures = field(metadata=column(_L, "the step's features as of the launch; may be empty"))
    tenant: str = field(default="", metadata=column(_L, "whose run it is; empty where nobody is told apart"))
    version: str = field(default="", metadata=column(_L, "the definition's version, as its author calls it"))
    source: str = field(default=ENGINE, metadata=column(_L, "`engine`, or the importer's format"))
    rank: int | None = field(
        default=None, metadata=column(_A, "place among the run's attempts in start order, from 0")
    )
    input_bytes: int | None = field(default=None, metadata=column(_L, "size of the run's input", "bytes"))
    stage: int | None = field(
        default=None, metadata=column(_L, "the step's stage in the plan in force, from 0")
    )
    breaker: str = field(default="", metadata=column(_L, "the plan's breaker, in words; empty for none"))
    breaker_state: str = field(
        default="", metadata=column(_A, "closed, open or half_open at the start; empty when not known")
    )
    error_message: str = field(
        default="", metadata=column(_E, "the error's words, what differs from case to case left out")
    )
    failure_kind: FailureKind | None = field(
        default=None, metadata=column(_E, "what happened, finer than the class; None unless it failed")
    )
    kind_source: LabelSource | None = field(default=None, metadata=column(_E, "who says so"))
    kind_known_at: float | None = field(
        default=None, metadata=column(_E, "when that could be said", _EPOCH_S)
    )

    @property
    def duration_s(self) -> float | None:
        """Start to end in seconds, or None when either time is missing. Censored if the attempt timed out."""
        if self.started_at is None or self.ended_at is None:
            return None
        return self.ended_at - self.started_at

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies the attempt."""
        return (self.run_id, self.step, self.direction.value, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run, ended or, in an import, RUNNING without an end. Identified by run_id.

    Costs are in the owner's unit (see `cost.run_cost`).
    """

    run_id: str = field(metadata=column(_L, "the run"))
    saga: str = field(metadata=column(_L, "the saga type"))
    definition_hash: str = field(metadata=column(_L, "the definition the run is pinned to"))
    launch_at: float | None = field(metadata=column(_L, "when the run was launched", _EPOCH_S))
    ended_at: float | None = field(metadata=column(_E, "when the engine was done with it", _EPOCH_S))
    status: Status = field(metadata=column(_E, "where the run ended"))
    reason: str = field(metadata=column(_E, "why, in words; empty for a completed run"))
    arm: str = field(metadata=column(_L, "the policy arm the run was assigned to"))
    propensity: float = field(metadata=column(_L, "probability of that assignment"))
    fallback: bool = field(metadata=column(_L, "whether the author's plan stood in for the advice"))
    advice_id: str = field(metadata=column(_L, "the advice; empty for none"))
    model_version: str = field(metadata=column(_L, "the model that advised; empty for none"))
    cost: float | None = field(
        metadata=column(_E, "attempts, undos, latency and penalty; None where nobody priced it", _UNIT)
    )
    wasted_cost: float | None = field(
        metadata=column(_E, "attempts failed or undone, and undos; None like the cost", _UNIT)
    )
    latency_s: float | None = field(metadata=column(_E, "launch to end", "s"))
    context: ContextValues = field(metadata=column(_L, "what the caller said of the run"))
    tenant: str = field(default="", metadata=column(_L, "whose run it is; empty where nobody is told apart"))
    version: str = field(default="", metadata=column(_L, "the definition's version, as its author calls it"))
    source: str = field(default=ENGINE, metadata=column(_L, "`engine`, or the importer's format"))
    parent: str = field(default="", metadata=column(_L, "the run that started it as one of its steps"))
    input_bytes: int | None = field(default=None, metadata=column(_L, "size of the run's input", "bytes"))

    @property
    def key(self) -> tuple[str]:
        """What identifies the run."""
        return (self.run_id,)


Row = AttemptRow | RunRow
