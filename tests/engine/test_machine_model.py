"""One run against a small reference model: the same calls in flight and the same end, whatever happens to it.

The model knows one saga, whose steps wait for nothing but each other and retry at once. It is written as a
table of words per step and one function that settles what is owed, not as the machine is.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sagacity_engine.events import (
    Action,
    AttemptFailed,
    AttemptSucceeded,
    AttemptUnknown,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    RunStarted,
    UnknownReason,
)
from sagacity_engine.machine.machine import advance, replay
from sagacity_engine.machine.operations import refusal
from sagacity_engine.machine.run_state import begin, in_flight
from sagacity_engine.parts import Compensation, Kind
from sagacity_engine.plan import author_plan
from sagacity_engine.retry import RetryPolicy
from sagacity_engine.saga import Saga, Step
from sagacity_engine.strategy import OnFailure, Strategy
from sagacity_engine.testing import violations

AT_ONCE = RetryPolicy(maximum_attempts=2, initial_interval_s=0.0)
UNDO = Compensation(retry=AT_ONCE)
BOTH = OnFailure.all(Strategy.RETRY_WITH_COMPENSATION)
SAGA = Saga(
    name="model",
    steps=(
        Step(name="a", retry=AT_ONCE, compensation=UNDO, on_failure=BOTH),
        Step(name="b", retry=AT_ONCE, compensation=UNDO, on_failure=BOTH, idempotent=True, optional=True),
        Step(name="c", after=("a",), retry=AT_ONCE, compensation=UNDO, on_failure=BOTH, idempotent=True),
        Step(name="pay", kind=Kind.PIVOT, retry=AT_ONCE, on_failure=BOTH),
        Step(name="tell", kind=Kind.RETRIABLE, retry=AT_ONCE, on_failure=BOTH),
        Step(name="file", kind=Kind.RETRIABLE, retry=AT_ONCE, on_failure=BOTH, idempotent=True),
    ),
    stages=(("a", "b"), ("c",), ("pay",), ("tell", "file")),
)
NEEDS = {"a": "", "b": "", "c": "ab", "pay": "abc", "tell": ("pay",), "file": ("pay",)}
UNDOABLE, SAFE, TRIES = "abc", ("b", "c", "file"), 2


@dataclass
class Word:
    """A step: todo, calling, again, done, refused, doubt, left, undoing, back again, gone or stuck."""

    is_: str = "todo"
    tries: int = 0
    undos: int = 0
    maybe: bool = False


@dataclass
class Model:
    """The reference: what the run should look like after each thing that happens."""

    steps: dict[str, Word] = field(default_factory=lambda: {name: Word() for name in NEEDS})
    aborted: bool = False
    paused: bool = False
    abandoned: bool = False
    attention: set[str] = field(default_factory=set)
    end: str = ""

    @property
    def committed(self) -> bool:
        return self.steps["pay"].is_ == "done"

    @property
    def back(self) -> bool:
        return self.aborted and not self.committed

    def calls(self) -> set[tuple[str, str]]:
        ways = {"calling": "forward", "undoing": "undo"}
        return {(name, ways[step.is_]) for name, step in self.steps.items() if step.is_ in ways}

    def close(self, name: str, outcome: str) -> None:
        step = self.steps[name]
        if step.is_ == "undoing":
            step.is_ = "gone" if outcome == "ok" else "back again" if step.undos < TRIES else "stuck"
            return
        if outcome == "ok":
            step.is_ = "done"
            return
        step.maybe = step.maybe or outcome == "lost"
        in_doubt = name == "pay" and step.maybe
        willing = (in_doubt or not self.back) and (outcome == "no" or name in SAFE)
        if willing and step.tries < TRIES:
            step.is_ = "again"
        elif step.maybe:
            step.is_ = "doubt"
        else:
            step.is_ = "left" if name == "b" else "refused"
        if step.is_ in ("doubt", "refused") and name != "b":
            if in_doubt or self.committed:
                self.attention.add(name)
            else:
                self.abort()

    def abort(self) -> None:
        if self.committed or self.aborted:
            return
        self.aborted = True
        for name, step in self.steps.items():
            if step.is_ == "again" and not (name == "pay" and step.maybe):
                step.is_ = "doubt" if step.maybe else "refused"

    def settled(self, name: str) -> bool:
        step = self.steps[name]
        return step.is_ in ("done", "left") or (name == "b" and step.is_ in ("gone", "stuck", "refused"))

    def owed(self, name: str) -> bool:
        return name in UNDOABLE and self.steps[name].is_ in ("done", "doubt", "undoing", "back again")

    def call(self, name: str, *, undo: bool = False) -> None:
        step = self.steps[name]
        step.is_ = "undoing" if undo else "calling"
        step.tries, step.undos = step.tries + (not undo), step.undos + undo

    def settle(self) -> None:
        """Starts all that is owed now, and ends the run when nothing is."""
        if self.end or (self.paused and not self.abandoned):
            return
        if self.abandoned:
            self.end = "" if self.calls() else "ABANDONED"
            return
        for name, step in self.steps.items():
            if step.is_ in ("again", "back again"):
                self.call(name, undo=step.is_ == "back again")
        forward = any(way == "forward" for _, way in self.calls())
        for name, step in self.steps.items():
            if self.back:
                held = name == "a" and self.owed("c")
                if not (self.attention or forward or held) and self.owed(name) and step.is_ != "undoing":
                    self.call(name, undo=True)
            elif self.steps["pay"].is_ != "doubt":
                if step.is_ == "todo" and all(self.settled(before) for before in NEEDS[name]):
                    self.call(name)
                elif name == "b" and step.is_ == "doubt":
                    self.call(name, undo=True)
        if not self.calls():
            stuck = any(step.is_ == "stuck" for step in self.steps.values())
            undone = not self.back and any(
                step.is_ in ("refused", "doubt", "gone") and not self.settled(name)
                for name, step in self.steps.items()
            )
            attend = self.attention or stuck or undone
            self.end = "NEEDS_ATTENTION" if attend else "COMPENSATED" if self.back else "COMPLETED"

    def may(self, action: Action, name: str) -> bool:
        if self.end not in ("", "NEEDS_ATTENTION"):
            return False
        is_, doubtful = self.steps[name].is_, name == "pay" and self.steps[name].is_ in ("doubt", "again")
        if is_ in ("stuck", "back again"):
            return action is not Action.SKIP
        if action is Action.RESOLVE:
            return is_ == "doubt" and (self.back or doubtful)
        legal = ("again", "refused", "doubt") + (("todo",) if action is Action.SKIP else ())
        return is_ in legal and (doubtful or not self.back)

    def act(self, action: Action, name: str) -> None:
        step, self.end = self.steps[name], ""
        was = step.is_
        self.attention.discard(name)
        if action is Action.RETRY:
            step.tries = step.undos = 0
            step.is_ = "back again" if was in ("stuck", "back again") else "again"
        elif action is Action.SKIP:
            step.is_ = "done" if name == "pay" or (step.maybe and name in UNDOABLE) else "left"
        else:
            step.is_ = "gone"
            if name == "pay":
                self.abort()


class AgainstTheModel(RuleBasedStateMachine):
    """Whatever happens next happens to both."""

    def __init__(self) -> None:
        super().__init__()
        plan = author_plan(SAGA)
        started = RunStarted(run_id="r", at=0, definition_hash=SAGA.definition_hash, plan=plan)
        self.events: list[Event] = [started]
        self.now = 0.0
        self.state, self.model = begin(SAGA, started), Model()
        self.both()

    def both(self, *happened: Event) -> None:
        journal, _ = advance(self.state, happened, self.now)
        self.events += journal
        self.now += 1
        self.model.settle()

    @precondition(lambda self: self.model.calls())
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "no", "lost"]))
    def a_call_ends(self, data: st.DataObject, outcome: str) -> None:
        """Some call in flight comes to its end."""
        attempt = data.draw(st.sampled_from(list(in_flight(self.state))))
        which: dict[str, Any] = {
            "at": self.now,
            "step": attempt.step,
            "direction": attempt.direction,
            "attempt": attempt.attempt,
        }
        event: Event
        if outcome == "ok":
            event = AttemptSucceeded(**which)
        elif outcome == "no":
            event = AttemptFailed(**which, error_type="No")
        else:
            event = AttemptUnknown(**which, reason=UnknownReason.LOST_REPLY)
        self.model.close(attempt.step, outcome)
        self.both(event)

    @precondition(lambda self: not self.model.end)
    @rule()
    def somebody_cancels(self) -> None:
        """The run is to turn back."""
        self.model.abort()
        self.both(CancelRequested(at=self.now, who="Asha"))

    @rule(
        action=st.sampled_from([Action.RETRY, Action.SKIP, Action.RESOLVE]), name=st.sampled_from(SAGA.names)
    )
    def somebody_acts(self, action: Action, name: str) -> None:
        """A person decides something for a step, where that is possible."""
        event = OperatorActed(at=self.now, action=action, who="Asha", why="so", step=name)
        assert (refusal(self.state, event) == "") == self.model.may(action, name)
        if self.model.may(action, name):
            self.model.act(action, name)
            self.both(event)

    @precondition(lambda self: not self.model.end)
    @rule()
    def somebody_pauses_or_resumes(self) -> None:
        """A paused run goes on, another is paused."""
        action = Action.RESUME if self.model.paused else Action.PAUSE
        self.model.paused = not self.model.paused
        self.both(OperatorActed(at=self.now, action=action, who="Asha"))

    @precondition(lambda self: self.model.end in ("", "NEEDS_ATTENTION") and len(self.events) > 25)
    @rule()
    def somebody_gives_up(self) -> None:
        """Nothing more is done for the run."""
        self.model.abandoned, self.model.end = True, ""
        self.both(OperatorActed(at=self.now, action=Action.ABANDON, who="Asha", why="so"))

    @invariant()
    def both_agree(self) -> None:
        """The same calls are in flight, the run stands alike, and its story breaches nothing."""
        words = {Direction.FORWARD: "forward", Direction.UNDO: "undo"}
        calls = {(each.step, words[each.direction]) for each in in_flight(self.state)}
        assert calls == self.model.calls()
        assert ("" if self.state.ended is None else self.state.ended.status.value) == self.model.end
        assert set(violations(SAGA, self.events)) <= {"I1 the run has not ended"}
        assert replay(SAGA, self.events) == self.state


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
