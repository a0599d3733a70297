"""`sagacity uplift`: what advice earned, by runs assigned at random; and what another policy would earn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity_api.bounded_json import JsonRefused, read_json
from sagacity_api.cli.data_opening import opened_dataset, refusals
from sagacity_api.cli.errors import BadInput, CommandError
from sagacity_api.cli.instants import instant
from sagacity_api.cli.output import put, put_json, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_training.uplift.blocks import Estimate
    from sagacity_training.uplift.candidate import Candidate
    from sagacity_training.uplift.effect import Uplift
    from sagacity_training.uplift.off_policy import OffPolicy
    from sagacity_training.uplift.trial import Trial

METRIC_CHOICES = ("cost", "success", "wasted_cost", "latency_s")


def uplift(
    *,
    dataset: Annotated[Path, typer.Option("--dataset", metavar="DIR", help="What the recorder wrote.")],
    saga: Annotated[
        str | None, typer.Option("--saga", metavar="NAME", help="Only runs of this type.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs launched from then on.")
    ] = None,
    candidate: Annotated[
        Path | None,
        typer.Option("--candidate", metavar="FILE", help="Also ask what this policy would have done (JSON)."),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="What the candidate is judged by.")
    ] = "cost",
    alpha: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="How often an interval may miss the truth.")
    ] = 0.05,
    as_json: AsJson = False,
) -> int:
    """Compare advised runs with the permanent holdout, by assignment."""
    from sagacity_training.uplift.effect import Verdict
    from sagacity_training.uplift.effect import uplift as measured
    from sagacity_training.uplift.trial import NoTrial

    if metric not in METRIC_CHOICES:
        raise BadInput(f"--metric {metric!r} is none of {', '.join(METRIC_CHOICES)}")
    policy = None if candidate is None else _candidate(candidate)
    trial = _trial(dataset, saga, None if since is None else instant("--since", since))
    try:
        told = measured(trial, alpha=alpha)
    except NoTrial as refusal:
        raise BadInput(f"{dataset}: {refusal}") from None
    judged = None if policy is None else _judged(trial, policy, metric, alpha=alpha)
    if as_json:
        put_json({**told.as_json(), "candidate": None if judged is None else judged.as_json()})
    else:
        put([*_lines(told), *([] if judged is None else ["", *_candidate_lines(judged)])])
    return ExitCode.LOOK if told.verdict is Verdict.WORSE else ExitCode.DONE


def _trial(dataset: Path, saga: str | None, since: float | None) -> Trial:
    from sagacity_data.rows import RunRow
    from sagacity_data.store_where import Where
    from sagacity_training.uplift.trial import NoTrial, trial_of

    store = opened_dataset(dataset)
    with refusals():
        try:
            return trial_of(store.scan_rows(RunRow, Where(since=since)), saga)
        except NoTrial as refusal:
            raise BadInput(f"{dataset}: {refusal}") from None


def _candidate(file: Path) -> Candidate:
    from sagacity_training.uplift.candidate import CandidateRefused, candidate_of

    try:
        return candidate_of(read_json(file.read_bytes()))
    except OSError as problem:
        raise BadInput(f"{file} cannot be read ({problem.strerror}); give a file with a policy") from None
    except (JsonRefused, CandidateRefused) as refusal:
        raise BadInput(f"{file}: {refusal}") from None


def _judged(trial: Trial, policy: Candidate, metric: str, *, alpha: float) -> OffPolicy:
    from sagacity_training.uplift.off_policy import OffPolicyRefused, off_policy

    try:
        return off_policy(trial, policy, metric, alpha=alpha)
    except OffPolicyRefused as refusal:
        raise CommandError(f"no answer about the candidate: {refusal}", ExitCode.GUARDRAIL) from None


def _lines(told: Uplift) -> list[str]:
    rows = [["", "author", "advised", "difference", "interval", "at every look", "verdict"]]
    rows += [
        [
            effect.metric,
            f"{effect.author:.4g}",
            f"{effect.advised:.4g}",
            f"{effect.difference.value:+.4g}",
            *_intervals(effect.difference),
            effect.verdict.value,
        ]
        for effect in told.effects.values()
    ]
    first = next(iter(told.effects.values()))
    return [
        f"of {told.runs} runs {told.randomised} were assigned at random:",
        f"{first.n[0]} to advice, {first.n[1]} to the author's plan",
        f"{told.fallback_share:.1%} of those assigned to advice ran the author's plan after all",
        "",
        *table(rows, right=frozenset({1, 2, 3})),
    ]


def _candidate_lines(told: OffPolicy) -> list[str]:
    rows = [[f"mean {told.metric}", "value", "interval", "at every look"]]
    for name, estimate in (
        ("as logged", told.logged),
        ("candidate, IPS", told.ips),
        ("candidate, SNIPS", told.snips),
        ("candidate, DR", told.dr),
    ):
        rows.append([name, f"{estimate.value:.4g}", *_intervals(estimate)])
    return [
        f"the candidate, from {told.n} runs that are worth {told.effective_n:.0f} under it;",
        f"{told.unsupported_share:.1%} of its decisions were never taken",
        *table(rows, right=frozenset({1})),
    ]


def _intervals(estimate: Estimate) -> tuple[str, str]:
    return (
        f"[{estimate.low:.4g}, {estimate.high:.4g}]",
        f"[{estimate.always_low:.4g}, {estimate.always_high:.4g}]",
    )
