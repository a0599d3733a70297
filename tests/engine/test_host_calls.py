"""What an engine makes of the calls it makes: timeouts, heartbeats, hedges, probes, refusals, and undos."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    Answer,
    BoundSaga,
    Call,
    Compensation,
    Direction,
    Effect,
    Engine,
    FailureClass,
    Found,
    Launch,
    MemoryJournal,
    OutcomeUnknown,
    Plan,
    Probe,
    RetryPolicy,
    RunResult,
    Saga,
    ServicePolicy,
    Status,
    StepError,
    StepFreedom,
    TerminalError,
    author_plan,
    define,
)
from sagacity_engine.events import (
    AttemptFailed,
    AttemptHedged,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    Event,
    ProbeAnswered,
    UnknownReason,
)
from sagacity_engine.handlers import OUTPUT_BYTES_MAX
from sagacity_engine.hosting.attempts import NEVER_CALLED
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import VirtualLoop, run_in_virtual_time

Act = Callable[[Call], Any]
ONCE = RetryPolicy(maximum_attempts=1)
AT_ONCE = RetryPolicy(initial_interval_s=0.0)


def does_nothing(call: Call) -> None:
    """A participant that does nothing."""


def saga_of(act: Act, undo: Act = does_nothing, **fields: Any) -> BoundSaga:
    """A step that does what it is told, and one after it."""
    saga = define("trip")
    undone = {"compensate": undo} if fields.get("kind") is None else {}
    saga.step(name="book", **{"retry": ONCE, **undone, **fields})(act)
    saga.step(name="pay", kind="retriable", after=["book"], compensate=does_nothing)(does_nothing)
    return saga.bind()


def fails_afterwards(act: Act, undo: Act, **compensation: Any) -> BoundSaga:
    """A step whose effect is to be undone, because the next one is refused for good."""
    saga = define("trip")
    declared = Compensation(**compensation)
    saga.step(name="book", compensate=undo, compensation=declared, retry=ONCE)(act)
    saga.step(name="pay", compensate=does_nothing, retry=ONCE)(raises(StepError("No")))
    return saga.bind()


def raises(problem: BaseException) -> Act:
    def act(call: Call) -> None:
        raise problem

    return act


def replies(*turns: Any) -> Act:
    """Raises or returns the turns, one per call; the last one ever after."""
    left = list(turns)

    def act(call: Call) -> Any:
        turn = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(turn, BaseException):
            raise turn
        return turn

    return act


def play(
    bound: BoundSaga, use: Callable[[Engine], Awaitable[Any]] | None = None, **options: Any
) -> tuple[Any, list[Event]]:
    """What came of using an engine in virtual time, and the events of run "r", which must be sound."""
    journal = MemoryJournal()

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5, **options) as engine:
            return await (engine.run("trip", run_id="r") if use is None else use(engine))

    came_of_it = run_in_virtual_time(go())
    for line in journal.runs():
        assert not line.status.ended or violations(bound.saga, journal.read(line.run_id)) == ()
    return came_of_it, list(journal.read("r"))


def outcomes(events: list[Event], step: str = "book", direction: Direction = Direction.FORWARD) -> list[Any]:
    """How the attempts of one step in one direction ended."""
    return [
        event
        for event in events
        if isinstance(event, AttemptSucceeded | AttemptFailed | AttemptUnknown)
        and (event.step, event.direction) == (step, direction)
    ]


def answers(events: list[Event]) -> list[ProbeAnswered]:
    return [event for event in events if isinstance(event, ProbeAnswered)]


# Heartbeats.


async def silent(call: Call) -> None:
    call.heartbeat()
    await asyncio.sleep(3600)


async def alive(call: Call) -> str:
    for _ in range(8):
        await asyncio.sleep(0.9)
        call.heartbeat()
    return "done"


def test_a_call_that_falls_silent_is_cut_off() -> None:
    """A heartbeat timeout after its last beat the outcome is unknown, long before the call's timeout."""
    _, events = play(saga_of(silent, heartbeat_timeout_s=1.0, start_to_close_timeout_s=900))
    [lost] = outcomes(events)
    assert isinstance(lost, AttemptUnknown)
    assert (lost.reason, lost.message) == (UnknownReason.HEARTBEAT_LOST, "no heartbeat within 1 s")
    assert lost.at == pytest.approx(1.0, abs=0.1)


def test_heartbeats_keep_a_call_alive() -> None:
    """A call may take as long as its timeout when it says in time that it goes on."""
    result, events = play(saga_of(alive, heartbeat_timeout_s=1.0, start_to_close_timeout_s=900))
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, "done")
    assert outcomes(events)[0].at == pytest.approx(7.2, abs=0.1)


def test_heartbeats_do_not_stretch_the_timeout() -> None:
    """A call that is alive and never done is cut off at its start-to-close timeout."""
    _, events = play(saga_of(alive, heartbeat_timeout_s=1.0, start_to_close_timeout_s=3.0))
    [lost] = outcomes(events)
    assert (lost.reason, lost.at) == (UnknownReason.TIMED_OUT, pytest.approx(3.0, abs=0.2))


def test_a_plain_function_beats_from_its_thread() -> None:
    """`heartbeat` may be called in any thread: a plain function in a real one is kept alive by it."""

    def plain(call: Call) -> str:
        for _ in range(8):
            time.sleep(0.02)
            call.heartbeat()
        return "done"

    async def go() -> RunResult:
        bound = saga_of(plain, heartbeat_timeout_s=5.0, start_to_close_timeout_s=60)
        async with Engine(MemoryJournal(), [bound]) as engine:
            return await engine.run("trip")

    assert asyncio.run(go()).status is Status.COMPLETED


def test_a_plain_function_that_falls_silent_is_given_up() -> None:
    """Nothing can stop the thread; the attempt ends all the same, as unknown."""

    def plain(call: Call) -> None:
        blocks(60)

    _, events = play(saga_of(plain, heartbeat_timeout_s=1.0, start_to_close_timeout_s=900))
    assert outcomes(events)[0].reason is UnknownReason.HEARTBEAT_LOST


def test_waiting_for_a_thread_is_no_silence() -> None:
    """A plain function that has not begun cannot beat: its heartbeat timeout runs from when it is called."""

    def plain(call: Call) -> None:
        blocks(0.8)

    async def use(engine: Engine) -> list[RunResult]:
        return await asyncio.gather(*(engine.run("trip") for _ in range(6)))

    bound = saga_of(plain, heartbeat_timeout_s=1.0, start_to_close_timeout_s=900)
    results, _ = play(bound, use, max_threads=1)
    assert {result.status for result in results} == {Status.COMPLETED}


def blocks(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.block(seconds)


# Schedule to start, schedule to close.


def test_a_call_that_finds_no_thread_in_time_was_never_made() -> None:
    """Past schedule-to-start the attempt failed for sure, and is free to be tried again."""

    def plain(call: Call) -> None:
        called.append(call.run_id)
        blocks(30)

    called: list[str] = []

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="first")
        await asyncio.sleep(0.1)
        return await engine.run("trip", run_id="r")

    bound = saga_of(plain, schedule_to_start_timeout_s=2.0, start_to_close_timeout_s=900)
    result, events = play(bound, use, max_threads=1)
    [failed] = outcomes(events)
    assert (result.status, called) == (Status.COMPENSATED, ["first"])
    assert (failed.error_type, failed.failure_class) == (NEVER_CALLED, FailureClass.CASCADING)
    assert "no thread was free within 2 s; the function was not called" in failed.message


def test_a_call_that_finds_no_place_in_time_was_never_made() -> None:
    """Waiting for one of the service's places counts towards schedule-to-start, for `async` functions too."""

    async def slow(call: Call) -> None:
        called.append(call.run_id)
        await asyncio.sleep(30)

    called: list[str] = []

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="first")
        return await engine.run("trip", run_id="r")

    bound = saga_of(slow, service="inn", schedule_to_start_timeout_s=2.0, start_to_close_timeout_s=900)
    result, events = play(bound, use, services={"inn": ServicePolicy(concurrency=1, retry_share=None)})
    [failed] = outcomes(events)
    assert (result.status, called) == (Status.COMPENSATED, ["first"])
    assert failed.message == "no place within 2 s; the function was not called"
    assert failed.at == pytest.approx(2.0, abs=0.1)


def test_schedule_to_close_bounds_all_attempts_together() -> None:
    """No attempt begins after it, and one that is on its way is cut off at it."""

    async def slow(call: Call) -> None:
        calls.append(call.timeout_s)
        await asyncio.sleep(4)
        raise StepError("Busy")

    calls: list[float] = []
    many = RetryPolicy(maximum_attempts=9, initial_interval_s=0.0)
    result, events = play(saga_of(slow, retry=many, schedule_to_close_timeout_s=6.0, idempotent=True))
    assert result.status is Status.COMPENSATED
    assert calls == [pytest.approx(6.0), pytest.approx(2.0)]
    assert [type(each) for each in outcomes(events)] == [AttemptFailed, AttemptUnknown]
    assert outcomes(events)[-1].at == pytest.approx(6.0, abs=0.2)


# Hedges.


class Hedging:
    """Advises the author's plan with a second call after one second."""

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        """One hedge for the first step."""
        return Advice(plan=hedged(saga))


def hedged(saga: Saga) -> Plan:
    plan = author_plan(saga)
    first, *others = plan.steps
    return replace(plan, steps=(replace(first, hedge_delay_s=1.0), *others))


def hedging(act: Act, **options: Any) -> tuple[Any, list[Event]]:
    freedom = StepFreedom(hedge_delay_s=(0.1, 5.0))
    bound = saga_of(act, idempotent=True, freedom=freedom, service="inn")
    return play(bound, advisor=Hedging(), holdout_share=0.0, **options)


class Twice:
    """What a step does at its first and at its second call."""

    def __init__(self, first: Callable[[], Coroutine[Any, Any, Any]], second: Any = None) -> None:
        self.calls: list[Call] = []
        self._turns = [first, second]

    async def __call__(self, call: Call) -> Any:
        """Takes the next turn."""
        self.calls.append(call)
        return await self._turns[len(self.calls) - 1]()


async def after(seconds: float, outcome: Any) -> Any:
    await asyncio.sleep(seconds)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def test_the_second_call_wins_when_the_first_is_slow() -> None:
    """The first success ends the attempt; the other call is cancelled and changes nothing."""
    act = Twice(lambda: after(9, "slow"), lambda: after(0.5, "fast"))
    result, events = hedging(act)
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, "fast")
    assert outcomes(events)[0].at == pytest.approx(1.5, abs=0.1)
    assert [each.attempt for each in events if isinstance(each, AttemptHedged)] == [1]


def test_both_calls_carry_one_key() -> None:
    """The participant sees one request twice, and answers it once."""
    act = Twice(lambda: after(9, "slow"), lambda: after(0.5, "fast"))
    hedging(act)
    first, second = act.calls
    assert (first.idempotency_key, first.attempt) == (second.idempotency_key, second.attempt)


def test_a_fast_first_call_is_not_hedged() -> None:
    """A reply before the delay leaves nothing to hedge."""
    act = Twice(lambda: after(0.5, "fast"))
    result, events = hedging(act)
    assert (result.outputs["book"], len(act.calls)) == ("fast", 1)
    assert not [each for each in events if isinstance(each, AttemptHedged)]


def test_the_first_call_may_still_win() -> None:
    """A hedge that is slower than the first call after all is cancelled."""
    result, _ = hedging(Twice(lambda: after(2, "first"), lambda: after(9, "second")))
    assert result.outputs["book"] == "first"


def test_a_failure_waits_for_the_other_call() -> None:
    """One of the two is refused, the other succeeds: the attempt succeeded."""
    result, events = hedging(Twice(lambda: after(2, StepError("Busy")), lambda: after(3, "second")))
    assert (result.outputs["book"], len(outcomes(events))) == ("second", 1)


def test_two_refusals_are_a_refusal() -> None:
    """Both failed: so did the attempt, once, with the later words."""
    _, events = hedging(Twice(lambda: after(2, StepError("Busy")), lambda: after(3, StepError("Full"))))
    assert [each.error_type for each in outcomes(events)] == ["Full"]


def test_a_lost_call_outweighs_the_others_refusal() -> None:
    """Where one of the two cannot tell, the attempt cannot either, whichever came last."""
    act = Twice(lambda: after(2, OutcomeUnknown("reset")), lambda: after(3, StepError("Full")))
    _, events = hedging(act)
    assert [(type(each), each.message) for each in outcomes(events)] == [(AttemptUnknown, "reset")]


def test_a_spent_budget_refuses_the_hedge() -> None:
    """A second call is load like a retry: without budget the first goes on alone."""
    act = Twice(lambda: after(4, "slow"))
    policy = ServicePolicy(retry_share=0.0, retry_burst=0.0)
    result, _ = hedging(act, services={"inn": policy})
    assert (result.outputs["book"], len(act.calls)) == ("slow", 1)


def test_a_hedge_is_paid_for_once() -> None:
    """A budget of one second call allows one, whatever becomes of it."""
    act = Twice(lambda: after(9, "slow"), lambda: after(0.5, "fast"))
    policy = ServicePolicy(retry_share=0.0, retry_burst=1.0)
    result, _ = hedging(act, services={"inn": policy})
    assert (result.outputs["book"], len(act.calls)) == ("fast", 2)


# Refusals.


def starts(events: list[Event], step: str = "book") -> list[float]:
    return [
        event.at
        for event in events
        if isinstance(event, AttemptStarted) and (event.step, event.direction) == (step, Direction.FORWARD)
    ]


def test_retry_after_is_honoured() -> None:
    """The next attempt comes no sooner than the participant asked, though the backoff would be shorter."""
    act = replies(StepError("Busy", retry_after_s=40.0), "booked")
    result, events = play(saga_of(act, retry=AT_ONCE))
    first, second = starts(events)
    assert result.status is Status.COMPLETED
    assert second - first == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("asked", [float("nan"), float("inf"), -5, True, "soon"])
def test_a_senseless_retry_after_is_ignored(asked: Any) -> None:
    """What is no number of seconds to wait delays nothing."""
    result, events = play(saga_of(replies(StepError("Busy", retry_after_s=asked), "booked"), retry=AT_ONCE))
    first, second = starts(events)
    assert result.status is Status.COMPLETED
    assert second - first == pytest.approx(0.0, abs=0.1)


def test_a_terminal_refusal_is_never_retried() -> None:
    """TerminalError ends the step whatever its retry numbers say; the journal says so."""
    result, events = play(saga_of(raises(TerminalError("Banned")), retry=AT_ONCE))
    assert (result.status, len(starts(events))) == (Status.COMPENSATED, 1)
    assert outcomes(events)[0].terminal


def test_words_without_end_are_cut() -> None:
    """The journal keeps a thousand characters of what a participant says, and any type as text."""
    problem = StepError(404, "x" * 5000, "nobody knows")  # type: ignore[arg-type]  # callers need not check types
    _, events = play(saga_of(raises(problem)))
    [failed] = outcomes(events)
    assert (failed.error_type, len(failed.message)) == ("404", 1000)
    assert failed.failure_class is FailureClass.UNKNOWN


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param({1, 2}, "not JSON serializable", id="a set"),
        pytest.param(float("nan"), "Out of range float", id="no number"),
        pytest.param("x" * OUTPUT_BYTES_MAX, "the most is", id="too long"),
    ],
)
def test_an_output_that_cannot_be_kept_may_have_had_an_effect(output: Any, words: str) -> None:
    """The call returned, so it happened, perhaps: what may have happened is undone."""
    undone: list[Effect] = []
    result, events = play(saga_of(lambda call: output, lambda call: undone.append(call.effect)))
    assert (result.status, undone) == (Status.COMPENSATED, [Effect.UNKNOWN])
    assert words in outcomes(events)[0].message


def test_a_plain_function_may_hand_out_a_coroutine() -> None:
    """It is awaited in the loop, and its timeout is the call's."""
    result, _ = play(saga_of(lambda call: after(1, "booked")))
    assert result.outputs["book"] == "booked"
    _, events = play(saga_of(lambda call: after(60, "booked"), start_to_close_timeout_s=1.0))
    assert outcomes(events)[0].reason is UnknownReason.TIMED_OUT


def test_what_a_handed_out_coroutine_raises_decides() -> None:
    """A refusal is a refusal wherever it is raised."""
    _, events = play(saga_of(lambda call: after(1, StepError("Busy"))))
    assert outcomes(events)[0].error_type == "Busy"


# Probes.


def probing(act: Act, probe: Act, **policy: Any) -> tuple[Any, list[Event]]:
    numbers = {"retry": RetryPolicy(maximum_attempts=2, initial_interval_s=0.0), **policy}
    return play(saga_of(act, probe=probe, probe_policy=Probe(**numbers), retry=AT_ONCE))


LOST = OutcomeUnknown("reset")


@pytest.mark.parametrize(
    ("found", "output"),
    [(True, None), (Found(Answer.HAPPENED, {"id": (7,)}), {"id": [7]}), (Found("happened", 7), 7)],  # type: ignore[arg-type]  # callers may speak JSON
)
def test_a_probe_that_finds_the_effect_ends_the_doubt(found: Any, output: Any) -> None:
    """The step succeeded, with what the probe found as its output."""
    result, events = probing(raises(LOST), replies(found))
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, output)
    assert [each.answer for each in answers(events)] == [Answer.HAPPENED]


@pytest.mark.parametrize("found", [False, Found(Answer.DID_NOT_HAPPEN)])
def test_a_probe_that_finds_nothing_lets_the_step_be_tried_again(found: Any) -> None:
    """No effect: the attempt counts as refused, and another is safe."""
    result, events = probing(replies(LOST, "booked"), replies(found))
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, "booked")
    assert [each.answer for each in answers(events)] == [Answer.DID_NOT_HAPPEN]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(replies(None), "the probe returned NoneType; return Found, True or False", id="nothing"),
        pytest.param(replies(1), "the probe returned int", id="a number"),
        pytest.param(replies(Found("perhaps")), "the probe returned Found", id="no answer"),  # type: ignore[arg-type]  # nonsense
        pytest.param(replies(Found(Answer.HAPPENED, {1})), "the output cannot be kept", id="a set"),
        pytest.param(raises(StepError("Busy", "later")), "Busy: later", id="a refusal"),
        pytest.param(raises(KeyError("x")), "lost_reply: KeyError", id="an exception"),
        pytest.param(replies(Found(Answer.CANNOT_TELL)), "", id="it cannot tell"),
    ],
)
def test_a_probe_that_fails_cannot_tell(answer: Act, words: str) -> None:
    """It is asked as often as its numbers allow; then the effect counts as possible and is undone."""
    result, events = probing(raises(LOST), answer)
    assert result.status is Status.COMPENSATED
    assert [each.answer for each in answers(events)] == [Answer.CANNOT_TELL] * 2
    assert words in answers(events)[0].message


def test_a_probe_that_hangs_cannot_tell() -> None:
    """Its own timeout cuts it off."""
    result, events = probing(raises(LOST), lambda call: after(60, True), start_to_close_timeout_s=1.0)
    assert result.status is Status.COMPENSATED
    assert answers(events)[0].message == "timed_out: no reply within 1 s"


def test_a_probe_is_told_which_action_it_asks_about() -> None:
    """Its `undoes` is the key of the action in doubt."""
    calls: list[Call] = []

    def act(call: Call) -> None:
        calls.append(call)
        raise OutcomeUnknown("reset")

    def probe(call: Call) -> bool:
        calls.append(call)
        return True

    probing(act, probe)
    assert (calls[1].direction, calls[1].undoes) == (Direction.PROBE, calls[0].idempotency_key)


# Undos.


@pytest.mark.parametrize(
    ("act", "effect", "known", "output"),
    [
        pytest.param(replies("booked"), Effect.SUCCEEDED, True, "booked", id="it succeeded"),
        pytest.param(raises(StepError("Full")), Effect.FAILED, True, None, id="it was refused"),
        pytest.param(raises(LOST), Effect.UNKNOWN, False, None, id="nobody can tell"),
    ],
)
def test_an_undo_is_told_what_became_of_its_action(
    act: Act, effect: Effect, known: bool, output: Any
) -> None:
    """With `after_failure` a refused step is undone too, and the undo can tell the three cases apart."""
    undos: list[Call] = []
    result, _ = play(fails_afterwards(act, undos.append, after_failure=True))
    [undo] = undos
    assert result.status is Status.COMPENSATED
    assert (undo.effect, undo.effect_known, undo.output) == (effect, known, output)


def test_a_refused_step_is_not_undone_unless_it_asks_for_it() -> None:
    """A definite refusal leaves nothing behind, so nothing is called."""
    undos: list[Call] = []
    play(fails_afterwards(raises(StepError("Full")), undos.append))
    assert undos == []


def test_an_undo_honours_retry_after() -> None:
    """Participants may slow undos down, but not talk them out of it."""
    undo = replies(StepError("Busy", retry_after_s=20.0), None)
    result, _ = play(fails_afterwards(replies("booked"), undo))
    assert result.status is Status.COMPENSATED
    assert result.ended_at - result.started_at >= 20.0


def test_what_an_undo_returns_is_nobodys_business() -> None:
    """The journal does not keep it, as long as it could be kept."""
    result, events = play(fails_afterwards(replies("booked"), replies({"refund": 9})))
    assert result.status is Status.COMPENSATED
    assert [each.output for each in outcomes(events, direction=Direction.UNDO)] == [None]


# Timeouts.


def hangs(call: Call) -> Coroutine[Any, Any, None]:
    return after(600, None)


def test_on_timeout_retry_tries_again() -> None:
    """The call that timed out is made again under the same key."""
    turns = Twice(lambda: after(600, None), lambda: after(0, "booked"))
    result, _ = play(saga_of(turns, idempotent=True, on_timeout="RETRY", retry=AT_ONCE))
    assert (result.status, result.outputs["book"]) == (Status.COMPLETED, "booked")
    assert len({call.idempotency_key for call in turns.calls}) == 1


def test_on_timeout_compensate_gives_the_step_up() -> None:
    """Attempts are left and the step is idempotent: it is given up all the same, and undone."""
    undone: list[Effect] = []
    bound = saga_of(
        hangs,
        lambda call: undone.append(call.effect),
        idempotent=True,
        on_timeout="COMPENSATE",
        retry=AT_ONCE,
    )
    result, events = play(bound)
    assert (result.status, undone, len(starts(events))) == (Status.COMPENSATED, [Effect.UNKNOWN], 1)


def test_on_timeout_skip_goes_on_without_the_step() -> None:
    """An optional step that times out is left behind; what it may have done is undone meanwhile."""
    undone: list[Effect] = []
    bound = saga_of(
        hangs, lambda call: undone.append(call.effect), optional=True, on_timeout="SKIP", retry=AT_ONCE
    )
    result, _ = play(bound)
    assert (result.status, undone) == (Status.COMPLETED, [Effect.UNKNOWN])
    assert "book" not in result.outputs


def test_without_on_timeout_only_a_safe_step_is_tried_again() -> None:
    """A step that is not idempotent may have taken effect when it timed out: one attempt, and the undo."""
    result, events = play(saga_of(hangs, retry=AT_ONCE))
    assert (result.status, len(starts(events))) == (Status.COMPENSATED, 1)
    _, events = play(saga_of(hangs, retry=AT_ONCE, idempotent=True))
    assert len(starts(events)) == 3
