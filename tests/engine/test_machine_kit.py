"""The public test kit: scripts made from definitions, bad days, and random sagas and plans that are legal."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from sagacity_engine.document import read_saga
from sagacity_engine.events import AttemptFailed, AttemptStarted, AttemptUnknown, Direction, Event, Status
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.parts import Approval, Compensation, Kind, Probe
from sagacity_engine.plan import author_plan, check
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step, SubSaga
from sagacity_engine.testing import (
    LOST,
    PROFILES,
    SUCCESS,
    TRUTH,
    Attendant,
    Duplicated,
    Script,
    compensation_failure_at_every_step,
    fail_at_every_step,
    happy_path,
    play,
    random_plan,
    random_saga,
    random_script,
    time_out_at_every_step,
    unknown_at_every_step,
)
from sagacity_engine.testing.scripts import calling_steps
from sagacity_engine.wire import to_plain

FORWARD, UNDO, PROBE = Direction.FORWARD, Direction.UNDO, Direction.PROBE
INNER = Saga(name="stay", steps=(Step(name="hotel"), Step(name="car")))
TRIP = Saga(
    name="trip",
    steps=(
        Step(name="look", kind=Kind.READ_ONLY, optional=True),
        Step(name="fly", compensation=Compensation(retry=RetryPolicy(maximum_attempts=2))),
        Step(name="bus", alternative_to="fly"),
        Step(name="stay", sub_saga=SubSaga(saga=INNER)),
        Step(name="boss", kind=Kind.READ_ONLY, approval=Approval(expires_after_s=5.0), optional=True),
        Step(name="pay", kind=Kind.PIVOT, probe=Probe()),
        Step(name="mail", kind=Kind.RETRIABLE),
    ),
)
CALLING = ["look", "fly", "bus", "hotel", "car", "pay", "mail"]
Maker = Callable[[Saga], Iterator[tuple[str, Script]]]


def test_only_steps_that_call_somebody_go_wrong() -> None:
    """Approvals and steps that are sagas are left out; the steps of inner sagas are not."""
    assert [step.name for _, step in calling_steps(TRIP)] == CALLING
    for maker in (fail_at_every_step, time_out_at_every_step, unknown_at_every_step):
        assert [name for name, _ in maker(TRIP)] == CALLING


def test_on_the_happy_path_everything_is_done() -> None:
    """Nothing fails, and the run completes."""
    trial = play(TRIP, happy_path(TRIP)).sound()
    assert (trial.ended, trial.started(UNDO)) == ((Status.COMPLETED, ""), [])


@pytest.mark.parametrize("maker", [fail_at_every_step, time_out_at_every_step, unknown_at_every_step])
def test_each_step_goes_wrong_once(maker: Maker) -> None:
    """In the script of each step that step's attempts end badly, and the run keeps every invariant."""
    bad = AttemptFailed if maker is fail_at_every_step else AttemptUnknown
    for name, script in maker(TRIP):
        trial = play(TRIP, script).sound()
        wrong = [event for run_id in trial.events for event in trial.times(bad, name, run_id)]
        assert bool(wrong) == (name != "bus"), name  # Nobody takes the bus while the flight goes.


def test_each_compensation_fails_once() -> None:
    """In the script of each undoable step its undo fails for good, and a person must look."""
    names = []
    for name, script in compensation_failure_at_every_step(TRIP):
        trial = play(TRIP, script)
        phases = [state.steps[name].phase for state in trial.states.values() if name in state.steps]
        assert (phases == [StepPhase.COMPENSATION_FAILED]) == (name != "bus"), name
        names.append(name)
    assert names == ["fly", "bus", "hotel", "car"]


@pytest.mark.parametrize("profile", list(PROFILES))
def test_bad_days_are_survived(profile: str) -> None:
    """Under every profile of trouble random runs keep every invariant, and trouble there is."""
    troubled = 0
    for seed in range(150):
        rng = Random(seed)
        saga = random_saga(rng)
        trial = play(
            saga, PROFILES[profile](saga, rng), random_plan(saga, rng), jitter=rng, attend=Attendant(rng)
        )
        trial.sound()
        troubled += trial.ended[0] is not Status.COMPLETED
    assert troubled > 15


def test_random_sagas_and_plans_are_legal() -> None:
    """Every plan passes the gate, every definition survives its document; some plans are the author's."""
    authors = 0
    for seed in range(400):
        rng = Random(seed)
        saga = random_saga(rng)
        assert read_saga(to_plain(saga, omit_defaults=True)) == saga
        plan = random_plan(saga, rng)
        assert check(plan, saga) == ()
        authors += plan == author_plan(saga)
    assert 80 < authors < 300


def test_random_sagas_have_everything() -> None:
    """Over some seeds each thing that a definition can say is said, in sagas of 1 to 30 steps."""
    sagas = [random_saga(Random(seed)) for seed in range(1_500)]
    steps = [step for saga in sagas for step in saga.steps]
    for has in (
        lambda step: step.kind is Kind.PIVOT,
        lambda step: step.optional,
        lambda step: bool(step.alternative_to),
        lambda step: step.savepoint,
        lambda step: step.approval is not None,
        lambda step: step.probe is not None,
        lambda step: step.sub_saga is not None,
        lambda step: step.breaker is not None,
        lambda step: step.on_failure is not None,
        lambda step: step.on_timeout is not None,
        lambda step: step.schedule_to_start_timeout_s is not None,
        lambda step: step.schedule_to_close_timeout_s is not None,
        lambda step: step.heartbeat_timeout_s is not None,
        lambda step: step.compensation is not None and step.compensation.after_failure,
    ):
        assert sum(map(has, steps)) > 20
    for holds in (
        lambda saga: bool(saga.locks),
        lambda saga: saga.retry_budget is not None,
        lambda saga: saga.deadline_s is not None,
        lambda saga: bool(saga.stages),
        lambda saga: not saga.freedom.parallel,
    ):
        assert sum(map(holds, sagas)) > 20
    sizes = {len(saga.steps) for saga in sagas}
    assert (min(sizes), max(sizes) >= 28) == (1, True)
    assert max(len(saga.steps) for saga in sagas) <= 31  # An alternative may come on top.


def test_random_sagas_keep_to_what_is_asked() -> None:
    """No more steps, and no deeper nesting, than the caller allows."""
    for seed in range(300):
        saga = random_saga(Random(seed), steps_max=3, depth=1)
        assert len(saga.steps) <= 4
        assert all(step.sub_saga is None for step in saga.steps)


def test_a_seed_names_a_saga_a_plan_and_a_script() -> None:
    """The same generator state gives the same of each."""

    def drawn(seed: int) -> tuple[object, ...]:
        rng = Random(seed)
        saga = random_saga(rng)
        return saga, random_plan(saga, rng), random_script(saga, rng)

    assert [drawn(seed) for seed in range(30)] == [drawn(seed) for seed in range(30)]


def test_a_truthful_probe_says_what_the_ledger_holds() -> None:
    """An unscripted probe finds the effect exactly when it was taken."""
    saga = Saga(name="p", steps=(Step(name="a", probe=Probe()),))
    script: Script = {("a", FORWARD): [LOST, SUCCESS]}
    assert len(play(saga, script).sound().started()) == 1
    assert len(play(saga, script, acts=lambda *_: False).sound().started()) == 2
    assert len(play(saga, {**script, ("a", PROBE): [TRUTH]}).sound().started()) == 1


def test_a_duplicated_call_takes_one_effect_under_its_key() -> None:
    """Only a participant that honours keys is safe from a network that delivers twice."""
    step = Step(name="a", idempotent=True)
    script: Script = {("a", FORWARD): [Duplicated(SUCCESS)]}
    assert len(play(Saga(name="d", steps=(step,)), script).sound().ledger["run"]) == 1
    careless = Saga(name="d", steps=(replace(step, idempotent=False),))
    assert play(careless, script).violations() == (
        "run: I6 step 'a' took effect 2 times (forward) in 1 calls",
    )


def test_nobody_is_asked_for_ever() -> None:
    """An attendant who always acts is asked a bounded number of times."""
    saga = Saga(name="ask", steps=(Step(name="boss", kind=Kind.READ_ONLY, approval=Approval()),))
    asked = []

    def hum(state: RunState, at: float) -> Event | None:
        asked.append(at)
        return AttemptStarted(at=at, step="boss", direction=FORWARD, attempt=1)  # Nobody may ask for that.

    trial = play(saga, attend=hum)
    assert (trial.phase("boss"), len(asked)) == (StepPhase.AWAITING, 1_000)
