"""What each part of the demo says about itself, and whether it kept its promises."""

from __future__ import annotations

import json
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
    from sagacity_training.train import TrainingResult

GAP_STATIC_PROMISED = 0.70
ADVISED_PROMISED, COMPLETED_PROMISED, ATTENTION_ALLOWED, RESCUED_PROMISED = 0.90, 0.70, 0.025, 10


def tell_log(narrator: Narrator, season: Season, outcomes: list[TripOutcome]) -> None:
    """What was logged."""
    completed = sum(outcome.completed for outcome in outcomes) / len(outcomes)
    days = (season.past[-1].at - season.past[0].at) / DAY_S
    narrator.heading("a", "A season of trips under the author's plan, in virtual time")
    narrator.say(
        f"{len(outcomes):,} trips over {days:.0f} simulated days: {completed:.1%} completed, "
        f"mean cost {sum(o.cost for o in outcomes) / len(outcomes):.2f}."
    )


def tell_training(narrator: Narrator, result: TrainingResult) -> None:
    """What was learned, beside what the base rate knows."""
    narrator.heading("b", "Learning from the log")
    narrator.say(result.table())


def tell_plan(narrator: Narrator, bundle: Path, snapshot: Path, trip: Trip) -> None:
    """One trip's plan before and after, with reasons."""
    from sagacity_engine.advisor import Launch
    from sagacity_models.bundle import load_bundle
    from sagacity_models.forecaster import BundleForecaster
    from sagacity_optimizer.advisor import ModelAdvisor

    features = LaunchFeatures.restore(json.loads(snapshot.read_text(encoding="utf-8")))
    saga = goa_trip()
    advisor = ModelAdvisor(BundleForecaster(load_bundle(bundle), features))
    launch = Launch(run_id=trip.trip_id, context=trip.context, at=trip.at)
    advice = advisor.plan_for(saga, launch)
    narrator.heading("c", "One trip's plan, before and after")
    narrator.say("The trip: " + ", ".join(f"{key} {value}" for key, value in trip.context.items()))
    narrator.table("", ["author", "advised", "timeout", "attempts"], _plan_rows(saga, advice.plan))
    author, advised = advice.expected["author"], advice.expected["advised"]
    narrator.say(
        f"Expected cost {author['cost']:.2f} -> {advised['cost']:.2f}, success "
        f"{author['success_probability']:.1%} -> {advised['success_probability']:.1%}."
    )
    for reason in advice.reasons:
        narrator.say(f"- {reason}")


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
    rows = []
    for name in names:
        row = comparison.row(name)
        rows.append(
            [
                name,
                _percent(row.success_rate),
                _number(row.mean_cost),
                _number(row.wasted_cost),
                _number(row.latency_s_p95),
                f"{row.latency_s_p95_completed:.1f}",
            ]
        )
    columns = ["policy", "success rate", "mean cost", "wasted", "p95 latency s", "of completed"]
    narrator.table("95 % intervals from resampled days", columns, rows)
    return _tell_gaps(narrator, comparison)


def _tell_gaps(narrator: Narrator, comparison: Comparison) -> list[str]:
    shortfalls = []
    for other in ("author", "static"):
        difference = comparison.difference("advised", other)
        narrator.say(f"advised minus {other}: {_number(difference)} a trip")
        if difference.high >= 0:
            shortfalls.append(f"advised is not clearly cheaper than {other}")
        gap = comparison.gap_closed("advised", other, "informed")
        if gap is None:
            shortfalls.append(f"there is no clear gap between {other} and informed to close")
        else:
            narrator.say(f"share of the {other}-to-informed gap that advised closes: {_percent(gap)}")
            if other == "static" and gap.mean < GAP_STATIC_PROMISED:
                shortfalls.append(f"advised closes less than {GAP_STATIC_PROMISED:.0%} of that gap")
    gain = comparison.difference("informed", "static").mean / comparison.row("static").mean_cost.mean
    narrator.say(f"informed against static: {gain:+.1%} of static's mean cost")
    _say_shortfalls(narrator, shortfalls)
    return shortfalls


def tell_live(narrator: Narrator, live: LiveReport, sagas: int) -> list[str]:
    """What became of the live sagas; what fell short of the demo's promises, in words."""
    narrator.heading("e", f"{sagas} live sagas over HTTP, the engine killed half way")
    narrator.say(
        f"{live.sagas} sagas: {live.completed} completed, {live.compensated} compensated, "
        f"{live.needs_attention} need attention; {live.advised} ran on advice; "
        f"{live.in_flight_at_kill_and_ended} were in flight at the kill and ended."
    )
    kept = {
        "every saga ended": live.completed + live.compensated + live.needs_attention == sagas,
        "at least 90 % ran on advice": live.advised >= ADVISED_PROMISED * sagas,
        "at least 70 % completed": live.completed >= COMPLETED_PROMISED * sagas,
        "at most 2.5 % need attention": live.needs_attention <= ATTENTION_ALLOWED * sagas,
        "at least 10 were in flight at the kill and ended": (
            live.in_flight_at_kill_and_ended >= RESCUED_PROMISED
        ),
        "the services' ledgers agree with every outcome": not live.broken,
    }
    shortfalls = [f"not so: {promise}" for promise, held in kept.items() if not held]
    shortfalls += list(live.broken[:5])
    _say_shortfalls(narrator, shortfalls)
    return shortfalls


def what_next(narrator: Narrator, root: Path, bundle: Path, seconds: float) -> None:
    """What a reader can try with what the demo made."""
    narrator.heading("f", "What to try next")
    narrator.say(f"sagacity serve --bundle {bundle} --dataset {root / 'dataset'}")
    narrator.say("curl http://127.0.0.1:8080/openapi.json")
    narrator.say(f"sagacity train --dataset {root / 'dataset'} --registry {root / 'registry'}")
    narrator.say("sagacity demo --seed 8      # another world, same laws")
    narrator.say(f"The whole demo took {seconds:.0f} s.")


def _say_shortfalls(narrator: Narrator, shortfalls: list[str]) -> None:
    for shortfall in shortfalls:
        narrator.say(f"FELL SHORT: {shortfall}")


def _number(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _percent(interval: Interval) -> str:
    return f"{interval.mean:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
