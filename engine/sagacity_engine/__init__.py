"""Sagacity's engine: define sagas, plan them, run them durably. Standard library only."""

from sagacity_engine.advisor import Advice, Advisor, Arm, Launch, NoAdvisor
from sagacity_engine.alerts import Alert, AlertKind, AlertListener
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
from sagacity_engine.events import Action, Answer, Direction, Event, Status
from sagacity_engine.guards.breaker import BreakerState
from sagacity_engine.guards.service_guards import ServicePolicy
from sagacity_engine.handlers import BoundSaga, Call, Effect, Found, Handler, bind
from sagacity_engine.host import Engine
from sagacity_engine.hosting.counsel import Failure, FailureAdvisor
from sagacity_engine.journal import (
    Batch,
    Journal,
    JournalConflict,
    JournalFenced,
    MemoryJournal,
    Request,
    RunSummary,
)
from sagacity_engine.listeners import Listener
from sagacity_engine.machine.run_state import RunState
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
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy
from sagacity_engine.sync_engine import SyncEngine

__all__ = [
    "Action",
    "Advice",
    "Advisor",
    "Alert",
    "AlertKind",
    "AlertListener",
    "Answer",
    "Approval",
    "Arm",
    "Batch",
    "BoundSaga",
    "Breaker",
    "BreakerState",
    "Call",
    "Compensation",
    "CostPolicy",
    "DeclaredStep",
    "Direction",
    "Effect",
    "Engine",
    "EngineError",
    "Event",
    "Failure",
    "FailureAdvisor",
    "FailureClass",
    "Found",
    "Handler",
    "IllegalEvent",
    "Journal",
    "JournalConflict",
    "JournalFenced",
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
    "Request",
    "RetryPolicy",
    "RunRefused",
    "RunResult",
    "RunState",
    "RunSummary",
    "Saga",
    "SagaBuilder",
    "SagaFreedom",
    "SagaRefused",
    "ServicePolicy",
    "SqliteJournal",
    "Status",
    "Step",
    "StepError",
    "StepFreedom",
    "StepFunction",
    "StepPlan",
    "Strategy",
    "SubSaga",
    "SyncEngine",
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
