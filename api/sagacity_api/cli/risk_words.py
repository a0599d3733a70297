"""Running sagas at risk, in words and as JSON. Pure functions.

Why a run stands as it does is told by what it was last heard of with: that is what the forecast is of, it
costs nothing, and it claims no cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sagacity_api.cli.output import table
from sagacity_api.cli.sagas_words import shown
from sagacity_api.runs_at_risk import RunAtRisk
from sagacity_data.event_log import CaseEvent
from sagacity_models.live_risk import LiveForecast, LiveSource
from sagacity_models.live_risk_events import DONE, LAUNCH, LEFT, UNDOS

STANDS_ON: Final[Mapping[LiveSource, str]] = MappingProxyType(
    {
        LiveSource.MODEL: "model",
        LiveSource.RATES: "rates by steps done",
        LiveSource.BASE: "base rate",
    }
)
"""What P(success) stands on, in words."""

HOPELESS_BELOW: Final = 0.1
"""At or below this P(success), seen often enough, a run is called hopeless in the JSON."""

_ILL: Final = 0.2
"""The failing share from which a service still to be called is worth a word."""
_SPANS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def risk_lines(runs: Sequence[RunAtRisk], within_s: float | None = None) -> list[str]:
    """A table, one line a run, in the order given."""
    asked = [] if within_s is None else [f"within {span(within_s)}"]
    head = ["run", "saga", "success", "in time", *asked, "median", "p90", "stands on", "why"]
    rows = [_row(run, asked=bool(asked)) for run in runs]
    return table([head, *rows], right=frozenset(range(2, 6 + len(asked))))


def _row(run: RunAtRisk, *, asked: bool) -> list[str]:
    said = run.said
    return [
        shown(run.run_id, 60),
        shown(run.saga, 40),
        _share(said.success),
        _share(said.within_deadline),
        *([_share(run.within)] if asked else []),
        span(said.remaining_s(0.5)),
        span(said.remaining_s(0.9)),
        stands_on(said),
        why(run.latest),
    ]


def risk_json(run: RunAtRisk, within_s: float | None = None) -> dict[str, Any]:
    """One run as JSON values; what is not known is None."""
    said = run.said
    return {
        "run_id": run.run_id,
        "saga": run.saga,
        "launched_at": run.launched_at,
        "deadline_s": run.deadline_s,
        "success": said.success,
        "success_within_deadline": said.within_deadline,
        **({} if within_s is None else {"success_within_s": run.within}),
        "remaining_s_median": said.remaining_s(0.5),
        "remaining_s_p90": said.remaining_s(0.9),
        "stands_on": STANDS_ON[said.source],
        "evidence_runs": said.evidence,
        "confidence": said.confidence.value,
        "hopeless": said.hopeless(HOPELESS_BELOW),
        "why": why(run.latest),
    }


def stands_on(said: LiveForecast) -> str:
    """What P(success) stands on, with the number of runs that were seen from there."""
    return f"{STANDS_ON[said.source]} ({said.evidence} {'run' if said.evidence == 1 else 'runs'})"


def why(latest: CaseEvent) -> str:
    """Where the run stands, in one line.

    >>> why(CaseEvent("trip/launch", 0, LAUNCH, None, {DONE: 0, LEFT: 3, UNDOS: 0, "failures": 0}))
    '0 of 3 steps done'
    """
    return "; ".join(_parts(latest))


def _parts(latest: CaseEvent) -> Iterator[str]:
    told = latest.attributes
    done, left, failures = int(told.get(DONE, 0)), told.get(LEFT), int(told.get("failures", 0))
    of = "" if left is None else f" of {done + int(left)}"
    failed = f", {failures} {'attempt' if failures == 1 else 'attempts'} failed" if failures else ""
    yield f"{done}{of} steps done{failed}"
    if told.get(UNDOS):
        yield "it is being undone"
    if latest.lifecycle != LAUNCH:
        yield _last(latest)
    worst = told.get("health left")
    if worst is not None and float(worst) >= _ILL:
        yield f"a service still to be called fails {float(worst):.0%} of its calls of late"


def _last(latest: CaseEvent) -> str:
    step = latest.activity.rpartition("/")[2]
    direction, _, outcome = str(latest.lifecycle).partition(" ")
    what = f"undo of {step}" if direction == "undo" else step
    error = str(latest.attributes.get("error", "none"))
    because = f" ({shown(error, 40)})" if error != "none" else ""
    words = outcome.replace("_", " ")
    return f"last: {shown(what, 60)} {words}{because} at attempt {latest.attributes['attempt']}"


def span(seconds: float | None) -> str:
    """A time in a unit that suits it; "-" for none.

    >>> span(0.25), span(90.0), span(7200.0), span(None)
    ('0.25 s', '1.5 min', '2 h', '-')
    """
    if seconds is None:
        return "-"
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _share(chance: float | None) -> str:
    return "-" if chance is None else f"{chance:.1%}"
