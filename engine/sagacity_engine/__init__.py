"""Sagacity's engine: define sagas, plan them, run them durably. Standard library only."""

from sagacity_engine.advisor import Advice, Advisor, Arm, Launch, NoAdvisor
from sagacity_engine.authoring import DeclaredStep, SagaBuilder, StepFunction, define
from sagacity_engine.document import plan_document, read_plan, read_saga, saga_document, saga_schema
from sagacity_engine.errors import (
    EngineError,
    FailureClass,
    IllegalEvent,
    JournalRefused,
    OutcomeUnknown,
    PlanRefused,
    RunRefused,
    SagaRefused,
    StepError,
    TerminalError,
)
from sagacity_engine.events import Answer, Direction, Event, Status
from sagacity_engine.handlers import BoundSaga, Call, Effect, Found, Handler, bind
from sagacity_engine.host import Engine
from sagacity_engine.journal import Journal, JournalConflict, MemoryJournal, RunSummary
from sagacity_engine.listeners import Listener
from sagacity_engine.parts import (
    Approval,
    Breaker,
    Compensation,
    CostPolicy,
    Kind,
    LaunchFreedom,
    Lock,
    OnExpiry,
    Probe,
    SagaFreedom,
    StepFreedom,
    WhenHeld,
)
from sagacity_engine.plan import Plan, StepPlan, author_plan, check
from sagacity_engine.results import RunResult
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.run_state import RunState
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.sqlite_journal import SqliteJournal
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy

__all__ = [
    "Advice",
    "Advisor",
    "Answer",
    "Approval",
    "Arm",
    "BoundSaga",
    "Breaker",
    "Call",
    "Compensation",
    "CostPolicy",
    "DeclaredStep",
    "Direction",
    "Effect",
    "Engine",
    "EngineError",
    "Event",
    "FailureClass",
    "Found",
    "Handler",
    "IllegalEvent",
    "Journal",
    "JournalConflict",
    "JournalRefused",
    "Kind",
    "Launch",
    "LaunchFreedom",
    "Listener",
    "Lock",
    "MemoryJournal",
    "NoAdvisor",
    "OnExpiry",
    "OnFailure",
    "OnTimeout",
    "OutcomeUnknown",
    "Plan",
    "PlanRefused",
    "Probe",
    "RetryPolicy",
    "RunRefused",
    "RunResult",
    "RunState",
    "RunSummary",
    "Saga",
    "SagaBuilder",
    "SagaFreedom",
    "SagaRefused",
    "SqliteJournal",
    "Status",
    "Step",
    "StepError",
    "StepFreedom",
    "StepFunction",
    "StepPlan",
    "Strategy",
    "SubSaga",
    "TerminalError",
    "WhenHeld",
    "author_plan",
    "bind",
    "check",
    "define",
    "plan_document",
    "read_plan",
    "read_saga",
    "saga_document",
    "saga_schema",
]
