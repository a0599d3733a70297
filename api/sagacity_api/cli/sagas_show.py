"""`sagacity sagas show`: one run's whole story, for whoever has to decide about it.

Definition, plan and advice first, then where each step stands, what happened when, why the run needs
somebody, and what may be done about it as commands to copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sagacity_api.cli.output import put, put_json, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.cli.sagas_document import run_document
from sagacity_api.cli.sagas_files import JournalFile, opened, seen_run
from sagacity_api.cli.sagas_next import Offer, offers
from sagacity_api.cli.sagas_words import event_words, moment, shown, value_shown
from sagacity_api.exit_codes import ExitCode
from sagacity_api.oversight import Oversight, Sight
from sagacity_engine import Status, author_plan
from sagacity_engine.codec import encode
from sagacity_engine.events import AttemptStarted, Direction, Event
from sagacity_engine.journal import RunSummary
from sagacity_engine.machine.endings import troubles
from sagacity_engine.machine.phases import StepPhase
from sagacity_engine.machine.run_state import RunState
from sagacity_engine.machine.sub_sagas import inner_run_id

FIRST_SHOWN, LAST_SHOWN = 50, 150
"""Of a longer timeline, how many events at its beginning and at its end are told."""

_DUE = {
    StepPhase.BACKING_OFF: "is tried again at",
    StepPhase.DOUBTFUL: "is asked about at",
    StepPhase.UNDO_BACKING_OFF: "is undone again at",
}


def show(
    journal: JournalFile,
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run's id.")],
    *,
    events: Annotated[
        bool, typer.Option("--events", help="Print the events as the journal has them.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show a run's whole story, why it stands still, and what may be done about it."""
    with opened(journal) as oversight:
        seen = seen_run(oversight, run_id)
        inner = _inner_lines(oversight, seen.state)
    if as_json:
        put_json(run_document(journal, seen, inner, with_events=events))
    elif events:
        put([_raw(number, event) for number, event in enumerate(seen.events, start=1)])
    else:
        put(list(_lines(journal, seen, inner)))
    return ExitCode.LOOK if seen.state.status is Status.NEEDS_ATTENTION else ExitCode.DONE


def _lines(journal: Path, seen: Sight, inner: dict[str, RunSummary]) -> Iterator[str]:
    state, started = seen.state, seen.state.started
    saga = state.saga
    yield f"run {shown(started.run_id)} of {saga.name}, version {saga.version}: {state.status.value}"
    yield f"definition {saga.definition_hash[:12]}, started {moment(started.at)}, {_end(state)}"
    yield from _plan_lines(state)
    yield f"input: {value_shown(dict(started.input))}"
    if started.context:
        yield f"context: {value_shown(dict(started.context))}"
    if started.parent:
        yield f"it is a step of run {shown(started.parent)}"
    yield ""
    yield from _step_table(state)
    for step, line in inner.items():
        yield f"the saga inside {step} is run {shown(line.run_id)}: {line.status.value}"
    yield ""
    yield "what happened:"
    yield from _timeline(seen)
    if waits := list(_waits(state)):
        yield ""
        yield "where it stands:"
        yield from (f"  {each}" for each in waits)
    yield from _next_lines(journal, started.run_id, offers(state), inner)


def _end(state: RunState) -> str:
    if state.ended is None:
        return "has not ended"
    return f"ended {moment(state.ended.at)}, after {state.ended.at - state.started.at:.3f} s"


def _plan_lines(state: RunState) -> Iterator[str]:
    started = state.started
    if state.plan == author_plan(state.saga):
        yield "plan: the author's"
    else:
        stages = "; ".join(", ".join(stage) for stage in state.plan.stages())
        yield f"plan: advised, in stages {stages}"
    by = f" by model {shown(started.model_version)}" if started.model_version else ""
    advice = f"{shown(started.advice_id)}{by}" if started.advice_id else "none used"
    yield f"advice: {advice}; arm {started.arm}, assigned with probability {started.propensity:g}"
    yield from (f"  {shown(reason)}" for reason in started.reasons)


def _step_table(state: RunState) -> list[str]:
    own = author_plan(state.saga).by_name
    rows = [["stage", "step", "kind", "phase", "attempts", "allowed", "undos", "timeout s", "error"]]
    for number, stage in enumerate(state.plan.stages(), start=1):
        for name in stage:
            step, plan = state.steps[name], state.plan.by_name[name]
            rows.append(
                [
                    str(number),
                    name,
                    state.saga.by_name[name].kind.value,
                    step.phase.value,
                    str(step.attempts),
                    _moved(str(own[name].retry.maximum_attempts), str(plan.retry.maximum_attempts)),
                    str(step.undo_attempts),
                    _moved(f"{own[name].start_to_close_timeout_s:g}", f"{plan.start_to_close_timeout_s:g}"),
                    shown(step.error, 80) or "-",
                ]
            )
    return table(rows, right=frozenset({0, 4, 5, 6, 7}))


def _moved(was: str, now: str) -> str:
    return now if was == now else f"{was} -> {now}"


def _timeline(seen: Sight) -> Iterator[str]:
    began_at, saga = seen.state.started.at, seen.state.saga
    left_out = len(seen.events) - FIRST_SHOWN - LAST_SHOWN
    for number, event in enumerate(seen.events):
        if left_out > 0 and number == FIRST_SHOWN:
            yield f"  ({left_out} events are left out here; --events prints all)"
        if left_out <= 0 or not FIRST_SHOWN <= number < len(seen.events) - LAST_SHOWN:
            yield f"  {event.at - began_at:+12.3f} s  {event_words(saga, event)}"


def _waits(state: RunState) -> Iterator[str]:
    """Why the run is not done, as far as its own state tells."""
    if state.status is Status.NEEDS_ATTENTION:
        yield from (f"{step} needs somebody: {shown(reason)}" for step, reason in troubles(state))
    if state.ended is not None:
        return
    if state.abandoned is not None:
        yield f"{shown(state.abandoned.who)} gave it up; it ends when an engine opens the journal"
    if state.paused_at is not None:
        yield f"it is paused since {moment(state.paused_at)}; its clocks stand still"
    if not state.locked:
        yield f"it waits for {', '.join(shown(key) for key in state.started.locks)}"
    if state.abort is not None:
        yield f"it turned back: {shown(state.abort.cause)}"
    if state.rollback is not None:
        yield f"it goes back to {state.rollback.savepoint}: {shown(state.rollback.cause)}"
    for name, step in state.steps.items():
        if step.phase is StepPhase.AWAITING:
            until = "" if step.due_at is None else f", until {moment(step.due_at)}"
            yield f"{name} waits for somebody's answer{until}"
        elif step.phase in _DUE and step.due_at is not None:
            yield f"{name} {_DUE[step.phase]} {moment(step.due_at)}"


def _next_lines(
    journal: Path, run_id: str, offered: tuple[Offer, ...], inner: dict[str, RunSummary]
) -> Iterator[str]:
    rows = [[offer.command(journal, run_id), f"# {offer.meaning}"] for offer in offered]
    rows += [
        [Offer("show", (), "").command(journal, line.run_id), f"# {step} waits for a person there"]
        for step, line in inner.items()
        if line.status is Status.NEEDS_ATTENTION
    ]
    if rows:
        yield ""
        yield "what may be done now:"
        yield from (f"  {line}" for line in table(rows))


def _inner_lines(oversight: Oversight, state: RunState) -> dict[str, RunSummary]:
    """The latest run inside each step that is a saga."""
    found: dict[str, RunSummary] = {}
    for step in state.saga.steps:
        if step.sub_saga is None or not state.steps[step.name].attempts:
            continue
        attempt = AttemptStarted(at=0.0, step=step.name, direction=Direction.FORWARD, attempt=1)
        line = oversight.line(inner_run_id(state, attempt))
        if line is not None:
            found[step.name] = line
    return found


def _raw(number: int, event: Event) -> str:
    kind, body = encode(event)
    return f"{number} {kind} {body}"
