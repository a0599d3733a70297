"""The published shape of requests and replies.

The saga and plan documents are described by the engine's own schemas and read by the engine's own readers;
here they are only objects. Unknown fields of a request are refused; replies may gain fields in time.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from sagacity_api.saga_reading import CONTEXT_KEYS_MAX, CONTEXT_TEXT_MAX
from sagacity_engine import Plan, saga_schema
from sagacity_engine.wire import schema_of

AT_MAX = 253_402_300_800.0  # the end of the year 9999: what calendars can still express


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as a part of another: what refers to the whole document says so in words."""
    inlined: dict[str, Any] = _unreferring(schema)
    return {key: value for key, value in inlined.items() if key != "$schema"}


def _unreferring(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_unreferring(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") == "#":
        return {"type": "object", "description": "Another document of the same shape."}
    return {key: _unreferring(value) for key, value in schema.items()}


SagaDocument = Annotated[dict[str, Any], WithJsonSchema(_inline(saga_schema()))]
PlanDocument = Annotated[dict[str, Any], WithJsonSchema(_inline(schema_of(Plan, "Sagacity plan document")))]
ShortText = Annotated[str, Field(max_length=CONTEXT_TEXT_MAX)]
ContextNumber = Annotated[float, Field(allow_inf_nan=False)]
ContextFacts = Annotated[
    dict[ShortText, ShortText | ContextNumber | bool],
    Field(max_length=CONTEXT_KEYS_MAX, description="What is known of this run at launch; never its payload."),
]
At = Annotated[
    float,
    Field(
        ge=0,
        le=AT_MAX,
        allow_inf_nan=False,
        description="The launch, in seconds since the epoch; now if left out.",
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]


class Question(BaseModel):
    """What both questions hold."""

    model_config = ConfigDict(extra="forbid", strict=True)

    saga: SagaDocument
    context: ContextFacts = Field(default_factory=dict)
    at: At | None = None


class PredictRequest(Question):
    """How would this run go?"""

    plan: PlanDocument | None = Field(
        default=None, description="The plan to judge; the author's if left out."
    )


class OptimizeRequest(Question):
    """Which plan has the least expected cost, inside the freedoms the saga grants?"""

    run_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    exact: bool = Field(default=False, description="Search longer for a plan with a smaller proven gap.")


class Reply(BaseModel):
    """Replies are built from our own values, so nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NumbersReply(Reply):
    """What a plan is expected to come to. Costs in the owner's unit, times in seconds."""

    cost: float = Field(description="Attempts, undos, time and the penalty of not completing")
    success_probability: Share
    compensated_probability: Share
    attention_probability: Share
    latency_s_mean: float
    wasted_cost: float
    undo_cost: float
    worst_case_s: float


class StepRiskReply(Reply):
    """One step under the plan."""

    name: str
    failure_probability: Share = Field(description="P(it finally fails | it starts), retries counted")
    first_refusal_probability: Share = Field(description="P(its first attempt is refused)")
    classes: dict[str, Share] = Field(description="P(failure class | the first attempt is refused)")
    duration_s_p50: float
    duration_s_p90: float


class RiskFactorReply(Reply):
    """A step that the run may founder on, the costliest first."""

    step: str
    loss: float = Field(description="What its final failures cost a run on average")
    share: Share = Field(description="The part of all expected loss")
    reason: str


class ReasonReply(Reply):
    """One difference between the advised plan and the author's; `step` is empty if it is about the whole."""

    change: str
    step: str
    text: str


class ModelReply(Reply):
    """Which model answered."""

    version: str
    kind: str


class Answer(Reply):
    """What both answers hold."""

    risk_factors: list[RiskFactorReply]
    model: ModelReply
    fallback: bool = Field(description="True where mean rates stand in for the model.")
    expires_at: float = Field(description="Seconds since the epoch")
    request_id: str


class PredictReply(Answer):
    """How the run would go under the plan."""

    expected: NumbersReply
    steps: list[StepRiskReply]


class FreedomReply(Reply):
    """What one freedom, granted alone, would save."""

    freedom: str
    saved: float = Field(description="On average per run, in the owner's unit")
    share: float = Field(description="Of the expected cost")
    text: str


class OptimizeReply(Answer):
    """The advised plan, and both plans by the same yardstick."""

    advice_id: str
    plan: PlanDocument
    author: NumbersReply
    advised: NumbersReply
    gap: float = Field(description="A better order saves at most this share of the cost; 0 means proven.")
    reasons: list[ReasonReply]
    freedoms: list[FreedomReply] = Field(description="Only for documents that grant no freedom.")


class Health(Reply):
    """The service is up, or ready."""

    status: str
    model: ModelReply | None = None


class FieldError(Reply):
    """One field that does not fit: a JSON pointer and what is wrong."""

    pointer: str
    detail: str


class ProblemBody(Reply):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] = Field(default_factory=list)


class ProblemTypeReply(Reply):
    """What a problem type means, and the way out."""

    type: str
    status: int
    title: str
    way_out: str
