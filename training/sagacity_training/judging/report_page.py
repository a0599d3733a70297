"""The report of a training: everything that was found, as one value, one JSON document and one HTML page.

The page is one file without scripts, fonts or addresses of anything elsewhere, so it opens offline and can be
mailed. Every name in it (of services, sagas, features, rules) comes from data and is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Final

from sagacity_training.failure_class_value import ClassValue
from sagacity_training.judging.blocks import Interval
from sagacity_training.judging.charts import curve_chart, reliability_chart
from sagacity_training.judging.classes import ClassFigures
from sagacity_training.judging.coverage import Coverage
from sagacity_training.judging.decisions import Decisions
from sagacity_training.judging.figures import TaskFigures
from sagacity_training.judging.gate import Verdict
from sagacity_training.judging.learning_curve import LearningCurve
from sagacity_training.judging.model_card import ModelCard
from sagacity_training.judging.slices import WHOLE

SLICES_SHOWN: Final = 40
"""The most slices of a task on the page, those with the most harm; the JSON has them all."""
FEATURES_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is said of one training."""

    kind: str  # of the dataset
    verdict: Verdict
    tasks: tuple[TaskFigures, ...]
    card: ModelCard
    classes: ClassFigures | None = None
    durations: tuple[Coverage, ...] = ()
    curves: tuple[LearningCurve, ...] = ()
    decisions: Decisions = field(default_factory=lambda: Decisions(skipped="not asked for"))
    class_value: ClassValue | None = None
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        value = self.class_value
        return {
            "kind": self.kind,
            "gate": self.verdict.as_json(),
            "models": {each.task: each.as_json() for each in self.tasks},
            "classes": self.classes.as_json() if self.classes else None,
            "durations": [each.as_json() for each in self.durations],
            "learning_curves": [each.as_json() for each in self.curves],
            "decisions": self.decisions.as_json(),
            "class_value": None if value is None else {**asdict(value), "captured": value.captured},
            "notes": list(self.notes),
            "model_card": self.card.as_json(),
            "config": dict(self.config),
        }

    def json_text(self) -> str:
        """The JSON document as text; equal reports give equal texts."""
        return json.dumps(self.as_json(), indent=1, sort_keys=True, allow_nan=False) + "\n"


def page(report: Report) -> str:
    """The report as one HTML page."""
    title = f"{report.card.model} {report.card.version}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _verdict(report.verdict),
        *(_task(each) for each in report.tasks),
        *(_classes(report.classes) if report.classes else []),
        *(_durations(report.durations) if report.durations else []),
        *(_curve(each) for each in report.curves),
        _decisions(report.decisions, report.class_value),
        _card(report.card),
        _list("Notes", report.notes),
        f"<h2>Configuration</h2><pre>{escape(json.dumps(report.config, indent=1, sort_keys=True))}</pre>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _verdict(verdict: Verdict) -> str:
    word = "Promoted" if verdict.promoted else "Not promoted"
    if not verdict.signal:
        word += ": no signal found"
    return f'<p class="verdict">{word}</p>' + _list("", verdict.reasons)


def _task(task: TaskFigures) -> str:
    head = f"<h2>{escape(task.task)}</h2><p>selected: {escape(task.chosen)}. {escape(task.reason)}</p>"
    if not task.scores:
        return head + "<p>No held-out rows: no figures.</p>"
    names = ("log_loss", "brier", "auc", "ece")
    rows = [
        [who, *(_interval(getattr(scores, name)) for name in names)] for who, scores in task.scores.items()
    ]
    table = _table(["forecaster", "log loss", "Brier", "AUC", "calibration error"], rows)
    gains = "; ".join(f"{_interval(gain)} a row over {_whom(who)}" for who, gain in task.gains.items())
    parts = task.brier_parts
    brier = (
        f"<p>Brier = reliability {parts.reliability:.5f} - resolution {parts.resolution:.5f} + "
        f"uncertainty {parts.uncertainty:.5f} + within bins {parts.within:.5f}.</p>"
        if parts
        else ""
    )
    chart = reliability_chart([(point.forecast, point.observed) for point in task.points], task.task)
    return (
        f"{head}<p>{task.n_train} rows learnt from, {task.n_test} held-out rows, {task.events} events. "
        f"Log loss gained: {escape(gains)}. Intervals are 95 %, over stretches of time.</p>"
        f"{table}{brier}{chart}{_slices(task)}"
    )


def _slices(task: TaskFigures) -> str:
    parts = [part for part in task.slices if part.group != WHOLE]
    if not parts:
        return ""
    worst = sorted(parts, key=lambda part: -part.harm)[:SLICES_SHOWN]
    rows = [
        [
            f"{part.group} {part.label}",
            str(part.rows),
            str(part.events),
            f"{part.log_loss:.4f}",
            f"{part.log_loss_reference:.4f} ({part.reference})",
            f"{part.harm:+.4f}",
            "badly worse" if part.harmed else "",
        ]
        for part in worst
    ]
    head = ["slice", "rows", "events", "log loss", "reference", "harm", ""]
    more = f"<p>{len(parts) - len(worst)} more are in the JSON report.</p>" if len(parts) > len(worst) else ""
    return f"<h3>Slices, worst first</h3>{_table(head, rows)}{more}"


def _classes(classes: ClassFigures) -> Iterable[str]:
    rows = [
        [name, *(str(count) for count in counts), "-" if f1 is None else f"{f1:.3f}"]
        for name, counts, f1 in zip(classes.names, classes.confusion, classes.f1, strict=True)
    ]
    macro = "-" if classes.macro_f1 is None else f"{classes.macro_f1:.3f}"
    yield "<h2>Classes of failures</h2>"
    yield f"<p>Macro-F1 {macro}. Rows are what was true, columns what was forecast.</p>"
    yield _table(["class", *classes.names, "F1"], rows)


def _durations(durations: Sequence[Coverage]) -> Iterable[str]:
    rows = [
        [
            f"{each.level:.1%}",
            "-" if each.share is None else f"{each.share:.1%}",
            str(each.rows),
            f"{each.left_out:.1%}",
            "-" if each.pinball is None else f"{each.pinball:.4g}",
        ]
        for each in durations
    ]
    yield "<h2>Durations</h2><p>Of a quantile, the share of values at or below it should be its level.</p>"
    yield _table(["quantile", "covers", "rows", "cut off and unknown", "pinball loss"], rows)


def _curve(curve: LearningCurve) -> str:
    points = [(float(each.rows), each.log_loss) for each in curve.points]
    return f"<h2>Learning curve: {escape(curve.task)}</h2>" + curve_chart(
        points, curve.log_loss_base, f"learning curve of {curve.task}"
    )


def _decisions(decisions: Decisions, value: ClassValue | None) -> str:
    head = "<h2>Decisions</h2>"
    if value is not None:
        head += (
            f"<p>Class of a failure, over {value.failures} held-out failures: cost {value.blind:.4g} decided "
            f"blindly, {value.forecast:.4g} with the forecast, {value.oracle:.4g} knowing it. So knowing is "
            f"worth {value.blind - value.oracle:.4g} a failure; {value.captured:.0%} of it is captured.</p>"
        )
    if decisions.skipped or decisions.promised is None or decisions.realised is None:
        return f"{head}<p>Not judged: {escape(decisions.skipped)}.</p>"
    rows = [
        [who, f"{decisions.promised[who]:.4g}", f"{decisions.realised[who]:.4g}"]
        for who in decisions.promised
    ]
    saved = (
        f"<p>Against what happened, advised plans save {_interval(decisions.saved_author)} a run beside the "
        f"author's and {_interval(decisions.saved_static)} beside those from mean rates. "
        f"{decisions.runs} held-out runs, {decisions.changed:.0%} of them with another plan.</p>"
        "<p>What plans change about load and waiting is not in these figures; the permanent holdout tells "
        "that.</p>"
    )
    return head + _table(["plan", "mean cost promised", "mean cost against what happened"], rows) + saved


def _card(card: ModelCard) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(words)}</td></tr>" for name, words in card.rows())
    shown = ", ".join(card.features[:FEATURES_SHOWN])
    more = len(card.features) - FEATURES_SHOWN
    features = f"<p>Features: {escape(shown)}{f', and {more} more' if more > 0 else ''}.</p>" if shown else ""
    return f"<h2>Model card</h2><table>{rows}</table>{features}" + _list("Known weaknesses", card.weaknesses)


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    return head + "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    told = interval.as_json()
    if told["low"] is None or told["high"] is None:
        return f"{interval.value:.4f}"
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _whom(who: str) -> str:
    return "the base rate" if who == "base" else "the champion"


_STYLE: Final = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.5em 0}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left;overflow-wrap:anywhere}"
    ".verdict{font-size:1.3em;font-weight:bold}pre{background:#f5f5f5;padding:1em;overflow:auto}"
    "svg text{font:11px sans-serif;fill:#444}.axis{fill:none;stroke:#888}"
    ".even{fill:none;stroke:#888;stroke-dasharray:4}.line{fill:none;stroke:#16c}.dot{fill:#16c}"
)
