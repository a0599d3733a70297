"""An advisor that is asked again when a step fails: heard when it helps, and never able to hold a run up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Direction,
    Engine,
    Failure,
    FailureClass,
    Launch,
    MemoryJournal,
    OutcomeUnknown,
    RetryPolicy,
    RunResult,
    Saga,
    SagaFreedom,
    Status,
    StepError,
    Strategy,
    author_plan,
    define,
)
from sagacity_engine.events import AttemptFailed, AttemptStarted, AttemptUnknown
from sagacity_engine.hosting.counsel import REFUSALS_MAX, RESTS_S
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

Answer = Callable[[Failure], Awaitable[Any]]
FORWARD = Strategy.FORWARD_RECOVERY
BUDGET_S = 0.5
ONCE = RetryPolicy(maximum_attempts=1)


class Adviser:
    """Proposes the author's plan, and answers failures as `answer` does."""

    def __init__(self, answer: Answer) -> None:
        self.failures: list[Failure] = []
        self.launches = 0
        self._answer = answer

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """The author's plan, as advice of its own."""
        assert launch.run_id
        self.launches += 1
        return Advice(plan=author_plan(saga))

    async def advise_on_failure(self, saga: Saga, failure: Failure) -> Any:
        """Whatever the test wants to hear."""
        assert failure.step in saga.names
        self.failures.append(failure)
        return await self._answer(failure)


class Silent:
    """Fails before runs as well as during them, until told otherwise."""

    def __init__(self) -> None:
        self.well = False
        self.before = 0
        self.during = 0

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """Counts, and fails unless it is well."""
        assert launch.run_id
        self.before += 1
        if not self.well:
            raise RuntimeError("no model")
        return Advice(plan=author_plan(saga))

    async def advise_on_failure(self, saga: Saga, failure: Failure) -> Strategy | None:
        """Counts, and fails unless it is well."""
        assert failure.step in saga.names
        self.during += 1
        if not self.well:
            raise RuntimeError("no model")
        return None


def says(value: Any) -> Answer:
    async def answer(failure: Failure) -> Any:
        assert failure.run_id
        return value

    return answer


def does_nothing(call: Call) -> None:
    """A participant that does nothing."""


def refuses(call: Call) -> None:
    if call.direction is Direction.FORWARD:
        raise StepError("SoldOut", "no seat", FailureClass.PERMANENT)


def trip(
    fly: Callable[[Call], Any] = refuses, *, granted: bool = True, retry: RetryPolicy = ONCE
) -> BoundSaga:
    """Book; fly, or take the train; pay. The author's way out of a failure is to turn back."""
    saga = define("trip", freedom=SagaFreedom(compensation=granted))
    saga.step(name="book", compensate=does_nothing)(does_nothing)
    saga.step(
        name="fly", compensate=does_nothing, after=["book"], retry=retry, on_failure="STANDARD_COMPENSATION"
    )(fly)
    saga.step(name="train", compensate=does_nothing, alternative_to="fly")(lambda call: "by train")
    saga.step(name="pay", kind="pivot", after=["fly"], retry=ONCE)(does_nothing)
    return saga.bind()


def play(
    bound: BoundSaga, use: Callable[[Engine], Awaitable[Any]], advisor: Any, **options: Any
) -> tuple[Any, MemoryJournal]:
    """What came of using an engine in virtual time, and its journal; runs that ended must be sound."""
    journal = MemoryJournal()

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        settings = {"holdout_share": 0.0, "advice_budget_s": BUDGET_S, **options}
        async with Engine(
            journal, [bound], advisor=advisor, clock=clock, draw=lambda: 0.5, **settings
        ) as engine:
            return await use(engine)

    came_of_it = run_in_virtual_time(go())
    for line in journal.runs():
        assert not line.status.ended or violations(bound.saga, journal.read(line.run_id)) == ()
    return came_of_it, journal


def one_run(bound: BoundSaga, advisor: Any, **options: Any) -> tuple[RunResult, MemoryJournal]:
    result, journal = play(
        bound, lambda engine: engine.run("trip", run_id="r", context={"vip": True}), advisor, **options
    )
    assert isinstance(result, RunResult)
    return result, journal


def failures_of(journal: MemoryJournal, run_id: str = "r") -> list[AttemptFailed | AttemptUnknown]:
    return [each for each in journal.read(run_id) if isinstance(each, AttemptFailed | AttemptUnknown)]


def test_the_advised_strategy_is_journaled_and_carried_out() -> None:
    """The author would turn back; the advisor says to go on by the alternative, and so the run does."""
    result, journal = one_run(trip(), Adviser(says(FORWARD)))
    assert (result.status, result.outputs["fly"]) == (Status.COMPLETED, "by train")
    assert [each.strategy for each in failures_of(journal)] == [FORWARD]


def test_a_strategy_may_be_said_as_its_word() -> None:
    """Advisors that speak JSON need not build our values."""
    result, journal = one_run(trip(), Adviser(says("FORWARD_RECOVERY")))
    assert result.status is Status.COMPLETED
    assert [each.strategy for each in failures_of(journal)] == [FORWARD]


def test_the_advisor_is_told_how_far_the_run_had_come() -> None:
    """A question names the run, its context, the failure, the plan, and the phase of every step."""
    advisor = Adviser(says(None))
    result, _ = one_run(trip(), advisor)
    [failure] = advisor.failures
    assert (failure.run_id, failure.context, failure.step, failure.attempt) == ("r", {"vip": True}, "fly", 1)
    assert (failure.error_type, failure.failure_class) == ("SoldOut", FailureClass.PERMANENT)
    assert failure.plan == result.plan
    assert failure.phases == {
        "book": StepPhase.SUCCEEDED,
        "fly": StepPhase.RUNNING,
        "train": StepPhase.PENDING,
        "pay": StepPhase.PENDING,
    }


def test_an_unknown_outcome_is_asked_about_too() -> None:
    """Its error type is the reason, its class unknown."""

    def loses(call: Call) -> None:
        raise OutcomeUnknown("reset")

    advisor = Adviser(says(FORWARD))
    result, _ = one_run(trip(loses), advisor)
    [failure] = advisor.failures
    assert (failure.error_type, failure.failure_class) == ("lost_reply", FailureClass.UNKNOWN)
    assert result.status is Status.COMPLETED


def test_every_failed_attempt_is_asked_about() -> None:
    """The advisor may keep the plan's strategy twice and change it the third time."""

    async def at_last(failure: Failure) -> Strategy | None:
        return FORWARD if failure.attempt == 3 else None

    advisor = Adviser(at_last)
    result, journal = one_run(trip(retry=RetryPolicy(maximum_attempts=3)), advisor)
    assert [each.strategy for each in failures_of(journal)] == [None, None, FORWARD]
    assert result.status is Status.COMPLETED


def test_an_advised_strategy_may_spare_the_retries() -> None:
    """IMMEDIATE_FULL_COMPENSATION turns back at once, though attempts are left."""
    result, journal = one_run(
        trip(retry=RetryPolicy(maximum_attempts=3)), Adviser(says(Strategy.IMMEDIATE_FULL_COMPENSATION))
    )
    assert result.status is Status.COMPENSATED
    assert len(failures_of(journal)) == 1


def test_without_the_freedom_nobody_is_asked() -> None:
    """The owner grants the freedom 'compensation', or the author's strategy stands."""
    advisor = Adviser(says(FORWARD))
    result, _ = one_run(trip(granted=False), advisor)
    assert (result.status, advisor.failures) == (Status.COMPENSATED, [])


def test_a_fallback_run_is_not_asked_about() -> None:
    """A run that did not get its plan from the advisor does not get its strategies from it either."""
    advisor = Silent()
    result, _ = one_run(trip(), advisor)
    assert (result.fallback, result.status, advisor.during) == (True, Status.COMPENSATED, 0)


def test_the_holdout_is_not_asked_about() -> None:
    """The holdout is the author's way from start to end, or advice could not be judged by it."""
    advisor = Adviser(says(FORWARD))
    result, _ = one_run(trip(), advisor, holdout_share=1.0)
    assert (result.status, advisor.failures, advisor.launches) == (Status.COMPENSATED, [], 0)


def test_after_the_pivot_nobody_is_asked() -> None:
    """What follows a pivot only goes forward; there is nothing to choose."""
    saga = define("trip", freedom=SagaFreedom(compensation=True))
    saga.step(name="pay", kind="pivot")(does_nothing)
    saga.step(name="tell", kind="retriable", after=["pay"], retry=ONCE)(refuses)
    advisor = Adviser(says(FORWARD))
    result, _ = one_run(saga.bind(), advisor)
    assert (result.status, advisor.failures) == (Status.NEEDS_ATTENTION, [])


def test_failed_undos_are_not_asked_about() -> None:
    """An undo is tried until it succeeds or a person must look; no advice changes that."""
    tries = iter([True, False])

    def undo(call: Call) -> None:
        if next(tries):
            raise StepError("Busy")

    saga = define("trip", freedom=SagaFreedom(compensation=True))
    saga.step(name="book", compensate=undo)(does_nothing)
    saga.step(name="fly", compensate=does_nothing, retry=ONCE)(refuses)
    advisor = Adviser(says(None))
    result, _ = one_run(saga.bind(), advisor)
    assert result.status is Status.COMPENSATED
    assert [failure.step for failure in advisor.failures] == ["fly"]


async def _never(failure: Failure) -> Strategy:
    await asyncio.sleep(3600)
    raise AssertionError(f"nobody waited that long for {failure.step}")


async def _stubborn(failure: Failure) -> Strategy:
    while True:
        try:
            return await _never(failure)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
            raise RuntimeError("too late") from None


async def _broken(failure: Failure) -> Strategy:
    raise KeyError(failure.step)


async def _cancelled(failure: Failure) -> Strategy:
    raise asyncio.CancelledError(failure.step)


@pytest.mark.parametrize(
    ("answer", "costs_s"),
    [
        pytest.param(_never, BUDGET_S, id="slow"),
        pytest.param(_stubborn, BUDGET_S, id="slow and not to be cancelled"),
        pytest.param(_broken, 0.0, id="failing"),
        pytest.param(_cancelled, 0.0, id="cancelled"),
        pytest.param(says("SHRUG"), 0.0, id="no strategy"),
        pytest.param(says(42), 0.0, id="a number"),
        pytest.param(says([FORWARD]), 0.0, id="a list"),
        pytest.param(says(Strategy.ROLLBACK_TO_SAVEPOINT), 0.0, id="cannot be carried out"),
        pytest.param(says(None), 0.0, id="nothing to add"),
    ],
)
def test_no_answer_can_hurt_a_run(answer: Answer, costs_s: float) -> None:
    """Slow, failing, illegal or senseless: the author's strategy stands, and the budget is all it costs."""

    async def use(engine: Engine) -> tuple[RunResult, float]:
        result = await engine.run("trip", run_id="r")
        return result, engine.now()

    (result, took_s), journal = play(trip(), use, Adviser(answer))
    assert (result.status, result.step) == (Status.COMPENSATED, "fly")
    assert [each.strategy for each in failures_of(journal)] == [None]
    assert costs_s <= took_s < costs_s + 0.1


def test_a_run_that_ends_while_the_advisor_thinks_is_left_alone() -> None:
    """Cancelled meanwhile, the run turns back; the failure is journaled without a circle or a second end."""

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(0.1)
        assert await engine.cancel("r", "Asha")
        return await engine.result("r")

    result, journal = play(trip(), use, Adviser(_never))
    assert result.status is Status.COMPENSATED
    assert len(failures_of(journal)) == 1


def test_closing_waits_for_an_answer_no_longer_than_for_a_call() -> None:
    """What was being asked about is found in flight by the next opening, as after a crash."""

    async def use(engine: Engine) -> None:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(0.1)

    _, journal = play(trip(), use, Adviser(_never), advice_budget_s=60.0, shutdown_s=1.0)
    assert isinstance(journal.read("r")[-1], AttemptStarted)


def test_an_advisor_that_keeps_failing_is_left_alone_for_a_while() -> None:
    """After five failures in a row nobody asks it for 30 s, before runs or during them; then it is asked."""
    advisor = Silent()

    async def use(engine: Engine) -> list[tuple[int, int]]:
        counts: list[tuple[int, int]] = []

        async def some_runs() -> None:
            for _ in range(3):
                await engine.run("trip")
            counts.append((advisor.before, advisor.during))

        advisor.well = True
        await some_runs()  # Three of each.
        advisor.well = False
        for _ in range(REFUSALS_MAX):
            await engine.run("trip")
        await some_runs()  # Resting.
        await asyncio.sleep(RESTS_S + 1)
        advisor.well = True
        await some_runs()
        return counts

    counts, journal = play(trip(), use, advisor)
    assert counts == [(3, 3), (3 + REFUSALS_MAX, 3), (6 + REFUSALS_MAX, 6)]
    assert {line.status for line in journal.runs()} == {Status.COMPENSATED}


def test_failing_during_runs_rests_the_advisor_before_runs_too() -> None:
    """Both kinds of asking share one patience: a run that starts meanwhile keeps the author's plan."""
    advisor = Adviser(_broken)

    async def use(engine: Engine) -> RunResult:
        await engine.run("trip")  # Five attempts fail, and five answers.
        return await engine.run("trip")

    result, _ = play(trip(retry=RetryPolicy(maximum_attempts=6)), use, advisor)
    assert len(advisor.failures) == REFUSALS_MAX
    assert (advisor.launches, result.fallback) == (1, True)
    assert "left alone" in result.reasons[0]
