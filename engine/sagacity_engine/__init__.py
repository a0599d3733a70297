"""Sagacity's engine: define sagas, plan them, run them durably. Standard library only."""

from sagacity_engine.advisor import Advice, Advisor, Arm, Launch, NoAdvisor
from sagacity_engine.document import plan_document, read_plan, read_saga, saga_document, saga_schema
from sagacity_engine.errors import (
    EngineError,
    FailureClass,
    IllegalEvent,
    JournalRefused,
    OutcomeUnknown,
    PlanRefused,
    SagaRefused,
    StepError,
)
from sagacity_engine.events import Direction, Status
from sagacity_engine.plan import OnFailure, Plan, StepPlan, Strategy, author_plan, check
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Compensation, CostPolicy, Kind, Saga, SagaFreedom, Step, StepFreedom

__all__ = [
    "Advice",
    "Advisor",
    "Arm",
    "Compensation",
    "CostPolicy",
    "Direction",
    "EngineError",
    "FailureClass",
    "IllegalEvent",
    "JournalRefused",
    "Kind",
    "Launch",
    "NoAdvisor",
    "OnFailure",
    "OutcomeUnknown",
    "Plan",
    "PlanRefused",
    "RetryPolicy",
    "Saga",
    "SagaFreedom",
    "SagaRefused",
    "Status",
    "Step",
    "StepError",
    "StepFreedom",
    "StepPlan",
    "Strategy",
    "author_plan",
    "check",
    "plan_document",
    "read_plan",
    "read_saga",
    "saga_document",
    "saga_schema",
]
