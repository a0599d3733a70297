"""The report of a training: one page that opens offline, whatever names the data hold."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from sagacity_training.judging.blocks import Interval
from sagacity_training.judging.classes import figures_of_confusion
from sagacity_training.judging.coverage import coverages
from sagacity_training.judging.decisions import Decisions
from sagacity_training.judging.figures import figures_of
from sagacity_training.judging.gate import gate
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.learning_curve import learning_curve
from sagacity_training.judging.ledger import Ledger
from sagacity_training.judging.model_card import ModelCard, instant
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.judging.report_page import Report, page

HOSTILE = "</script><script>alert('1')</script>\"&<img src=http://evil.example/x onerror=a>"
POLICY = GatePolicy()


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and how deep the tags end up."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "path", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(1)
    truth = rng.choice([0.05, 0.4], 2_000)
    outcomes = (rng.random(2_000) < truth).astype(float)
    judged = Judged(
        task=HOSTILE,
        outcomes=outcomes,
        forecasts=truth,
        base=np.full(2_000, truth.mean()),
        champion=None,
        at=np.arange(2_000, dtype=float),
        cases=np.arange(2_000),
        groups={"service": [HOSTILE, "plain"] * 1_000},
        n_train=9_000,
        chosen="linear",
        reason=HOSTILE,
    )
    interval = Interval(1.0, 0.5, 1.5)
    costs = {"author": 3.0, "static": 2.5, "advised": 2.0}
    return Report(
        kind="attempts",
        verdict=gate([judged], POLICY, Ledger()),
        tasks=(figures_of(judged, POLICY, draws=50, seed=1),),
        card=ModelCard(
            model=HOSTILE, version="v1", made_at=0.0, purpose="plans", window=(0.0, 86_400.0),
            data_sha256="ab" * 32, counts={"runs": 7}, labels={"hindsight": 3}, features=(HOSTILE,),
            weaknesses=(HOSTILE,), facts={"rule": HOSTILE},
        ),
        classes=figures_of_confusion([[3, 1], [0, 4]], [HOSTILE, "b"]),
        durations=coverages(np.array([1.0, 2.0]), {0.5: np.array([1.5, 1.5])}),
        curves=(learning_curve("t", outcomes, np.full(2_000, 0.2), [(10, truth), (20, truth)]),),
        decisions=Decisions(
            runs=30, changed=0.5, promised=costs, realised=costs, saved_author=interval, saved_static=interval
        ),
        notes=(HOSTILE,),
        config={"features": {"ignore": [HOSTILE]}},
    )  # fmt: skip


def test_hostile_names_stay_text(report: Report) -> None:
    """A name that looks like a script adds no tag; it can be read as it is; all tags are closed."""
    parser = Tags()
    parser.feed(page(report))
    assert parser.open == []
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in parser.tags)
    assert any(HOSTILE in words for words in parser.words)


def test_the_page_needs_no_network(report: Report) -> None:
    """No tag has an address or a handler, and the page forbids itself to load anything."""
    parser = Tags()
    parser.feed(page(report))
    for tag, attributes in parser.tags:
        assert not {"src", "href", "action", "data"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")]
    policies = [attributes.get("content") for tag, attributes in parser.tags if tag == "meta"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies


def test_the_page_tells_all_figures(report: Report) -> None:
    """Verdict, scores, slices, classes, durations, decisions and the model card are on it."""
    told = page(report)
    for words in (
        "Promoted",
        "log loss",
        "reliability",
        "Slices, worst first",
        "Macro-F1",
        "Durations",
        "Learning curve",
        "advised plans save 1.0000 (0.5000 to 1.5000)",
        "Model card",
        "1970-01-01 00:00:00+00:00",
        "Known weaknesses",
        "hindsight: 3",
    ):
        assert words in told, words
    assert told.count("<svg") == 2


def test_the_document_is_json(report: Report) -> None:
    """The JSON report reads back, has no NaN in it, and is the same each time."""
    told = json.loads(report.json_text())
    assert told == json.loads(report.json_text())
    assert told["models"][HOSTILE]["n_test"] == 2_000
    assert told["gate"]["gating"]["number"] == 1
    assert told["decisions"]["saved_against_author"] == {"value": 1.0, "low": 0.5, "high": 1.5}


def test_times_beyond_calendars_are_numbers() -> None:
    """A time that no calendar has is told as it is."""
    assert instant(0.0) == "1970-01-01 00:00:00+00:00"
    assert instant(1e300) == "1e+300"
