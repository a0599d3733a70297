"""One saga played once in virtual time, with everything that happened, ready to be held to the invariants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from sagacity_engine.advisor import Advice, Launch
from sagacity_engine.events import AttemptStarted, Direction, Event, OperatorActed, Status
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.plan import Plan, author_plan
from sagacity_engine.saga import Saga
from sagacity_engine.testing.checker.invariants import violations
from sagacity_engine.testing.effects import Effect
from sagacity_engine.testing.services import Script, ScriptedServices
from sagacity_engine.testing.wishes import Attend, Wish
from sagacity_engine.virtual.calls import Reply
from sagacity_engine.virtual.host import VirtualHost

RUN_ID = "run"
ROUNDS_MAX = 1_000
"""How often everything may stand still before whoever attends to it is asked no more."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one run and its inner runs, by run id; the outermost is `RUN_ID`."""

    saga: Saga
    events: Mapping[str, list[Event]]
    states: Mapping[str, RunState]
    ledger: Mapping[str, list[Effect]]

    @property
    def state(self) -> RunState:
        """Where the outermost run stands at the end."""
        return self.states[RUN_ID]

    @property
    def ended(self) -> tuple[Status, str]:
        """How the outermost run stands, and the step it names if it needs attention or turned back."""
        ended = self.state.ended
        return self.state.status, "" if ended is None else ended.step

    def phase(self, step: str) -> StepPhase:
        """Where a step of the outermost run stands."""
        return self.state.steps[step].phase

    def started(self, direction: Direction = Direction.FORWARD, run_id: str = RUN_ID) -> list[str]:
        """The steps of all attempts in one direction, in the order of their intents."""
        return [
            event.step
            for event in self.events[run_id]
            if isinstance(event, AttemptStarted) and event.direction is direction
        ]

    def times(self, kind: type[Event], step: str = "", run_id: str = RUN_ID) -> list[float]:
        """When events of one kind happened, of one step if it is named; in seconds after the launch."""
        return [
            event.at - self.events[RUN_ID][0].at
            for event in self.events[run_id]
            if isinstance(event, kind) and (not step or getattr(event, "step", "") == step)
        ]

    def sound(self) -> Trial:
        """This trial, if it breaches nothing; else raises `AssertionError` with every breach."""
        if found := self.violations():
            raise AssertionError("; ".join(found))
        return self

    def violations(self) -> tuple[str, ...]:
        """Every breach in any of the runs, and between them; empty when all is well."""
        found = [
            f"{run_id}: {breach}"
            for run_id, events in self.events.items()
            for breach in violations(saga_of(self.saga, run_id), events, self.ledger.get(run_id, ()))
        ]
        return (*found, *self._nesting_breaches())

    def _nesting_breaches(self) -> Iterator[str]:
        """A run that says it took everything back left no inner run standing, unless a person said so."""
        for run_id, state in self.states.items():
            outer_id = run_id.rsplit("/", 2)[0]
            outer = self.states.get(outer_id)
            if outer_id == run_id or outer is None or outer.ended is None or state.ended is None:
                continue
            by_hand = any(isinstance(each, OperatorActed) for each in self.events[outer_id])
            status = state.ended.status
            if outer.ended.status is Status.COMPENSATED and not by_hand and status is Status.COMPLETED:
                yield f"{run_id}: I3 the inner run stands though the one above it is COMPENSATED"


def play(
    saga: Saga,
    script: Script | None = None,
    plan: Plan | None = None,
    *,
    wishes: Iterable[Wish] = (),
    jitter: float | Random = 0.5,
    acts: Callable[[AttemptStarted, Reply], bool] | None = None,
    run_input: Mapping[str, Any] | None = None,
    attend: Attend | None = None,
    at: float = 1_000.0,
) -> Trial:
    """Plays the saga, by default as its author planned it and with all participants well.

    Inner runs follow their authors' plans. `attend` is asked about every run whenever everything stands
    still, until it does nothing more.
    """
    services = ScriptedServices(script or {}, acts=acts)
    events: dict[str, list[Event]] = {}
    draw = jitter.random if isinstance(jitter, Random) else lambda: jitter
    host = VirtualHost(services, lambda *_: draw(), journals=events)

    def planner(asked: Saga, launch: Launch) -> Advice:
        del launch
        return Advice(plan=plan if plan is not None and asked is saga else author_plan(asked))

    launch = Launch(run_id=RUN_ID, context={}, at=at)
    host.launch(saga, launch, planner, run_input={"room": 7} if run_input is None else run_input)
    for after_s, event in wishes:
        host.ask(at + after_s, RUN_ID, replace(event, at=at + after_s))
    host.run()
    for _ in range(ROUNDS_MAX):
        if attend is None or not _attended(host, attend):
            break
        host.run()
    return Trial(saga, events, host.states(), services.ledger)


def _attended(host: VirtualHost, attend: Attend) -> bool:
    """Whether a person does something about some run."""
    acted = False
    for run_id, state in host.states().items():
        event = attend(state, host.now)
        if event is not None:
            host.ask(event.at, run_id, event)
            acted = True
    return acted


def saga_of(saga: Saga, run_id: str) -> Saga:
    """The definition of an inner run, by its id: pairs of step and attempt follow the outermost run's id."""
    for step in run_id.split("/")[1::2]:
        inner = saga.by_name[step].sub_saga
        assert inner is not None, "only steps that are sagas have inner runs"
        saga = inner.saga
    return saga
