"""What each part of the demo says about itself, and whether it kept its promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sagacity_api.demo.aftermath import LiveReport
from sagacity_api.demo.narration import Narrator
from sagacity_data.features import LaunchFeatures
from sagacity_engine import Plan, Saga
from sagacity_engine.worlds import Trip, goa_trip
from sagacity_engine.worlds.law import DAY_S
from sagacity_training.ladder.compare import Comparison, Interval
from sagacity_training.ladder.play import TripOutcome
from sagacity_training.ladder.season import Season

if TYPE_CHECKING:
    from sagacity_optimizer import Evaluation, Reason
    from sagacity_training.training_result import TrainingResult

REASONS_TOLD = 6
POLICIES = {
    "author": "the plan as its author wrote it",
    "static": "the one plan that is best for the average of the logged trips",
    "advised": "for each trip the plan that the learned model and the optimizer choose",
    "informed": "as advised, but with the world's true laws instead of a learned model",
    "oracle": "as informed, and it also sees which services are down; nobody can know this",
}
GAP_STATIC_PROMISED = 0.70
ADVISED_PROMISED, COMPLETED_PROMISED, ATTENTION_ALLOWED, RESCUED_PROMISED = 0.90, 0.70, 0.025, 10


def tell_log(narrator: Narrator, season: Season, outcomes: list[TripOutcome]) -> None:
    """What was logged."""
    completed = sum(outcome.completed for outcome in outcomes) / len(outcomes)
    days = (season.past[-1].at - season.past[0].at) / DAY_S
    narrator.heading("a", "A season of trips under the author's plan, in virtual time")
    narrator.say(
        f"{len(outcomes):,} trips over {days:.0f} simulated days: {completed:.1%} completed, "
        f"at a mean cost of {sum(o.cost for o in outcomes) / len(outcomes):.2f}."
    )


def tell_training(narrator: Narrator, result: TrainingResult) -> None:
    """What was learned, beside what the base rate knows."""
    narrator.heading("b", "Learning from the log")
    narrator.verbatim(result.table())


def tell_plan(narrator: Narrator, bundle: Path, snapshot: Path, trip: Trip) -> None:
    """One trip's plan before and after, with reasons."""
    from sagacity_models.bundle import load_bundle
    from sagacity_models.forecaster import BundleForecaster
    from sagacity_optimizer import optimize

    features = LaunchFeatures.restore(json.loads(snapshot.read_text(encoding="utf-8")))
    saga = goa_trip()
    forecast = BundleForecaster(load_bundle(bundle), features).forecast(saga, trip.context, trip.at)
    proposal = optimize(saga, forecast)
    author, advised = proposal.author, proposal.advised
    narrator.heading("c", "One trip's plan, before and after")
    narrator.say("The trip: " + ", ".join(f"{key} {value}" for key, value in trip.context.items()))
    narrator.table(
        ["author's order", "advised order", "timeout", "attempts"], _plan_rows(saga, proposal.plan), left=2
    )
    narrator.say(
        f"Expected cost {author.expected_cost:.2f} -> {advised.expected_cost:.2f}, chance to complete "
        f"{author.success_probability:.1%} -> {advised.success_probability:.1%}. Why:"
    )
    told = strongest(proposal.reasons, author, advised)
    for reason in told:
        narrator.point(reason.text)
    if more := len(proposal.reasons) - len(told):
        narrator.say(f"and {more} more; `sagacity plan` prints them all.")


def strongest(reasons: Sequence[Reason], author: Evaluation, advised: Evaluation) -> list[Reason]:
    """The moves, then one reason for each of the steps whose expected cost changed most."""

    def change(reason: Reason) -> float:
        return (
            abs(author.by_name[reason.step].cost - advised.by_name[reason.step].cost) if reason.step else 0.0
        )

    told = [reason for reason in reasons if reason.change == "order"]
    for reason in sorted(reasons, key=lambda each: (-change(each), each.change != "attempts")):
        if reason.step not in {each.step for each in told}:
            told.append(reason)
    return told[:REASONS_TOLD]


def _plan_rows(saga: Saga, plan: Plan) -> list[list[str]]:
    rows = []
    for author, step in zip(saga.steps, plan.steps, strict=True):
        own = saga.by_name[step.name]
        timeout = _change(f"{own.start_to_close_timeout_s:g} s", f"{step.start_to_close_timeout_s:g} s")
        attempts = _change(str(own.retry.maximum_attempts), str(step.retry.maximum_attempts))
        rows.append([author.name, step.name, timeout, attempts])
    return rows


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def tell_ladder(narrator: Narrator, comparison: Comparison, season: Season, names: list[str]) -> list[str]:
    """The policies side by side; what fell short of the demo's promises, in words."""
    days = (season.future[-1].at - season.future[0].at) / DAY_S
    narrator.heading("d", f"The same {season.fresh:,} fresh trips, {days:.0f} days, under five policies")
    for name in names:
        narrator.point(f"{name}: {POLICIES[name]}")
    rows = []
    for name in names:
        row = comparison.row(name)
        rows.append(
            [
                name,
                f"{row.success_rate.mean:.1%}",
                f"{row.mean_cost.mean:.2f}",
                _between(row.mean_cost),
                f"{row.wasted_cost.mean:.2f}",
                f"{row.latency_s_p95.mean:.1f}",
                f"{row.latency_s_p95_completed:.1f}",
            ]
        )
    columns = ["policy", "completed", "mean cost", "95 % interval", "wasted", "p95 s", "p95 s of\ncompleted"]
    narrator.table(columns, rows)
    narrator.say(
        "Cost is what a trip costs its owner: attempts, cancellations, waiting, and a penalty if it does not "
        "complete. p95 s: 95 of 100 trips end within so many seconds. Intervals are from resampled days."
    )
    return _tell_gaps(narrator, comparison)


def _tell_gaps(narrator: Narrator, comparison: Comparison) -> list[str]:
    shortfalls = []
    for other in ("author", "static"):
        difference = comparison.difference("advised", other)
        narrator.point(saving(difference, comparison.row(other).mean_cost.mean, other))
        if difference.high >= 0:
            shortfalls.append(f"advised is not clearly cheaper than {other}")
        gap = comparison.gap_closed("advised", other, "informed")
        if gap is None:
            shortfalls.append(f"there is no clear gap between {other} and informed to close")
        else:
            narrator.point(
                f"That is {gap.mean:.0%} (95 % interval {gap.low:.0%} to {gap.high:.0%}) of what knowing the "
                f"world's true laws (informed) would save over {other}."
            )
            if other == "static" and gap.mean < GAP_STATIC_PROMISED:
                shortfalls.append(
                    f"advised closes {gap.mean:.0%} of the gap between static and informed, "
                    f"less than {GAP_STATIC_PROMISED:.0%}"
                )
    narrator.shortfalls(shortfalls)
    return shortfalls


def saving(difference: Interval, cost: float, other: str) -> str:
    """What advice saves a trip against another policy, for somebody who has not seen the table.

    >>> saving(Interval(-2.0, -3.0, -1.0), 16.0, "author")
    'A trip on advice costs 2.00 less than under author (12.5%); 95 % interval 1.00 to 3.00 less.'
    >>> saving(Interval(-0.5, -2.0, 1.0), 10.0, "static")
    'A trip on advice costs 0.50 less than under static (5.0%), by chance maybe: 2.00 less to 1.00 more.'
    """
    share = f"{abs(difference.mean) / cost:.1%}"
    headline = f"A trip on advice costs {_less(difference.mean)} than under {other} ({share})"
    if not difference.excludes_zero:
        return f"{headline}, by chance maybe: {_less(difference.low)} to {_less(difference.high)}."
    near, far = sorted((abs(difference.low), abs(difference.high)))
    return f"{headline}; 95 % interval {near:.2f} to {_less(far if difference.mean > 0 else -far)}."


def _less(difference: float) -> str:
    return f"{abs(difference):.2f} {'less' if difference < 0 else 'more'}"


def tell_live(narrator: Narrator, live: LiveReport, sagas: int) -> list[str]:
    """What became of the live sagas; what fell short of the demo's promises, in words."""
    narrator.heading("e", f"{sagas} live sagas over HTTP, the engine killed half way")
    narrator.say(
        f"{live.sagas} sagas: {live.completed} completed, {live.compensated} compensated, "
        f"{live.needs_attention} need attention; {live.advised} ran on advice; "
        f"{live.in_flight_at_kill_and_ended} were in flight at the kill and ended."
    )
    ended = live.completed + live.compensated + live.needs_attention
    rescued = live.in_flight_at_kill_and_ended
    kept = {
        f"only {ended} of {sagas} live sagas ended": ended == sagas,
        f"only {live.advised} of {sagas} live sagas ran on advice": live.advised >= ADVISED_PROMISED * sagas,
        f"only {live.completed} of {sagas} live sagas completed": live.completed
        >= COMPLETED_PROMISED * sagas,
        f"{live.needs_attention} of {sagas} live sagas need attention": (
            live.needs_attention <= ATTENTION_ALLOWED * sagas
        ),
        f"only {rescued} sagas were in flight at the kill and ended": rescued >= RESCUED_PROMISED,
    }
    shortfalls = [said for said, held in kept.items() if not held]
    shortfalls += list(live.broken[:5])
    narrator.shortfalls(shortfalls)
    return shortfalls


def what_next(narrator: Narrator, root: Path, bundle: Path, seconds: float) -> None:
    """What a reader can try with what the demo made."""
    narrator.heading("f", "What to try next")
    narrator.verbatim(f"sagacity serve --bundle {bundle} --dataset {root / 'dataset'}")
    narrator.verbatim("curl http://127.0.0.1:8080/openapi.json")
    narrator.verbatim(f"sagacity train --dataset {root / 'dataset'} --registry {root / 'registry'}")
    narrator.verbatim("sagacity demo --seed 8      # another world, same laws")
    narrator.say(f"The whole demo took {seconds:.0f} s.")


def _between(interval: Interval) -> str:
    return f"{interval.low:.2f} to {interval.high:.2f}"
