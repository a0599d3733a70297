"""Answers as lines of text: pure functions from values to what a reader sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from sagacity_api.answers import Numbers, Prediction, Recommendation, RiskFactor
from sagacity_api.cli.output import table
from sagacity_engine import OnFailure, Plan, Saga, StepPlan, author_plan

_NUMBERS: Mapping[str, tuple[str, str]] = {
    "cost": ("expected cost", ""),
    "success_probability": ("success probability", "%"),
    "compensated_probability": ("compensated", "%"),
    "attention_probability": ("needs attention", "%"),
    "latency_s_mean": ("mean latency", "s"),
    "wasted_cost": ("wasted cost", ""),
    "undo_cost": ("undo cost", ""),
    "worst_case_s": ("worst case", "s"),
}


def saga_lines(path: str, saga: Saga) -> list[str]:
    """A definition's summary: its size, and the author's plan stage by stage."""
    plan = author_plan(saga)
    arcs = sum(len(before) for before in saga.arcs.values())
    pivot = f"pivot {saga.pivot.name}" if saga.pivot else "no pivot"
    granted = [name for name, given in asdict(saga.freedom).items() if given]
    rows = [["stage", "step", "kind", "service", "timeout s", "attempts", "needs"]]
    for number, stage in enumerate(plan.stages(), start=1):
        for name in stage:
            step = saga.by_name[name]
            needs = ", ".join(sorted(step.after)) or "-"
            numbers = [f"{step.start_to_close_timeout_s:g}", str(step.retry.maximum_attempts)]
            rows.append([str(number), name, step.kind.value, step.service, *numbers, needs])
    return [
        f"{path}: {saga.name}, version {saga.version}, is a sound saga",
        f"{len(saga.steps)} steps, {arcs} arcs, {pivot}, definition {saga.definition_hash[:12]}",
        f"freedoms granted: {', '.join(granted) or 'none'}",
        "",
        *table(rows, right=frozenset({0, 4, 5})),
    ]


def prediction_lines(saga: Saga, prediction: Prediction) -> list[str]:
    """How a run would go."""
    expected = asdict(prediction.expected)
    summary = [[words, _amount(expected[name], unit)] for name, (words, unit) in _NUMBERS.items()]
    steps = [["step", "fails", "refused at first", "p50 s", "p90 s", "mostly"]]
    for step in prediction.steps:
        mostly = next((name for name, share in step.classes.items() if share > 0.5), "-")
        shares = [_amount(step.failure_probability, "%"), _amount(step.first_refusal_probability, "%")]
        durations = [f"{step.duration_s_p50:.3g}", f"{step.duration_s_p90:.3g}"]
        steps.append([step.name, *shares, *durations, mostly])
    return [
        f"{saga.name}, version {saga.version}: a run under the author's plan, by {_model(prediction)}",
        "",
        *table(summary, right=frozenset({1})),
        "",
        *table(steps, right=frozenset({1, 2, 3, 4})),
        *_risk_lines(prediction.risk_factors),
    ]


def recommendation_lines(
    saga: Saga, advice: Recommendation, fixed: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """The advised plan against the author's, with the reasons; `fixed` is what no plan may turn round."""
    own = author_plan(saga)
    same = advice.plan == own
    headline = "the author's plan is kept" if same else "the advised plan against the author's"
    return [
        f"{saga.name}, version {saga.version}: {headline}, by {_model(advice)}",
        "",
        *_comparison(advice.author, advice.advised),
        "",
        *_plan_diff(own, advice.plan),
        *_fixed_lines(fixed),
        "",
        "why:",
        *(f"  {reason.text}" for reason in advice.reasons),
        *_risk_lines(advice.risk_factors),
        *_freedom_lines(advice),
    ]


def _fixed_lines(fixed: Sequence[tuple[str, str]]) -> list[str]:
    """Per step, what has to come after it whatever the plan."""
    later: dict[str, list[str]] = {}
    for before, after in fixed:
        later.setdefault(before, []).append(after)
    lines = [f"  {before} before {' and '.join(after)}" for before, after in later.items()]
    return ["", "in every plan:", *lines] if lines else []


def _comparison(author: Numbers, advised: Numbers) -> list[str]:
    was, now = asdict(author), asdict(advised)
    rows = [["", "author", "advised", "change"]]
    for name, (words, unit) in _NUMBERS.items():
        change = _change(was[name], now[name], unit)
        rows.append([words, _amount(was[name], unit), _amount(now[name], unit), change])
    return table(rows, right=frozenset({1, 2, 3}))


def _plan_diff(own: Plan, advised: Plan) -> list[str]:
    stage_was, stage_now = _stage_numbers(own), _stage_numbers(advised)
    rows = [["stage", "step", "timeout s", "attempts", "on failure"]]
    for name in advised.names:
        was, now = own.by_name[name], advised.by_name[name]
        rows.append(
            [
                _moved(str(stage_was[name]), str(stage_now[name])),
                name,
                _moved(f"{was.start_to_close_timeout_s:g}", f"{now.start_to_close_timeout_s:g}"),
                _moved(str(was.retry.maximum_attempts), str(now.retry.maximum_attempts)),
                _strategies(now),
            ]
        )
    return table(rows)


def _stage_numbers(plan: Plan) -> dict[str, int]:
    return {name: number for number, stage in enumerate(plan.stages(), start=1) for name in stage}


def _strategies(step: StepPlan) -> str:
    """The strategies that differ from the usual one, each with the classes it is for."""
    usual = OnFailure()
    classes: dict[str, list[str]] = {}
    for name, strategy in asdict(step.on_failure).items():
        if strategy != getattr(usual, name):
            classes.setdefault(str(strategy), []).append(name)
    return "; ".join(f"{', '.join(names)}: {strategy}" for strategy, names in classes.items()) or "-"


def _moved(was: str, now: str) -> str:
    return now if was == now else f"{was} -> {now}"


def _risk_lines(risks: tuple[RiskFactor, ...]) -> Iterator[str]:
    if risks:
        yield ""
        yield "risks:"
        yield from (f"  {risk.reason}" for risk in risks)


def _freedom_lines(advice: Recommendation) -> Iterator[str]:
    if advice.freedoms:
        yield ""
        yield "the document grants no freedom; what each would earn:"
        yield from (f"  {earned.text}" for earned in advice.freedoms)


def _model(answer: Prediction | Recommendation) -> str:
    stand_in = ", standing in for a model" if answer.fallback else ""
    return f"model {answer.model.version} ({answer.model.kind}{stand_in})"


def _amount(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1%}".replace("%", " %")
    return f"{value:.2f} {unit}".rstrip()


def _change(was: float, now: float, unit: str) -> str:
    if unit == "%":
        points = f"{100 * (now - was):+.1f}"
        return "" if float(points) == 0 else f"{points} points"
    if not was:
        return f"{now:+.2f}" if now else ""
    percent = f"{100 * (now / was - 1):+.1f}"
    return "" if float(percent) == 0 else f"{percent} %"
