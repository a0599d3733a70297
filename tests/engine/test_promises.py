"""What the engine owes, row by row, in virtual time; every run is checked by the independent checker."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sagacity_engine import testing as kit
from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.errors import FailureClass
from sagacity_engine.events import (
    Action,
    Answer,
    AttemptStarted,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    DeadlineReached,
    Direction,
    Event,
    OperatorActed,
    RunStarted,
    SignalReceived,
    Status,
    UnknownReason,
)
from sagacity_engine.handlers import idempotency_key
from sagacity_engine.machine.machine import advance, apply, replay
from sagacity_engine.machine.operations import next_actions
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState, begin, in_flight
from sagacity_engine.parts import Approval, Breaker, Compensation, Kind, OnExpiry, Probe, SagaFreedom
from sagacity_engine.plan import Plan, author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, OnTimeout, Strategy
from sagacity_engine.testing import ScriptedServices, violations
from sagacity_engine.virtual.host import Reply, VirtualHost

FORWARD, UNDO = Direction.FORWARD, Direction.UNDO
OK = Reply(duration_s=1)
REFUSED = Reply(duration_s=1, error_type="SoldOut", failure_class=FailureClass.PERMANENT)
LOST = Reply(duration_s=1, lost=True)
SLOW = Reply(duration_s=99)
ONCE = RetryPolicy(maximum_attempts=1)
Script = Mapping[tuple[str, Direction], Sequence[Reply]]


@dataclass
class Told:
    """A finished run, as a reader of its journal sees it."""

    state: RunState
    events: list[Event]
    effects: list[tuple[str, Direction]]

    @property
    def ended(self) -> tuple[Status, str]:
        assert self.state.ended is not None
        return self.state.ended.status, self.state.ended.step

    def phase(self, step: str) -> StepPhase:
        return self.state.steps[step].phase

    def starts(self, direction: Direction) -> list[str]:
        return [e.step for e in self.events if isinstance(e, AttemptStarted) and e.direction is direction]

    def span(self, step: str, direction: Direction) -> tuple[float, float]:
        """When the first attempt of a step started and the last one succeeded."""
        about = [
            e
            for e in self.events
            if isinstance(e, AttemptStarted | AttemptSucceeded) and (e.step, e.direction) == (step, direction)
        ]
        return about[0].at, about[-1].at


def play(saga: Saga, script: Script, plan: Plan | None = None) -> Told:
    """Runs the saga once and holds it to the invariants."""
    events: list[Event] = []
    services = ScriptedServices(script)
    host = VirtualHost(services, lambda *_: 0.5, lambda _, event: events.append(event))
    launch = Launch(run_id="r", context={}, at=1000.0)
    host.launch(saga, launch, lambda *_: Advice(plan=plan or author_plan(saga)))
    state = host.run()["r"]
    ledger = services.ledger.get("r", [])
    assert violations(saga, events, ledger) == ()
    return Told(state, events, [(effect.step, effect.direction) for effect in ledger])


def step(name: str, *after: str, **fields: Any) -> Step:
    return Step(name=name, after=after, **fields)


def pivot(**fields: Any) -> Step:
    return Step(name="pay", kind=Kind.PIVOT, **fields)


def saga(*steps: Step, **fields: Any) -> Saga:
    return Saga(name="s", steps=steps, freedom=SagaFreedom(compensation=True), **fields)


def by_hand(action: Action, step: str = "") -> OperatorActed:
    return OperatorActed(at=0, action=action, who="Asha", why="saw to it", step=step)


def on_failure(definition: Saga, strategy: Strategy) -> Plan:
    """The author's plan with one strategy for every class of failure."""
    every = OnFailure(transient=strategy, permanent=strategy, cascading=strategy, unknown=strategy)
    plan = author_plan(definition)
    return replace(plan, steps=tuple(replace(each, on_failure=every) for each in plan.steps))


# Row: the step's effect may or may not have happened.


def test_unknown_idempotent_step_is_retried_under_its_key() -> None:
    """An idempotent step with a lost reply is repeated, takes one effect, and the run completes."""
    told = play(saga(step("a", idempotent=True)), {("a", FORWARD): [LOST, OK]})
    assert told.ended == (Status.COMPLETED, "")
    assert told.starts(FORWARD) == ["a", "a"]
    assert told.effects == [("a", FORWARD)]


def test_unknown_step_that_is_not_idempotent_is_compensated() -> None:
    """A step that may not be repeated is never repeated after a timeout: its compensation runs."""
    told = play(saga(step("a"), pivot()), {("a", FORWARD): [SLOW]})
    assert told.ended == (Status.COMPENSATED, "a")
    assert (told.starts(FORWARD), told.starts(UNDO)) == (["a"], ["a"])


def test_unknown_is_never_forgotten() -> None:
    """A refusal after an unknown attempt does not prove that nothing happened: the step is compensated."""
    told = play(saga(step("a", idempotent=True), pivot()), {("a", FORWARD): [LOST, REFUSED]})
    assert told.starts(FORWARD) == ["a"] * 3
    assert told.phase("a") is StepPhase.UNDONE


def test_refused_step_is_not_compensated() -> None:
    """A step that was only refused has no effect, and no compensation runs for it."""
    told = play(saga(step("a"), step("b"), pivot()), {("b", FORWARD): [REFUSED]})
    assert told.starts(UNDO) == ["a"]
    assert (told.phase("b"), told.phase("pay")) == (StepPhase.FAILED, StepPhase.PENDING)


def test_error_types_that_are_not_retryable_end_the_retries() -> None:
    """`non_retryable_error_types` makes the first such refusal final."""
    retry = RetryPolicy(non_retryable_error_types=("SoldOut",))
    assert play(saga(step("a", retry=retry)), {("a", FORWARD): [REFUSED]}).starts(FORWARD) == ["a"]


def test_unknown_read_only_step_is_retried_and_never_compensated() -> None:
    """Reading leaves nothing behind: a lost reading is repeated, and its final failure is definite."""
    told = play(saga(step("look", kind=Kind.READ_ONLY), pivot()), {("look", FORWARD): [LOST]})
    assert (told.starts(FORWARD), told.starts(UNDO)) == (["look"] * 3, [])
    assert told.ended == (Status.COMPENSATED, "look")


# Row: the pivot's outcome is unknown.


def test_unknown_pivot_needs_attention_and_nothing_is_compensated() -> None:
    """Nobody may assume that an uncertain pivot failed: the run stops for a person, effects stand."""
    told = play(saga(step("a"), pivot()), {("pay", FORWARD): [LOST]})
    assert told.ended == (Status.NEEDS_ATTENTION, "pay")
    assert told.starts(UNDO) == []
    assert told.phase("a") is StepPhase.SUCCEEDED


def test_unknown_idempotent_pivot_is_asked_again() -> None:
    """A pivot that honours its key is repeated until it is known, whatever the strategy says."""
    definition = saga(step("a"), pivot(idempotent=True))
    plan = on_failure(definition, Strategy.IMMEDIATE_FULL_COMPENSATION)
    assert play(definition, {("pay", FORWARD): [LOST, OK]}, plan).ended == (Status.COMPLETED, "")
    told = play(definition, {("pay", FORWARD): [LOST]}, plan)
    assert (told.starts(FORWARD).count("pay"), told.ended[0]) == (3, Status.NEEDS_ATTENTION)


def test_refused_pivot_is_compensated() -> None:
    """A pivot that is definitely refused turns the run back like any other step."""
    told = play(saga(step("a"), pivot()), {("pay", FORWARD): [REFUSED]})
    assert (told.ended, told.starts(UNDO)) == ((Status.COMPENSATED, "pay"), ["a"])


def test_unknown_is_probed_first() -> None:
    """Where a step has a probe, it is asked before anything is concluded, for the pivot as for any other."""
    for kind in (Kind.COMPENSATABLE, Kind.PIVOT):
        definition = saga(Step(name="a", kind=kind, probe=Probe()))
        happened = Reply(duration_s=1, answer=Answer.HAPPENED)
        told = play(definition, {("a", FORWARD): [LOST], ("a", Direction.PROBE): [happened]})
        assert (told.ended, told.starts(FORWARD)) == ((Status.COMPLETED, ""), ["a"])
        assert told.starts(Direction.PROBE) == ["a"]


# Row: the compensation arrives for an action that never landed.


def test_compensation_of_an_action_that_never_landed_is_a_success() -> None:
    """The undo runs because nobody can tell, finds nothing to undo, and the run is compensated."""
    trial = kit.play(saga(step("a"), pivot()), {("a", FORWARD): [SLOW]}, acts=lambda *_: False).sound()
    assert trial.ended == (Status.COMPENSATED, "a")
    assert [each.direction for each in trial.ledger["run"]] == [UNDO]


# Row: compensation registered before the step starts.


def test_compensation_is_registered_before_the_step_starts() -> None:
    """The journaled start alone, with the engine gone at once, already leads to the undo."""
    definition = saga(step("a"), pivot())
    started = RunStarted(
        run_id="r", at=0, definition_hash=definition.definition_hash, plan=author_plan(definition)
    )
    state = begin(definition, started)
    _, [launch] = advance(state, [], 0)
    [open_attempt] = in_flight(state)
    assert (open_attempt.step, launch.step) == ("a", "a")
    crashed = AttemptUnknown(at=9, step="a", direction=FORWARD, attempt=1, reason=UnknownReason.CRASHED)
    _, [undo] = advance(state, [crashed], 9)
    assert isinstance(undo, AttemptStarted)
    assert (undo.step, undo.direction) == ("a", UNDO)


# Row: compensation order.


def test_strict_order_is_reverse_start_order_one_at_a_time() -> None:
    """STANDARD_COMPENSATION undoes the last started first, and waits for each undo."""
    definition = saga(step("a"), step("b"), step("c"), pivot(), stages=(("a", "b", "c"), ("pay",)))
    told = play(definition, {("pay", FORWARD): [REFUSED]})
    assert told.starts(UNDO) == ["c", "b", "a"]
    assert told.span("c", UNDO)[1] <= told.span("b", UNDO)[0]
    assert told.span("b", UNDO)[1] <= told.span("a", UNDO)[0]


def test_strict_order_waits_while_an_undo_backs_off() -> None:
    """Nothing else is undone while the undo before it is being retried."""
    definition = saga(step("a"), step("b"), pivot())
    told = play(definition, {("pay", FORWARD): [REFUSED], ("b", UNDO): [REFUSED, LOST, OK]})
    assert told.starts(UNDO) == ["b", "b", "b", "a"]


def test_parallel_order_follows_the_reversed_dependencies() -> None:
    """Undos run side by side, but what depends on a step is undone before the step."""
    definition = saga(step("a"), step("b", "a"), step("c"), pivot())
    for strategy in (Strategy.RETRY_WITH_COMPENSATION, Strategy.IMMEDIATE_FULL_COMPENSATION):
        told = play(definition, {("pay", FORWARD): [REFUSED]}, on_failure(definition, strategy))
        assert told.span("b", UNDO)[0] == told.span("c", UNDO)[0]
        assert told.span("b", UNDO)[1] <= told.span("a", UNDO)[0]


# Row: failure class known.


def test_immediate_compensation_does_not_retry() -> None:
    """IMMEDIATE_FULL_COMPENSATION gives up at the first failure; the other strategies use their attempts."""
    definition = saga(step("a"), pivot())
    for strategy, attempts in (
        (Strategy.IMMEDIATE_FULL_COMPENSATION, 1),
        (Strategy.RETRY_WITH_COMPENSATION, 3),
        (Strategy.STANDARD_COMPENSATION, 3),
    ):
        told = play(definition, {("a", FORWARD): [REFUSED]}, on_failure(definition, strategy))
        assert told.starts(FORWARD) == ["a"] * attempts


def test_the_class_of_the_failure_chooses_the_strategy() -> None:
    """A plan may give up at once on permanent failures and still retry transient ones."""
    definition = saga(step("a"), pivot())
    plan = author_plan(definition)
    picky = OnFailure(permanent=Strategy.IMMEDIATE_FULL_COMPENSATION)
    plan = replace(plan, steps=tuple(replace(each, on_failure=picky) for each in plan.steps))
    transient = replace(REFUSED, failure_class=FailureClass.TRANSIENT)
    assert play(definition, {("a", FORWARD): [REFUSED]}, plan).starts(FORWARD) == ["a"]
    assert play(definition, {("a", FORWARD): [transient, REFUSED]}, plan).starts(FORWARD) == ["a", "a"]


def test_in_flight_steps_settle_before_anything_is_undone() -> None:
    """A step still in flight when the run turns back is waited for, then undone if it succeeded."""
    definition = saga(
        step("fast", retry=ONCE),
        step("slow"),
        step("never", "slow"),
        pivot(),
        stages=(("fast", "slow"), ("never",), ("pay",)),
    )
    told = play(definition, {("fast", FORWARD): [REFUSED], ("slow", FORWARD): [Reply(duration_s=7)]})
    assert told.span("slow", UNDO)[0] == 1007.0
    assert (told.starts(UNDO), told.phase("never")) == (["slow"], StepPhase.PENDING)


# Row: compensation fails for good.


def test_compensation_that_fails_for_good_needs_attention() -> None:
    """The failed undo is listed with its reason, and every other undo still runs."""
    broken = Compensation(retry=RetryPolicy(maximum_attempts=4))
    definition = saga(step("a"), step("b", "a", compensation=broken), pivot())
    told = play(definition, {("pay", FORWARD): [REFUSED], ("b", UNDO): [LOST, REFUSED, SLOW]})
    assert told.ended == (Status.NEEDS_ATTENTION, "b")
    assert (told.phase("a"), told.phase("b")) == (StepPhase.UNDONE, StepPhase.COMPENSATION_FAILED)
    assert told.starts(UNDO) == ["b"] * 4 + ["a"]


def test_effect_without_compensation_needs_attention() -> None:
    """A run that cannot take back an effect never says that it was compensated."""
    definition = saga(step("note", kind=Kind.RETRIABLE), step("a"))
    told = play(definition, {("a", FORWARD): [REFUSED]})
    assert told.ended == (Status.NEEDS_ATTENTION, "note")


def test_an_operator_settles_a_failed_compensation() -> None:
    """It is listed with what would help, and that does help, each time recorded with who and why."""
    definition = saga(step("a", compensation=Compensation(retry=ONCE)), pivot(retry=ONCE))
    script = {("pay", FORWARD): [REFUSED, OK], ("a", UNDO): [REFUSED, OK]}
    stuck = kit.play(definition, script).sound()
    assert list(next_actions(stuck.state)) == [("a", (Action.RETRY, Action.RESOLVE, Action.ABANDON))]
    for action, status in (
        (Action.RETRY, Status.COMPENSATED),
        (Action.RESOLVE, Status.COMPENSATED),
        (Action.ABANDON, Status.ABANDONED),
    ):
        trial = kit.play(definition, script, wishes=[(60.0, by_hand(action, "a"))]).sound()
        assert trial.ended[0] is status
        [acted] = [event for event in trial.events["run"] if isinstance(event, OperatorActed)]
        assert (acted.who, acted.why) == ("Asha", "saw to it")
    again = [(60.0, by_hand(Action.RESOLVE, "a")), (70.0, by_hand(Action.REDRIVE))]
    assert kit.play(definition, script, wishes=again).sound().ended == (Status.COMPLETED, "")


# Row: cancellation, the saga deadline, circuit open: the compensation still runs.


def test_an_open_circuit_does_not_hold_up_an_undo() -> None:
    """A call that an open breaker refused has no effect; what was done before it is undone all the same."""
    shut = Reply(duration_s=0, error_type="CircuitOpen", failure_class=FailureClass.CASCADING)
    told = play(saga(step("a"), step("b", breaker=Breaker()), pivot()), {("b", FORWARD): [shut]})
    assert (told.ended, told.starts(UNDO)) == ((Status.COMPENSATED, "b"), ["a"])


def test_deadline_before_the_pivot_turns_back() -> None:
    """Past its deadline a run undoes what it did; steps in flight settle first, backing-off ones give up."""
    definition = saga(step("a"), step("b"), pivot(), deadline_s=2.5)
    told = play(definition, {("b", FORWARD): [Reply(duration_s=5)]})
    assert told.ended[0] is Status.COMPENSATED
    assert told.starts(UNDO) == ["b", "a"] or told.starts(UNDO) == ["a", "b"]
    assert told.span("b", UNDO)[0] == 1006.0
    waiting = play(definition, {("b", FORWARD): [REFUSED]})
    assert [event.at for event in waiting.events if isinstance(event, DeadlineReached)] == [1002.5]
    assert waiting.starts(FORWARD) == ["a", "b"]
    assert waiting.starts(UNDO) == ["a"]


def test_deadline_after_the_pivot_changes_nothing() -> None:
    """Once the pivot has succeeded, the deadline is recorded and the run goes forward."""
    definition = saga(pivot(), step("tell", "pay", kind=Kind.RETRIABLE), deadline_s=1.5)
    told = play(definition, {("tell", FORWARD): [Reply(duration_s=5)]})
    assert told.ended == (Status.COMPLETED, "")
    assert any(isinstance(event, DeadlineReached) for event in told.events)


def test_deadline_does_not_abandon_an_uncertain_pivot() -> None:
    """A pivot of unknown outcome is asked again even past the deadline, and a success then wins."""
    definition = saga(step("a"), pivot(idempotent=True), deadline_s=2.1)
    told = play(definition, {("pay", FORWARD): [LOST, OK]})
    assert told.ended == (Status.COMPLETED, "")


def test_cancel_before_and_after_the_pivot() -> None:
    """A cancel before the pivot undoes side by side; after it nothing changes; both are recorded."""
    definition = saga(step("a"), step("b"), pivot(), step("tell", "pay", kind=Kind.RETRIABLE))
    cancel = CancelRequested(at=5, who="Asha", why="fell ill")
    started = RunStarted(
        run_id="r", at=0, definition_hash=definition.definition_hash, plan=author_plan(definition)
    )
    state = begin(definition, started)
    _, launches = advance(state, [], 0)
    for _ in range(2):
        done = AttemptSucceeded(at=1, step=launches[0].step, direction=FORWARD, attempt=1)
        _, launches = advance(state, [done], 1)
    assert launches[0].step == "pay"
    turned = apply(state, cancel)
    assert turned.abort is not None
    assert turned.abort.cause == "cancelled by Asha: fell ill"
    refused = apply(
        turned, AttemptUnknown(at=6, step="pay", direction=FORWARD, attempt=1, reason=UnknownReason.TIMED_OUT)
    )
    assert refused.attention
    _, launches = advance(turned, [AttemptSucceeded(at=6, step="pay", direction=FORWARD, attempt=1)], 6)
    assert not turned.aborting
    assert launches[0].step == "tell"
    assert apply(turned, cancel).status is Status.RUNNING


# Row: after the pivot.


def test_exhausted_retriable_step_after_the_pivot_needs_attention() -> None:
    """After the pivot nothing is undone: a step that cannot be finished waits for a person, others go on."""
    definition = saga(
        step("a"),
        pivot(),
        step("tell", "pay", kind=Kind.RETRIABLE),
        step("file", "pay", kind=Kind.RETRIABLE),
        stages=(("a",), ("pay",), ("tell", "file")),
    )
    told = play(definition, {("tell", FORWARD): [REFUSED]})
    assert told.ended == (Status.NEEDS_ATTENTION, "tell")
    assert (told.phase("file"), told.starts(UNDO)) == (StepPhase.SUCCEEDED, [])


def test_uncertain_retriable_step_after_the_pivot_is_not_undone() -> None:
    """Even a retriable step that has a compensation is not taken back once the pivot has succeeded."""
    definition = saga(pivot(), step("tell", "pay", kind=Kind.RETRIABLE, compensation=Compensation()))
    told = play(definition, {("tell", FORWARD): [LOST]})
    assert told.ended == (Status.NEEDS_ATTENTION, "tell")
    assert told.starts(UNDO) == []


def test_a_pivot_that_wins_does_not_hide_a_step_that_failed_beside_it() -> None:
    """A required step fails while the pivot is in flight, and the pivot succeeds: a person must look."""
    beside = step("beside", kind=Kind.RETRIABLE, retry=ONCE, compensation=Compensation())
    definition = saga(
        beside, pivot(), step("tell", "beside", kind=Kind.RETRIABLE), stages=(("beside", "pay"), ("tell",))
    )
    told = play(definition, {("beside", FORWARD): [REFUSED], ("pay", FORWARD): [Reply(duration_s=5)]})
    assert told.ended == (Status.NEEDS_ATTENTION, "beside")
    assert (told.phase("pay"), told.starts(UNDO)) == (StepPhase.SUCCEEDED, [])


# Row: the operator gives a saga up.


def test_a_run_given_up_is_abandoned_with_who_and_why() -> None:
    """ABANDONED is an end of its own, and says who decided it and why."""
    definition = saga(pivot(), step("tell", "pay", kind=Kind.RETRIABLE))
    trial = kit.play(
        definition, {("tell", FORWARD): [REFUSED]}, wishes=[(60.0, by_hand(Action.ABANDON, "tell"))]
    ).sound()
    assert trial.state.ended is not None
    assert (trial.state.status, trial.state.ended.reason) == (
        Status.ABANDONED,
        "abandoned by Asha: saw to it",
    )


# Row: crash anywhere.


def test_an_attempt_cut_off_by_a_crash_is_repeated_under_its_key() -> None:
    """The journal knows the attempt in flight, which is tried again under the key it had before."""
    definition = saga(step("a", idempotent=True))
    started = RunStarted(
        run_id="r", at=0, definition_hash=definition.definition_hash, plan=author_plan(definition)
    )
    state = begin(definition, started)
    journal, _ = advance(state, [], 0)
    recovered = replay(definition, [started, *journal])
    [cut_off] = in_flight(recovered)
    lost = AttemptUnknown(
        at=5, step="a", direction=FORWARD, attempt=cut_off.attempt, reason=UnknownReason.CRASHED, jitter=0.0
    )
    _, [again] = advance(recovered, [lost], 5)
    assert (again.step, again.attempt, recovered.steps["a"].round) == ("a", 2, 0)
    assert idempotency_key("r", "a", FORWARD) == idempotency_key("r", "a", FORWARD, 0)
    assert idempotency_key("r", "a", FORWARD) != idempotency_key("r", "a", UNDO)


# Row: failure class known: forward recovery and savepoints.


def test_forward_recovery_runs_the_alternative() -> None:
    """A step that was given up is replaced, and the run completes."""
    definition = saga(step("fly"), Step(name="bus", alternative_to="fly"), pivot())
    told = play(definition, {("fly", FORWARD): [REFUSED]})
    assert (told.ended, told.phase("bus")) == ((Status.COMPLETED, ""), StepPhase.SUCCEEDED)


def test_a_savepoint_bounds_what_is_undone() -> None:
    """What came after the savepoint is undone and runs again; what came before it stands."""
    back = OnFailure.all(Strategy.ROLLBACK_TO_SAVEPOINT)
    definition = saga(
        step("a"), step("safe", savepoint=True), step("b"), step("c", on_failure=back, retry=ONCE), pivot()
    )
    told = play(definition, {("c", FORWARD): [REFUSED, OK]})
    assert (told.ended, told.starts(UNDO)) == ((Status.COMPLETED, ""), ["b"])


# Row: step timeout; optional steps.


def test_a_timeout_leads_to_what_the_author_says() -> None:
    """RETRY where that is safe, SKIP where the step is optional, else COMPENSATE."""
    for on_timeout, fields, ended in (
        (OnTimeout.RETRY, {"idempotent": True}, Status.COMPLETED),
        (OnTimeout.SKIP, {"optional": True}, Status.COMPLETED),
        (OnTimeout.COMPENSATE, {"idempotent": True}, Status.COMPENSATED),
        (None, {}, Status.COMPENSATED),
    ):
        told = play(saga(step("a", on_timeout=on_timeout, **fields)), {("a", FORWARD): [SLOW, OK]})
        assert told.ended[0] is ended
        assert (told.starts(FORWARD) == ["a", "a"]) == (on_timeout is OnTimeout.RETRY)


# Row: human approval.


def test_an_approval_waits_and_expires() -> None:
    """The run waits for its signal as long as the author says, and then does what the author says."""
    for on_expiry, ended in ((OnExpiry.APPROVE, Status.COMPLETED), (OnExpiry.REJECT, Status.COMPENSATED)):
        approval = Approval(expires_after_s=3600.0, on_expiry=on_expiry)
        definition = saga(step("a"), step("boss", kind=Kind.READ_ONLY, approval=approval), pivot())
        assert play(definition, {}).ended[0] is ended
        yes = SignalReceived(at=0, name="boss", who="Asha")
        trial = kit.play(definition, {}, wishes=[(1800.0, yes)]).sound()
        assert trial.ended == (Status.COMPLETED, "")


def test_optional_step_is_skipped() -> None:
    """An optional step that is refused is left out, and what waits for it starts."""
    told = play(saga(step("a", optional=True), step("b", "a"), pivot()), {("a", FORWARD): [REFUSED]})
    assert (told.ended, told.phase("a")) == ((Status.COMPLETED, ""), StepPhase.SKIPPED)


def test_uncertain_optional_step_is_undone_at_once_and_the_saga_goes_on() -> None:
    """What waits for an uncertain optional step starts only after its undo."""
    told = play(saga(step("a", optional=True), step("b", "a"), pivot()), {("a", FORWARD): [LOST]})
    assert (told.ended, told.phase("a")) == ((Status.COMPLETED, ""), StepPhase.UNDONE)
    assert told.span("a", UNDO)[1] <= told.span("b", FORWARD)[0]


def test_optional_step_whose_undo_fails_needs_attention_at_the_end() -> None:
    """The saga goes on, and its end names the effect that may be left."""
    broken = Compensation(retry=ONCE)
    definition = saga(step("a", optional=True, compensation=broken), step("b", "a"), pivot())
    told = play(definition, {("a", FORWARD): [LOST], ("a", UNDO): [REFUSED]})
    assert (told.ended, told.phase("pay")) == ((Status.NEEDS_ATTENTION, "a"), StepPhase.SUCCEEDED)


def test_uncertain_optional_step_without_compensation_holds_nobody_up() -> None:
    """An optional step that may or may not have happened is right either way: what waits for it starts."""
    definition = saga(
        pivot(),
        step("mail", "pay", kind=Kind.RETRIABLE, optional=True),
        step("file", "mail", kind=Kind.RETRIABLE),
    )
    told = play(definition, {("mail", FORWARD): [LOST]})
    assert (told.ended, told.phase("file")) == ((Status.COMPLETED, ""), StepPhase.SUCCEEDED)


def test_attempts_wait_with_full_jitter() -> None:
    """The wait before attempt k+1 is the draw times the ceiling, and the ceilings grow."""
    told = play(saga(step("a", retry=RetryPolicy(maximum_attempts=4))), {("a", FORWARD): [REFUSED]})
    starts = [event.at for event in told.events if isinstance(event, AttemptStarted)]
    assert [after - before for before, after in itertools.pairwise(starts)] == [1.5, 2.0, 3.0]


# Row: definition changes while runs are live.


def test_a_run_is_pinned_to_plan_and_definition() -> None:
    """The start event alone says which definition and plan the whole run follows."""
    definition = saga(step("a"))
    [first, *_] = play(definition, {}).events
    assert isinstance(first, RunStarted)
    assert (first.definition_hash, first.plan) == (definition.definition_hash, author_plan(definition))
