"""ROLLBACK_TO_SAVEPOINT: a run goes back to where it was safe, and forward again."""

from typing import Any

from sagacity_engine.events import Action, Direction, OperatorActed, RolledBack, Status
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import DOWN, LOST, REFUSED, SUCCESS, play
from sagacity_engine.virtual.host import Reply

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
BACK = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
ONCE = RetryPolicy(maximum_attempts=1)


def saga(**fields: Any) -> Saga:
    """Reserve, the savepoint, then hotel and car; the car fails back to the savepoint."""
    return Saga(
        name="trip",
        steps=(
            Step(name="reserve"),
            Step(name="confirm", savepoint=True),
            Step(name="hotel", compensation=Compensation(retry=ONCE)),
            Step(name="car", retry=ONCE, on_failure=BACK),
            Step(name="pay", kind=Kind.PIVOT),
        ),
        **fields,
    )


def test_what_followed_the_savepoint_is_undone_and_runs_again() -> None:
    """Only what came after the savepoint is taken back; then it runs anew and the run completes."""
    trial = play(saga(), {("car", FORWARD): [DOWN, SUCCESS]}).sound()
    assert trial.ended == (Status.COMPLETED, "")
    assert trial.started() == ["reserve", "confirm", "hotel", "car", "hotel", "car", "pay"]
    assert trial.started(UNDO) == ["hotel"]
    assert [e.savepoint for e in trial.events["run"] if isinstance(e, RolledBack)] == ["confirm"]


def test_a_step_that_was_undone_runs_again_under_another_key() -> None:
    """The second reservation is no repetition of the first, which was taken back: both take effect."""
    trial = play(saga(), {("car", FORWARD): [DOWN, SUCCESS]}).sound()
    keys = [each.key for each in trial.ledger["run"] if (each.step, each.direction) == ("hotel", FORWARD)]
    assert len(set(keys)) == len(keys) == 2


def test_a_run_goes_back_only_so_often() -> None:
    """At the limit the next failure turns the whole run back."""
    for most, hotels in ((0, 1), (1, 2), (3, 4)):
        trial = play(saga(rollbacks_max=most), {("car", FORWARD): [DOWN]}).sound()
        assert trial.ended == (Status.COMPENSATED, "car")
        assert (trial.started().count("hotel"), trial.state.rollbacks) == (hotels, most)


def test_a_failing_undo_stops_the_return() -> None:
    """What cannot be taken back is not begun anew: a person must look, and may let the run go on."""
    script = {("car", FORWARD): [DOWN, SUCCESS], ("hotel", UNDO): [DOWN]}
    trial = play(saga(), script).sound()
    assert trial.ended == (Status.NEEDS_ATTENTION, "hotel")
    assert (trial.started().count("hotel"), trial.phase("reserve")) == (1, StepPhase.SUCCEEDED)
    resolve = OperatorActed(at=0, action=Action.RESOLVE, who="Asha", why="rang them", step="hotel")
    trial = play(saga(), script, wishes=[(30.0, resolve)]).sound()
    assert (trial.ended, trial.started().count("hotel")) == ((Status.COMPLETED, ""), 2)


def test_an_effect_that_cannot_be_undone_stops_the_return() -> None:
    """A step without a compensation stands: the run needs a person, and goes on once it is resolved."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="confirm", savepoint=True),
            Step(name="note", kind=Kind.RETRIABLE),
            Step(name="car", retry=ONCE, on_failure=BACK),
        ),
    )
    script = {("car", FORWARD): [DOWN, SUCCESS]}
    assert play(definition, script).sound().ended == (Status.NEEDS_ATTENTION, "note")
    resolve = OperatorActed(at=0, action=Action.RESOLVE, who="Asha", why="tore it up", step="note")
    trial = play(definition, script, wishes=[(30.0, resolve)]).sound()
    assert (trial.ended, trial.started().count("note")) == ((Status.COMPLETED, ""), 2)


def test_the_latest_savepoint_is_the_one() -> None:
    """With two savepoints reached, the run goes back no further than to the later one."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="first", savepoint=True),
            Step(name="between"),
            Step(name="second", savepoint=True),
            Step(name="car", retry=ONCE, on_failure=BACK),
        ),
    )
    trial = play(definition, {("car", FORWARD): [DOWN, SUCCESS]}).sound()
    assert trial.started() == ["first", "between", "second", "car", "car"]


def test_without_a_savepoint_reached_the_run_turns_back() -> None:
    """A failure before any savepoint succeeded undoes everything."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="car", retry=ONCE, on_failure=BACK),
            Step(name="confirm", savepoint=True),
        ),
        stages=(("car", "confirm"),),
    )
    trial = play(definition, {("confirm", FORWARD): [Reply(duration_s=5)], ("car", FORWARD): [DOWN]}).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "car"), ["confirm"])


def test_parallel_branches_after_the_savepoint_go_back_too() -> None:
    """What runs beside the failed step is waited for, undone if it succeeded, and begun anew."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="before"),
            Step(name="confirm", savepoint=True),
            Step(name="hotel"),
            Step(name="car", retry=ONCE, on_failure=BACK),
            Step(name="pay", kind=Kind.PIVOT),
        ),
        stages=(("before",), ("confirm",), ("hotel", "car"), ("pay",)),
    )
    script = {("car", FORWARD): [DOWN, SUCCESS], ("hotel", FORWARD): [Reply(duration_s=5)]}
    trial = play(definition, script).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPLETED, ""), ["hotel"])
    assert trial.times(RolledBack) == [8.0]


def test_a_failure_on_the_way_back_turns_the_whole_run_back() -> None:
    """A step beside it that fails with another strategy overrules the return to the savepoint."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="confirm", savepoint=True),
            Step(name="hotel", retry=ONCE),
            Step(name="car", retry=ONCE, on_failure=BACK),
        ),
        stages=(("confirm",), ("hotel", "car")),
    )
    slow = Reply(duration_s=5, error_type="Full")
    trial = play(definition, {("car", FORWARD): [DOWN], ("hotel", FORWARD): [slow]}).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "hotel"), ["confirm"])


def test_a_pivot_that_succeeds_on_the_way_back_wins() -> None:
    """Nothing is undone once the pivot beside a failed step has succeeded; a person must look."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="confirm", savepoint=True),
            Step(
                name="beside", kind=Kind.RETRIABLE, retry=ONCE, compensation=Compensation(), on_failure=BACK
            ),
            Step(name="also", kind=Kind.RETRIABLE, compensation=Compensation()),
            Step(name="pay", kind=Kind.PIVOT),
        ),
        stages=(("confirm",), ("beside", "also", "pay")),
    )
    script = {("beside", FORWARD): [REFUSED], ("pay", FORWARD): [Reply(duration_s=5)]}
    trial = play(definition, script).sound()
    assert trial.ended == (Status.NEEDS_ATTENTION, "beside")
    assert (trial.started(UNDO), trial.started().count("pay")) == ([], 1)


def test_an_uncertain_pivot_on_the_way_back_needs_a_person() -> None:
    """While nobody knows whether the pivot took effect, the run neither undoes nor begins anew."""
    definition = Saga(
        name="trip",
        steps=(
            Step(name="confirm", savepoint=True),
            Step(
                name="beside", kind=Kind.RETRIABLE, retry=ONCE, compensation=Compensation(), on_failure=BACK
            ),
            Step(name="pay", kind=Kind.PIVOT),
        ),
        stages=(("confirm",), ("beside", "pay")),
    )
    script = {("beside", FORWARD): [REFUSED, SUCCESS], ("pay", FORWARD): [LOST, SUCCESS]}
    assert play(definition, script).sound().ended == (Status.NEEDS_ATTENTION, "pay")
    skip = OperatorActed(at=0, action=Action.SKIP, who="Asha", why="it was paid", step="pay")
    trial = play(definition, script, wishes=[(30.0, skip)]).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.NEEDS_ATTENTION, "beside"), [])
    resolve = OperatorActed(at=0, action=Action.RESOLVE, who="Asha", why="it was not", step="pay")
    trial = play(definition, script, wishes=[(30.0, resolve)]).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPENSATED, "pay"), ["confirm"])
