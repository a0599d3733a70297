"""Stories of runs that together make everything happen that a listener can be told, in virtual time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    Compensation,
    Direction,
    Event,
    FailureClass,
    Kind,
    Launch,
    Listener,
    OnFailure,
    Plan,
    RetryPolicy,
    RunState,
    Saga,
    Step,
    Strategy,
    author_plan,
)
from sagacity_engine.events import Action, Answer, CancelRequested, OperatorActed, SignalReceived
from sagacity_engine.parts import Approval, Lock, Probe, SagaFreedom, StepFreedom
from sagacity_engine.saga import SubSaga
from sagacity_engine.testing import ScriptedServices
from sagacity_engine.virtual.host import Reply, VirtualHost

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
SECRET = "canary-7f3a"
AT = 1_790_000_000.0

OK = Reply(duration_s=1, output={"secret": SECRET})
FLAKY = Reply(
    duration_s=0.5, error_type="Busy", message=f"busy with {SECRET}", failure_class=FailureClass.TRANSIENT
)
REFUSED = Reply(
    duration_s=2, error_type="SoldOut", message=f"no {SECRET} left", failure_class=FailureClass.PERMANENT
)
LOST = Reply(duration_s=1, lost=True, message=SECRET)
SLOW = Reply(duration_s=99)
ONCE = RetryPolicy(maximum_attempts=1)
Script = Mapping[tuple[str, Direction], Sequence[Reply]]


@dataclass(frozen=True)
class Story:
    """A saga, what its participants answer, and what people do when."""

    saga: Saga
    script: Script
    asks: tuple[tuple[float, str, Event], ...] = ()
    replan: Callable[[Plan], Plan] = lambda plan: plan
    run_id: str = "r"


def pivot() -> Step:
    return Step(name="pay", service="bank", kind=Kind.PIVOT, idempotent=True)


def saga(*steps: Step, name: str = "trip", **fields: Any) -> Saga:
    return Saga(name=name, version="7", steps=steps, freedom=SagaFreedom(compensation=True), **fields)


def hedged(plan: Plan) -> Plan:
    return replace(plan, steps=(replace(plan.steps[0], hedge_delay_s=0.5), *plan.steps[1:]))


def operator(action: Action, step: str = "", output: Any = None) -> OperatorActed:
    return OperatorActed(at=AT, action=action, who=f"who {SECRET}", why=SECRET, step=step, output=output)


def on_failure(strategy: Strategy) -> OnFailure:
    return OnFailure(transient=strategy, permanent=strategy, cascading=strategy, unknown=strategy)


def approving(**fields: Any) -> Saga:
    host = Step(name="ask", kind=Kind.READ_ONLY, approval=Approval(signal="host", **fields))
    return saga(host, Step(name="book", after=("ask",)))


BOOK = Step(name="book", service="airline", idempotent=True)
HOTEL = Step(name="hotel", service="resort", after=("book",), retry=ONCE)
PROBED = Step(name="book", service="airline", probe=Probe())
HALVES = SubSaga(saga=saga(Step(name="left"), Step(name="right"), name="inner"))
SAVEPOINT = saga(
    Step(name="book", savepoint=True),
    Step(name="cab", after=("book",)),
    replace(HOTEL, after=("cab",), on_failure=on_failure(Strategy.ROLLBACK_TO_SAVEPOINT)),
)

STORIES: dict[str, Story] = {
    "completed": Story(
        saga(BOOK, HOTEL, pivot()), {("book", FORWARD): [FLAKY, OK], ("hotel", FORWARD): [OK]}
    ),
    "compensated": Story(
        saga(BOOK, HOTEL, pivot()), {("hotel", FORWARD): [REFUSED], ("book", UNDO): [FLAKY, LOST, OK]}
    ),
    "timed out": Story(saga(BOOK, pivot()), {("book", FORWARD): [SLOW, OK]}),
    "probed": Story(
        saga(PROBED, pivot()),
        {
            ("book", FORWARD): [LOST],
            ("book", PROBE): [OK, replace(OK, answer=Answer.HAPPENED, message=SECRET)],
        },
    ),
    "did not happen": Story(
        saga(PROBED, pivot()),
        {("book", FORWARD): [LOST, OK], ("book", PROBE): [replace(OK, answer=Answer.DID_NOT_HAPPEN)]},
    ),
    "approved": Story(
        approving(),
        {},
        ((5, "r", SignalReceived(at=AT, name="host", payload=SECRET, who=f"who {SECRET}")),),
    ),
    "expired": Story(approving(expires_after_s=60), {}),
    "cancelled while waiting": Story(
        approving(), {}, ((5, "r", CancelRequested(at=AT, who=f"who {SECRET}", why=SECRET)),)
    ),
    "skipped while waiting": Story(approving(), {}, ((5, "r", operator(Action.SKIP, "ask", SECRET)),)),
    "optional": Story(
        saga(Step(name="extra", optional=True, retry=ONCE), pivot()), {("extra", FORWARD): [REFUSED]}
    ),
    "inner saga taken back": Story(
        saga(Step(name="halves", sub_saga=HALVES), replace(HOTEL, after=("halves",))),
        {("hotel", FORWARD): [REFUSED]},
    ),
    "resolved by a person": Story(
        saga(replace(BOOK, compensation=Compensation(retry=ONCE)), HOTEL),
        {("hotel", FORWARD): [REFUSED], ("book", UNDO): [REFUSED]},
        ((3600, "r", operator(Action.RESOLVE, "book")),),
    ),
    "abandoned": Story(
        saga(replace(BOOK, compensation=Compensation(retry=ONCE)), HOTEL),
        {("hotel", FORWARD): [REFUSED], ("book", UNDO): [REFUSED]},
        ((3600, "r", operator(Action.ABANDON)),),
    ),
    "taken back": Story(saga(BOOK, HOTEL), {}, ((3600, "r", operator(Action.UNDO)),)),
    "redriven": Story(
        saga(BOOK, HOTEL), {("hotel", FORWARD): [REFUSED, OK]}, ((3600, "r", operator(Action.REDRIVE)),)
    ),
    "rolled back to a savepoint": Story(SAVEPOINT, {("hotel", FORWARD): [REFUSED, OK]}),
    "alternative": Story(
        saga(
            Step(name="hotel", retry=ONCE, on_failure=on_failure(Strategy.FORWARD_RECOVERY)),
            Step(name="hostel", alternative_to="hotel"),
        ),
        {("hotel", FORWARD): [REFUSED]},
    ),
    "hedged": Story(
        saga(replace(BOOK, freedom=StepFreedom(hedge_delay_s=(0.1, 5)))),
        {("book", FORWARD): [replace(OK, duration_s=3)]},
        replan=hedged,
    ),
    "deadline": Story(saga(BOOK, HOTEL, deadline_s=1.5), {}),
    "paused": Story(
        saga(BOOK, pivot()),
        {("book", FORWARD): [FLAKY, OK]},
        ((0.6, "r", operator(Action.PAUSE)), (100, "r", operator(Action.RESUME))),
    ),
    "locked": Story(saga(BOOK, locks=(Lock(key="room-${input.secret}"),)), {}),
}


def planner(story: Story) -> Callable[[Saga, Launch], Advice]:
    def plan(definition: Saga, launch: Launch) -> Advice:
        author = author_plan(definition)
        return Advice(plan=story.replan(author) if definition is story.saga else author, reasons=(SECRET,))

    return plan


def played(*stories: Story, listener: Listener) -> list[tuple[RunState, Event]]:
    """Plays the stories at one time, each as a run of its own, and returns everything that was told."""
    told: list[tuple[RunState, Event]] = []

    def listening(state: RunState, event: Event) -> None:
        told.append((state, event))
        listener(state, event)

    script = {place: replies for story in stories for place, replies in story.script.items()}
    host = VirtualHost(ScriptedServices(script), lambda *_: 0.5, listening)
    for story in stories:
        launch = Launch(run_id=story.run_id, context={}, at=AT)
        host.launch(story.saga, launch, planner(story), run_input={"secret": SECRET})
        for after_s, run_id, event in story.asks:
            host.ask(AT + after_s, run_id, replace(event, at=AT + after_s))
    host.run()
    return told


@pytest.fixture
def play() -> Callable[..., list[tuple[RunState, Event]]]:
    """Plays stories to a listener: `play(story, ..., listener=...)`."""
    return played


@pytest.fixture
def stories() -> dict[str, Story]:
    return STORIES


@pytest.fixture
def secret() -> str:
    return SECRET


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a `story` is run with each."""
    if "story" in metafunc.fixturenames:
        metafunc.parametrize("story", list(STORIES.values()), ids=list(STORIES))
