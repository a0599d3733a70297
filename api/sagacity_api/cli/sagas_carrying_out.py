"""Carrying an order out: foretelling it, asking before many runs are touched, and telling what became of it.

The exit code is that of the worst that happened: a run that could not be read or written, then an engine that
did not answer, then what the runs refused: all of them, or only some.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.output import put, put_json, say
from sagacity_api.cli.sagas_files import opened
from sagacity_api.cli.sagas_order import Order
from sagacity_api.cli.sagas_words import event_words, shown
from sagacity_api.exit_codes import ExitCode
from sagacity_api.oversight import Fate, Outcome, Oversight
from sagacity_engine import EngineError, Event, RunSummary, SagaRefused

SHOWN_BEFORE_ASKING = 5

_TOLD = {
    Fate.WRITTEN: "in the journal; the run goes on when an engine opens it",
    Fate.ACCEPTED: "accepted by the engine that has the journal",
    Fate.REFUSED: "refused",
    Fate.WAITING: "waiting",
    Fate.FAILED: "failed",
}

Make = Callable[[RunSummary], Event]
"""The event for a run, undated. Raises `SagaRefused` for words that no event can have."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What an order would do to one run: why not, or what would follow at once."""

    run_id: str
    refusal: str = ""
    follows: tuple[str, ...] = ()


def carry_out(order: Order, verb: str, make: Make) -> int:
    """Does `verb` to the runs that the order is about, or foretells it; the exit code."""
    with opened(order.journal) as oversight:
        lines = order.chosen(oversight)
        try:
            wishes = [(line.run_id, make(line)) for line in lines]
        except SagaRefused as refusal:
            raise BadInput(str(refusal)) from None
        if order.dry_run:
            return _told_ahead(order, verb, [_foretold(oversight, *wish) for wish in wishes])
        if order.every and not order.yes and lines:
            _ask_first(order.journal, verb, lines)
        return _told(order, verb, oversight.decide(wishes, order.wait))


def _foretold(oversight: Oversight, run_id: str, event: Event) -> Foretold:
    try:
        why, events, status = oversight.foresee(run_id, event)
        saga = oversight.sight(run_id).state.saga
    except EngineError as problem:
        return Foretold(run_id, str(problem))
    follows = tuple(event_words(saga, each) for each in events)
    return Foretold(run_id, why, () if why else follows or (f"nothing at once; it is {status.value}",))


def _told_ahead(order: Order, verb: str, foretold: Sequence[Foretold]) -> int:
    if order.as_json:
        runs = [
            {
                "run_id": each.run_id,
                "outcome": "would be refused" if each.refusal else "would be done",
                "why": each.refusal,
                "follows": list(each.follows),
            }
            for each in foretold
        ]
        put_json({"action": verb, "dry_run": True, "runs": runs})
    else:
        put([_foretold_line(verb, each) for each in foretold] or ["no run is meant"])
        say("nothing was written")
    refused = sum(bool(each.refusal) for each in foretold)
    return _refusals_code(refused, len(foretold))


def _foretold_line(verb: str, foretold: Foretold) -> str:
    run_id = shown(foretold.run_id)
    if foretold.refusal:
        return f"{run_id}: {verb} would be refused: {shown(foretold.refusal)}"
    return f"{run_id}: {verb} would be done, then: {'; '.join(foretold.follows)}"


def _ask_first(journal: Path, verb: str, lines: Sequence[RunSummary]) -> None:
    """Raises `CommandError` unless somebody says yes."""
    if not sys.stdin.isatty():
        raise BadInput(f"{len(lines)} runs are meant; look with --dry-run first, then say --yes")
    for line in lines[:SHOWN_BEFORE_ASKING]:
        say(f"  {shown(line.run_id)} of {line.saga}, {line.status.value} {shown(line.reason, 80)}".rstrip())
    if len(lines) > SHOWN_BEFORE_ASKING:
        say(f"  and {len(lines) - SHOWN_BEFORE_ASKING} more")
    say(f"{verb} {len(lines)} runs of {journal}? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("stopped: nothing was done", ExitCode.INTERRUPTED)


def _told(order: Order, verb: str, outcomes: Sequence[Outcome]) -> int:
    fates = Counter(outcome.fate for outcome in outcomes)
    if order.as_json:
        put_json(
            {
                "action": verb,
                "dry_run": False,
                "runs": [
                    {"run_id": each.run_id, "outcome": each.fate.value, "why": each.words}
                    for each in outcomes
                ],
            }
        )
    done = [each for each in outcomes if each.fate in (Fate.WRITTEN, Fate.ACCEPTED)]
    if not order.as_json and (done or not outcomes):
        put([f"{shown(each.run_id)}: {verb}: {_TOLD[each.fate]}" for each in done] or ["no run is meant"])
    for each in outcomes:
        if each.fate not in (Fate.WRITTEN, Fate.ACCEPTED):
            say(f"sagacity: run {shown(each.run_id)!r}: {verb} {_TOLD[each.fate]}: {shown(each.words, 500)}")
    if order.every and outcomes:
        counted = ", ".join(f"{fates[fate]} {fate.value}" for fate in Fate if fates[fate])
        say(f"{len(outcomes)} runs: {counted}")
    if fates[Fate.FAILED]:
        return ExitCode.FAILED
    if fates[Fate.WAITING]:
        return ExitCode.UNREACHABLE
    return _refusals_code(fates[Fate.REFUSED], len(outcomes))


def _refusals_code(refused: int, of: int) -> int:
    if not refused:
        return ExitCode.DONE
    return ExitCode.GUARDRAIL if refused == of else ExitCode.LOOK
