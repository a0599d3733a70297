"""docs/OBSERVING.md names every metric, span, attribute, event and fate there is, and no other."""

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sagacity_api.telemetry import EventPoster, Fate, Readings, RunMetrics
from sagacity_api.telemetry.attempt_ends import Outcome
from sagacity_api.telemetry.span_names import ATTRIBUTES, SPAN_EVENTS, SPANS
from sagacity_engine import MemoryJournal
from sagacity_engine.listeners import Listeners


@pytest.fixture(scope="module")
def text() -> str:
    return (Path(__file__).parents[2] / "docs" / "OBSERVING.md").read_text("utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table with this first column."""
    table = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(text: str, heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows(text, heading)]


class Engine:
    def __init__(self) -> None:
        self.listeners = Listeners([])
        self.parked: dict[str, str] = {}
        self.stranded: dict[str, str] = {}


class Committing(MemoryJournal):
    commits = 0


def test_every_metric_is_documented(text: str, stories: dict[str, Any], play: Any) -> None:
    """The tables of metrics and readings list exactly what a registry exposes, each with its labels."""
    registry = CollectorRegistry()
    metrics = RunMetrics(registry)
    for story in stories.values():
        play(story, listener=metrics)
    poster = EventPoster("http://127.0.0.1:9")
    breakers = {"airline": "open"}
    Readings(registry, engine=Engine(), journal=Committing(), breakers=lambda: breakers, poster=poster)
    exposed = {
        family.name + ("_total" if family.type == "counter" else ""): {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in registry.collect()
    }
    documented = {
        row[0].strip("`"): {label for label in row[1].split(", ") if label}
        for heading in ("metric", "reading")
        for row in rows(text, heading)
    }
    assert documented == exposed


def test_no_metric_is_named_that_is_not_there(text: str) -> None:
    """Wherever the document speaks of a metric, it is one of the tables."""
    known = {*names(text, "metric"), *names(text, "reading")}
    assert set(re.findall(r"\bsagacity_(?!api|engine)\w+", text)) == known


def test_every_metric_has_a_unit() -> None:
    """A metric is a count of something named, or ends in its unit."""
    registry = CollectorRegistry()
    RunMetrics(registry)
    histograms = [family.name for family in registry.collect() if family.type == "histogram"]
    assert all(name.endswith("_seconds") for name in histograms)


def test_every_span_is_documented(text: str) -> None:
    """The table of spans lists every template of a span's name, and no other."""
    assert [re.sub(r"{\w+}", "{}", name) for name in names(text, "span")] == list(SPANS)


@pytest.mark.parametrize(("heading", "there"), [("event", SPAN_EVENTS), ("attribute", ATTRIBUTES)])
def test_every_part_of_a_span_is_documented(heading: str, there: tuple[str, ...], text: str) -> None:
    """The tables of span events and attributes list every one, in order, and no other."""
    assert names(text, heading) == list(there)


def test_every_fate_and_outcome_is_documented(text: str) -> None:
    """Every fate of a posted event has its line, and every outcome of an attempt is named."""
    assert names(text, "fate") == list(Fate)
    says = next(row[1] for row in rows(text, "attribute") if row[0] == "`sagacity.outcome`")
    assert re.findall(r"\w+", says.partition(";")[0])[3:] == list(Outcome)
