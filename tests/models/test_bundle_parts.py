"""Every part of a bundle comes back as it was, and adding one is adding a line."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from sagacity_models.bundle import Bundle, load_bundle, save_bundle
from sagacity_models.bundle_parts import PARTS, read_parts, texts_of
from sagacity_models.calibration import Identity, Isotonic, Platt
from sagacity_models.case_calibration import PlattMap
from sagacity_models.case_outcome import CaseModelKind, CaseOutcomeModel, LogisticModel
from sagacity_models.encoding import CategoryColumn, FeatureEncoding, NumberColumn
from sagacity_models.failure_classifier import CLASS_NAMES, FailureClassifier
from sagacity_models.golden import golden_text, refusal_of
from sagacity_models.linear import LinearModel
from sagacity_models.live_risk import LiveRisk, LiveSource
from sagacity_models.live_risk_golden import live_forecasts
from sagacity_models.live_risk_rates import LiveRates, Rate
from sagacity_models.live_risk_remaining import PROBABILITIES, RemainingKind, RemainingTime, ResidualLaw
from sagacity_models.prefix_features import PrefixLayout
from sagacity_models.prefix_vocabulary import PrefixVocabulary
from sagacity_models.probe import ProbeLimits
from sagacity_models.step_models import Recipe
from sagacity_models.tabular import BINARY, TabularForecaster
from sagacity_models.tabular_rates import ShrunkRates


def live_risk() -> LiveRisk:
    """Live risk with a model, rates and both laws of time, made by hand."""
    vocabulary = PrefixVocabulary(
        ("trip/pay|forward failed",), ("bank",), ("health",), (("error", ("Busy", "none")),)
    )
    width = PrefixLayout(vocabulary).width
    logistic = LogisticModel(
        (0.0,) * width, (1.0,) * width, tuple(place / width for place in range(width)), 0.1
    )
    outcome = CaseOutcomeModel(CaseModelKind.LOGISTIC, vocabulary, 0.7, PlattMap(1.0, 0.0), logistic=logistic)
    rates = LiveRates(Rate(0.7, 50), {"trip": Rate(0.7, 50)}, {"trip/0": Rate(0.7, 50)})
    laws = [
        RemainingTime(RemainingKind.POOLED, ResidualLaw(tuple(each + more for each in PROBABILITIES), 40), {})
        for more in (3.0, 2.0)
    ]
    return LiveRisk(
        outcome, LiveSource.MODEL, rates=rates, remaining=laws[0], remaining_good=laws[1], cases=50
    )


@pytest.fixture
def whole(bundle: Bundle) -> Bundle:
    """A bundle with every part there is: the small one, and one of each of those that may be missing."""
    encoding = FeatureEncoding((NumberColumn("amount", 10.0, 5.0),), (CategoryColumn("vendor", ("a", "b")),))
    slopes = (0.5, 0.1, -0.1, 0.0)
    rates = ShrunkRates((0.9, 0.1), 10.0, (150.0, 50.0))
    undo = TabularForecaster(BINARY, 200, rates, Recipe.LINEAR, encoding, LinearModel((0.0,), (slopes,)))
    classes = TabularForecaster(CLASS_NAMES, 90, ShrunkRates((0.5, 0.2, 0.3), 9.0, (40.0, 20.0, 30.0)))
    return replace(
        bundle,
        tabular={"compensation_failure": undo, "effect": replace(undo, calibration=Platt(1.0, 0.3))},
        failure_classes=FailureClassifier(classes, ("timeout", "refused")),
        calibrations={"trip": Isotonic((0.1, 0.9), (0.2, 0.8)), "order": Identity()},
        live_risk=live_risk(),
    )


def test_every_field_with_a_model_is_a_part() -> None:
    """The table of parts and the bundle's fields agree, but for what the manifest tells."""
    told = {"facts", "version", "created_at"}
    assert set(PARTS) == {each.name for each in fields(Bundle)} - told


def test_all_parts_come_back(whole: Bundle, tmp_path: Path) -> None:
    """Values of every part survive saving and loading, and the version of what was loaded is the same."""
    version = save_bundle(whole, tmp_path / "bundle", created_at="x")
    loaded = load_bundle(tmp_path / "bundle")
    for name in ("base", "encoding", "tabular", "failure_classes", "calibrations"):
        assert getattr(loaded, name) == getattr(whole, name)
    values = {name: getattr(whole, name) for name in PARTS}
    assert texts_of({name: getattr(loaded, name) for name in PARTS}) == texts_of(values)
    assert save_bundle(loaded, tmp_path / "again", created_at="y") == version
    assert {path.name for path in (tmp_path / "bundle").iterdir()} >= {
        "tabular.compensation_failure.forecaster.json",
        "tabular.effect.forecaster.json",
        "failure_classes.words.json",
        "calibrations.json",
        "live_risk.json",
        "live_risk.outcome.logistic.json",
        "live_risk.remaining_good.json",
    }
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    assert manifest["recipes"]["live_risk"] == "model"


def test_golden_rows_are_of_all_parts(whole: Bundle, tmp_path: Path) -> None:
    """Each model of every part has golden forecasts, so none is taken in untried."""
    save_bundle(whole, tmp_path / "bundle", created_at="x")
    told = json.loads((tmp_path / "bundle" / "golden.json").read_text("utf-8"))
    assert set(told["forecasts"]) >= {
        "service",
        "request",
        "tabular.compensation_failure",
        "tabular.effect",
        "failure_classes",
        "calibrations",
        "live_risk",
        "live_risk.remaining_s",
        "live_risk.within_deadline",
    }
    assert len(told["forecasts"]["tabular.effect"]) == 2 * len(told["rows"])
    assert {row.get("vendor") for row in told["rows"]} >= {"a", "b"}


def test_absent_parts_leave_no_file(bundle: Bundle) -> None:
    """A bundle without the parts that may be missing has no file for them, and reads back without."""
    texts = texts_of({name: getattr(bundle, name) for name in PARTS})
    assert not any(
        name.startswith(("tabular", "failure_classes", "calibrations", "live_risk")) for name in texts
    )
    parts = read_parts(texts)
    assert (parts["tabular"], parts["failure_classes"], parts["calibrations"]) == ({}, None, {})
    assert parts["live_risk"] is None


def test_live_risk_says_the_same_once_loaded(whole: Bundle, tmp_path: Path) -> None:
    """Its made-up cases are told apart by the model, and forecast alike before and after a probed loading."""
    save_bundle(whole, tmp_path / "bundle", created_at="x")
    loaded = load_bundle(tmp_path / "bundle", probe=ProbeLimits()).live_risk
    assert loaded is not None
    assert whole.live_risk is not None
    said = live_forecasts(loaded)
    assert said == live_forecasts(whole.live_risk)
    assert len(set(said["live_risk"])) > 2


def test_live_risk_that_reads_otherwise_is_found(whole: Bundle) -> None:
    """Other weights than those that were saved give other golden forecasts, and that is said."""
    text = golden_text(whole)
    assert refusal_of(whole, text) == ""
    assert whole.live_risk is not None
    texts = whole.live_risk.texts()
    logistic = json.loads(texts["outcome/logistic.json"])
    changed = {"outcome/logistic.json": json.dumps(logistic | {"intercept": 0.2})}
    other = replace(whole, live_risk=LiveRisk.from_texts(texts | changed))
    assert "golden rows (live_risk)" in refusal_of(other, text)


@pytest.mark.parametrize("task", ["", "Undo", "a.b", "x" * 49, "../a", "_a"])
def test_a_task_is_a_plain_name(whole: Bundle, tmp_path: Path, task: str) -> None:
    """A task whose name could not be a file's is refused, and nothing is written."""
    strange = replace(whole, tabular={task: whole.tabular["effect"]})
    with pytest.raises(ValueError, match="no name for a task"):
        save_bundle(strange, tmp_path / "bundle", created_at="x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("spare.json", "{}", "no part of a bundle reads spare.json"),
        ("calibrations.json", '{"trip": NaN}', "NaN"),
        ("calibrations.json", '{"trip": {"kind": "platt", "slope": 1e999, "intercept": 0}}', "not finite"),
        ("calibrations.json", '{"a": {"kind": "identity"}, "a": {"kind": "identity"}}', "a key twice"),
        ("durations.json", "[" * 50_000, "durations.json cannot be read"),
        ("tabular.effect.extra.json", "{}", "no part of a forecaster"),
        ("live_risk.extra.json", "{}", "no part of live risk reads live_risk.extra.json"),
        ("live_risk.json", '{"format_version": 9}', "live risk format 9"),
        ("live_risk.rates.json", '{"whole": [1.5, 2], "sagas": {}, "standings": {}}', "is no rate"),
        ("live_risk.outcome.json", "{}", "the case model cannot be read"),
        (
            "live_risk.outcome.logistic.json",
            '{"mean": [0], "scale": [1], "weights": [1], "intercept": 0}',
            "other feature columns",
        ),
        ("live_risk.remaining.lgb.txt", "tree?", "has no trees"),
    ],
)
def test_nonsense_in_a_part_is_refused(whole: Bundle, name: str, text: str, why: str) -> None:
    """Whichever part reads a text, NaN, infinities, repeats, depth and strays are refused alike."""
    texts = texts_of({each: getattr(whole, each) for each in PARTS})
    with pytest.raises(ValueError, match=why):
        read_parts({**texts, name: text})
