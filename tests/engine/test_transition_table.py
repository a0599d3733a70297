"""The printed tables of a step's moves, and of what people may do to it, are the whole truth about them."""

import itertools
import re
from collections.abc import Callable

import pytest

from sagacity_engine.errors import IllegalEvent
from sagacity_engine.events import (
    Action,
    Answer,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    ProbeAnswered,
    RolledBack,
    RunEnded,
    RunStarted,
    Status,
    UnknownReason,
)
from sagacity_engine.machine import apply, replay
from sagacity_engine.operations import refusal
from sagacity_engine.parts import Approval, Compensation, Kind, Probe
from sagacity_engine.phases import (
    OPERATIONS,
    TRANSITIONS,
    StepPhase,
    Turn,
    transition_diagram,
    transition_table,
)
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.run_state import RunState, begin
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy

ONCE, TWICE = RetryPolicy(maximum_attempts=1), RetryPolicy(maximum_attempts=2)
BACK = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
SAGA = Saga(
    name="table",
    steps=(
        Step(name="save", savepoint=True),
        Step(name="a", idempotent=True, retry=TWICE, compensation=Compensation(retry=TWICE)),
        Step(name="left out", optional=True, kind=Kind.READ_ONLY, retry=ONCE),
        Step(name="boss", kind=Kind.READ_ONLY, approval=Approval()),
        Step(name="friend", kind=Kind.READ_ONLY, approval=Approval(), optional=True),
        Step(name="asked", retry=TWICE, probe=Probe(retry=TWICE)),
        Step(name="asked once", retry=ONCE, probe=Probe(retry=ONCE), optional=True),
        Step(name="back", retry=ONCE, on_failure=BACK),
        Step(name="pay", kind=Kind.PIVOT, idempotent=True, retry=ONCE),
        Step(name="tell", kind=Kind.RETRIABLE, retry=ONCE),
        Step(name="tell all", kind=Kind.RETRIABLE, probe=Probe()),
    )
    if False  # noqa: SIM210  names with blanks are refused; see below
    else tuple(
        Step(**fields)  # type: ignore[arg-type]
        for fields in ()
    ),
)
