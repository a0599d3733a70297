"""What Sagacity answers about a run that has not started, as values.

The service writes them as JSON, the client reads them back, and the command line prints them: one shape,
whoever asks. Costs are in the owner's unit, times in seconds, instants in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sagacity_engine import Advice, Plan, plan_document


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a plan is expected to come to; the three probabilities of its ends sum to 1."""

    cost: float
    success_probability: float
    compensated_probability: float
    attention_probability: float
    latency_s_mean: float
    wasted_cost: float
    undo_cost: float
    worst_case_s: float


@dataclass(frozen=True, slots=True)
class StepRisk:
    """One step under the plan.

    `failure_probability` is P(it finally fails | it starts), retries and timeouts counted;
    `first_refusal_probability` is P(its first attempt is refused), `classes` P(class | it is refused).
    Durations are those of a successful attempt, in seconds.
    """

    name: str
    failure_probability: float
    first_refusal_probability: float
    classes: Mapping[str, float]
    duration_s_p50: float
    duration_s_p90: float


@dataclass(frozen=True, slots=True)
class RiskFactor:
    """A step the run may founder on: what its final failures cost on average, and their share of all loss."""

    step: str
    loss: float
    share: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One difference between the advised plan and the author's; `step` is empty if it is about the whole."""

    change: str
    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answered."""

    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class FreedomValue:
    """What one freedom, granted alone, would save on average per run, and as a share of the cost."""

    freedom: str
    saved: float
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to `predict`. `expires_at` is in seconds since the epoch."""

    expected: Numbers
    steps: tuple[StepRisk, ...]
    risk_factors: tuple[RiskFactor, ...]
    model: Model
    fallback: bool
    expires_at: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer to `optimize`: both plans by one yardstick.

    `gap` bounds, as a share of the cost, what a better order could still save; 0 means proven. `freedoms` is
    empty unless the document grants none.
    """

    advice_id: str
    plan: Plan
    author: Numbers
    advised: Numbers
    gap: float
    reasons: tuple[Reason, ...]
    freedoms: tuple[FreedomValue, ...]
    risk_factors: tuple[RiskFactor, ...]
    model: Model
    fallback: bool
    expires_at: float
    request_id: str

    def advice(self) -> Advice:
        """The same as the engine's port wants it."""
        return Advice(
            plan=self.plan,
            advice_id=self.advice_id,
            model_version=self.model.version,
            reasons=(
                *(reason.text for reason in self.reasons),
                *(("mean rates stood in for the model",) if self.fallback else ()),
            ),
            expires_at=self.expires_at,
            expected={"author": asdict(self.author), "advised": asdict(self.advised)},
        )


def answer_document(answer: Prediction | Recommendation) -> dict[str, Any]:
    """The answer as a JSON-able mapping, field by field."""
    document: dict[str, Any] = {}
    for field in fields(answer):
        value = getattr(answer, field.name)
        document[field.name] = plan_document(value) if isinstance(value, Plan) else _plain(value)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | float | int | bool | None):
        return value
    return asdict(value)
