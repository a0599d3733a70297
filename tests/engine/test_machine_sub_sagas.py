"""A step that is a saga: it runs inside, it is taken back inside, and what happens there counts out here."""

from typing import Any

from sagacity_engine.events import (
    Action,
    AttemptStarted,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import begin
from sagacity_engine.machine.sub_sagas import taking_back
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.testing import DOWN, LOST, REFUSED, SUCCESS, Trial, play
from sagacity_engine.testing.services import Scripted
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
ONCE = RetryPolicy(maximum_attempts=1)
INNER_ID = "run/stay/1"


def saga(*, inner: Saga | None = None, **fields: Any) -> Saga:
    """Fly; stay, which is a hotel and a car; pay."""
    rooms = inner or Saga(
        name="stay",
        steps=(Step(name="hotel", compensation=Compensation(retry=ONCE)), Step(name="car")),
    )
    sub_saga = SubSaga(saga=rooms, input={"room": "${input.room}"})
    return Saga(
        name="trip",
        steps=(
            Step(name="fly"),
            Step(name="stay", sub_saga=sub_saga, **fields),
            Step(name="pay", kind=Kind.PIVOT),
        ),
    )


def told(
    script: dict[tuple[str, Direction], list[Scripted]], *wishes: tuple[float, Event], **fields: Any
) -> Trial:
    return play(saga(**fields), script, wishes=wishes)


def of(trial: Trial, run_id: str = INNER_ID) -> list[str]:
    """The statuses with which a run ended, one after the other."""
    return [event.status.value for event in trial.events[run_id] if isinstance(event, RunEnded)]


def person(action: Action, step: str = "") -> OperatorActed:
    return OperatorActed(at=0, action=action, who="Asha", why="saw to it", step=step)


def test_an_inner_saga_runs_as_one_step() -> None:
    """It has a journal of its own, its outputs become the step's, and it knows whose part it is."""
    room = Reply(duration_s=1, output={"room": 7})
    trial = told({("hotel", FORWARD): [room]}).sound()
    assert (trial.ended, of(trial)) == ((Status.COMPLETED, ""), ["COMPLETED"])
    assert trial.state.outputs["stay"]["hotel"] == {"room": 7}
    first = trial.events[INNER_ID][0]
    assert isinstance(first, RunStarted)
    assert (first.parent, first.input) == ("run", {"room": 7})


def test_an_inner_saga_that_was_compensated_is_a_final_refusal() -> None:
    """What could be tried again was tried again inside: the outer run turns back at once."""
    trial = told({("car", FORWARD): [DOWN]}).sound()
    assert (trial.ended, of(trial)) == ((Status.COMPENSATED, "stay"), ["COMPENSATED"])
    assert (trial.started(), trial.started(UNDO)) == (["fly", "stay"], ["fly"])


def test_taking_the_step_back_takes_the_inner_saga_back() -> None:
    """The completed inner run turns round and undoes its steps before the steps before it are undone."""
    trial = told({("pay", FORWARD): [REFUSED]}).sound()
    assert (trial.ended, of(trial)) == ((Status.COMPENSATED, "pay"), ["COMPLETED", "COMPENSATED"])
    assert sorted(trial.started(UNDO, INNER_ID)) == ["car", "hotel"]
    assert trial.started(UNDO) == ["stay", "fly"]


def test_an_inner_saga_that_needs_a_person_holds_the_outer_one_up() -> None:
    """The outer run waits, in flight, until the inner one has been settled; then both come to an end."""
    script: dict[tuple[str, Direction], list[Scripted]] = {
        ("pay", FORWARD): [REFUSED],
        ("hotel", UNDO): [DOWN],
    }
    trial = told(script)
    assert (of(trial), trial.phase("stay")) == (["COMPLETED", "NEEDS_ATTENTION"], StepPhase.UNDOING)
    trial = play(saga(), script, attend=lambda state, at: _resolve(state.status, at)).sound()
    assert of(trial) == ["COMPLETED", "NEEDS_ATTENTION", "COMPENSATED"]
    assert (trial.ended, trial.phase("fly")) == ((Status.COMPENSATED, "pay"), StepPhase.UNDONE)


def _resolve(status: Status, at: float) -> Event | None:
    if status is not Status.NEEDS_ATTENTION:
        return None
    return OperatorActed(at=at, action=Action.RESOLVE, who="Asha", why="rang them", step="hotel")


def test_an_abandoned_inner_saga_leaves_the_outer_one_uncertain() -> None:
    """Nobody knows what an abandoned inner run left behind, and nobody can take it back."""
    inner = Saga(name="stay", steps=(Step(name="hotel", compensation=Compensation(retry=ONCE)),))

    def abandon(state: Any, at: float) -> Event | None:
        inside = state.started.run_id != "run"
        wanted = inside and state.status is Status.NEEDS_ATTENTION
        return OperatorActed(at=at, action=Action.ABANDON, who="Asha", why="gone") if wanted else None

    script = {("hotel", FORWARD): [LOST], ("hotel", UNDO): [DOWN]}
    definition = saga(inner=inner, compensation=Compensation(retry=RetryPolicy(maximum_attempts=2)))
    trial = play(definition, script, attend=abandon).sound()
    assert of(trial) == ["NEEDS_ATTENTION", "ABANDONED"]
    assert trial.ended == (Status.NEEDS_ATTENTION, "stay")
    assert (trial.started(UNDO), trial.phase("stay")) == (
        ["stay", "stay", "fly"],
        StepPhase.COMPENSATION_FAILED,
    )


def test_a_run_that_turns_back_cancels_its_inner_runs() -> None:
    """An inner run still under way when the outer one is cancelled turns back too."""
    script: dict[tuple[str, Direction], list[Scripted]] = {("car", FORWARD): [Reply(duration_s=5)]}
    trial = told(script, (3.0, CancelRequested(at=0, who="Asha"))).sound()
    assert (of(trial), trial.ended) == (["COMPENSATED"], (Status.COMPENSATED, ""))
    assert trial.phase("stay") is StepPhase.FAILED


def test_an_inner_saga_with_a_pivot_may_be_the_pivot() -> None:
    """The outer run is committed once the inner one completed; what fails inside after that waits."""
    inner = Saga(
        name="pay", steps=(Step(name="charge", kind=Kind.PIVOT), Step(name="mail", kind=Kind.RETRIABLE))
    )
    definition = Saga(
        name="trip",
        steps=(Step(name="fly"), Step(name="pay", kind=Kind.PIVOT, sub_saga=SubSaga(saga=inner))),
    )
    assert play(definition, {}).sound().ended == (Status.COMPLETED, "")
    trial = play(definition, {("charge", FORWARD): [DOWN]}).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["fly"])
    trial = play(definition, {("mail", FORWARD): [DOWN]})
    assert (trial.phase("pay"), of(trial, "run/pay/1")) == (StepPhase.RUNNING, ["NEEDS_ATTENTION"])


def test_sagas_nest() -> None:
    """An inner saga has inner sagas, each taken back by the one above it."""
    middle = Saga(
        name="middle",
        steps=(Step(name="deep", sub_saga=SubSaga(saga=Saga(name="d", steps=(Step(name="x"),)))),),
    )
    trial = play(saga(inner=middle), {("pay", FORWARD): [REFUSED]}).sound()
    assert list(trial.events) == ["run", "run/stay/1", "run/stay/1/deep/1"]
    assert of(trial, "run/stay/1/deep/1") == ["COMPLETED", "COMPENSATED"]


def test_an_inner_input_that_leads_nowhere_refuses_the_step() -> None:
    """A reference to what is not there is a refusal of the step, not an accident."""
    definition = saga()
    trial = play(definition, {}, run_input={}).sound()
    assert (trial.ended, list(trial.events)) == ((Status.COMPENSATED, "stay"), ["run"])


def test_a_redriven_step_runs_another_inner_saga() -> None:
    """Each attempt at the step has an inner run of its own; the one before stays as it ended."""
    trial = told({("pay", FORWARD): [REFUSED, SUCCESS]}, (60.0, person(Action.REDRIVE))).sound()
    assert (trial.ended, of(trial)) == ((Status.COMPLETED, ""), ["COMPLETED", "COMPENSATED"])
    assert of(trial, "run/stay/2") == ["COMPLETED"]


def test_what_takes_an_inner_run_back_depends_on_where_it_stands() -> None:
    """One that never began needs nothing; one under way is cancelled; one that was compensated is done."""
    definition = saga()
    plan = author_plan(definition)
    state = begin(
        definition, RunStarted(run_id="r", at=0, definition_hash=definition.definition_hash, plan=plan)
    )
    undo = AttemptStarted(at=1, step="stay", direction=UNDO, attempt=1)
    nothing = taking_back(undo, None, 1.0, "run r")
    assert type(nothing).__name__ == "AttemptSucceeded"
    assert isinstance(taking_back(undo, state, 1.0, "run r"), CancelRequested)
    for status, kind in (
        (Status.COMPENSATED, "AttemptSucceeded"),
        (Status.COMPLETED, "OperatorActed"),
        (Status.ABANDONED, "AttemptUnknown"),
        (Status.NEEDS_ATTENTION, "NoneType"),
    ):
        state.ended = RunEnded(at=1, status=status)
        assert type(taking_back(undo, state, 1.0, "run r")).__name__ == kind
    state.ended = RunEnded(at=1, status=Status.COMPLETED)
    state.steps["pay"].phase = StepPhase.SUCCEEDED
    assert type(taking_back(undo, state, 1.0, "run r")).__name__ == "AttemptFailed"
