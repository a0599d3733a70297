"""What teaches the class of a failure, what the classifier reads, and what it is worth."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_data.labels import Label
from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import FailureClass
from sagacity_models.base_rates import CLASSES
from sagacity_models.failure_classifier import FailureClassifier, failure_features, words_of
from sagacity_training.errors import NothingToLearn
from sagacity_training.failure_class_value import (
    SCHEDULES,
    Stakes,
    best_schedule,
    class_value,
    cost_of,
)
from sagacity_training.failure_classes import (
    LearntClasses,
    learn_failure_classes,
    macro_f1,
    taught_failures,
)

MakeRow = Callable[..., AttemptRow]
World = tuple[LearntClasses, list[AttemptRow], dict[tuple[str, str, str, int], FailureClass]]
TRANSIENT, PERMANENT, CASCADING = (
    FailureClass.TRANSIENT,
    FailureClass.PERMANENT,
    FailureClass.CASCADING,
)


def failed(**columns: Any) -> dict[str, Any]:
    """The columns of a refusal that declares nothing."""
    return {"outcome": AttemptOutcome.FAILED, "failure_class": FailureClass.UNKNOWN, **columns}


def worded(kind: FailureKind, at: float) -> dict[str, Any]:
    """The columns of a refusal whose words the taxonomy knows."""
    source = {"failure_kind": kind, "kind_source": LabelSource.TAXONOMY, "kind_known_at": at}
    return failed(error_type="E", **source)


def test_hindsight_teaches_where_words_disagree(attempt: MakeRow) -> None:
    """The words say "business", the retry passed ten seconds later: it was transient, known by then."""
    rows = [
        attempt("r", 10.0, **worded(FailureKind.BUSINESS, 10.0)),
        attempt("r", 20.0, attempt=2),
    ]
    (taught,) = taught_failures(rows)
    assert (taught.failure_class, taught.source, taught.known_at) == (TRANSIENT, LabelSource.HINDSIGHT, 20.0)


def test_hindsight_teaches_where_the_declared_class_disagrees(attempt: MakeRow) -> None:
    """Declared cascading, and permanent at the next try, which then passed: it was transient."""
    rows = [
        attempt("r", 10.0, **failed(failure_class=CASCADING)),
        attempt("r", 20.0, attempt=2, **failed(failure_class=PERMANENT)),
        attempt("r", 30.0, attempt=3),
    ]
    taught = taught_failures(rows)
    assert [each.failure_class for each in taught] == [TRANSIENT, TRANSIENT]
    assert taught[0].before is None
    assert taught[1].before == rows[0]


def test_words_teach_only_where_nothing_else_does(attempt: MakeRow) -> None:
    """One failure, never tried again: the words' kind, not before hindsight gave up after its window."""
    (taught,) = taught_failures([attempt("r", 10.0, **worded(FailureKind.BUSINESS, 10.0))])
    assert (taught.failure_class, taught.source) == (PERMANENT, LabelSource.TAXONOMY)
    assert taught.known_at == 10.0 + 120.0


def test_a_declared_refusal_teaches_before_words(attempt: MakeRow) -> None:
    """A participant that calls the input hopeless is believed where nothing contradicts it."""
    (taught,) = taught_failures([attempt("r", 10.0, **failed(failure_class=PERMANENT))])
    assert (taught.failure_class, taught.source) == (PERMANENT, LabelSource.DECLARED)


def test_the_user_is_always_believed(attempt: MakeRow) -> None:
    """Their label replaces hindsight's."""
    rows = [attempt("r", 10.0, **failed()), attempt("r", 20.0, attempt=2)]
    said = Label(run_id="r", step="hotel", kind=FailureKind.OVERLOAD, source=LabelSource.USER, known_at=50.0)
    (taught,) = taught_failures(rows, [said])
    assert (taught.failure_class, taught.known_at) == (CASCADING, 50.0)


def test_what_nobody_can_tell_teaches_nothing(attempt: MakeRow) -> None:
    """A lone unexplained refusal, and a bare timeout after which nothing passed, are no rows."""
    rows = [
        attempt("r", 10.0, **failed()),
        attempt("q", 500.0, outcome=AttemptOutcome.TIMED_OUT, failure_class=None),
    ]
    assert taught_failures(rows) == []
    with pytest.raises(NothingToLearn, match="no failure"):
        learn_failure_classes(rows, seed=0)


def test_labels_that_were_not_known_by_the_cut_teach_nothing(attempt: MakeRow) -> None:
    """The retry that passed at 20 is not known at 15."""
    rows = [attempt("r", 10.0, **failed()), attempt("r", 20.0, attempt=2)]
    with pytest.raises(NothingToLearn):
        learn_failure_classes(rows, seed=0, cut=15.0)


def test_features_say_what_is_known_at_the_failure(attempt: MakeRow) -> None:
    """The error, its words, the attempt's number, and a duration four times the usual one."""
    row = attempt(
        "r",
        10.0,
        **failed(error_type="SoldOut", error_message="none left on <n>", attempt=2, started_at=6.0),
    )
    told = failure_features(replace(row, features={"step_log_latency_7d": 0.0}), None, ("left", "peer"))
    assert (told["error"], told["declared"], told["worded"]) == ("SoldOut", "unknown", None)
    assert (told["word.left"], told["word.peer"]) == (True, False)
    assert told["attempt_number"] == 2.0
    assert told["duration_over_usual"] == pytest.approx(1.3862943611)  # ln 4
    assert words_of(row) == {"sold", "out", "none", "left"}


def test_macro_f1_counts_every_class_alike() -> None:
    """F1 is 2/3 for the class found once of twice, 4/5 for the other: 11/15 on the mean."""
    assert macro_f1([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx(11 / 15)


STAKES = Stakes(retry=0.2, latency_per_s=0.1, onward=1.0, abort=12.0, passes=0.5, recovery_s=10.0)


def test_the_cost_of_waits_is_that_of_the_formula() -> None:
    """Two waits of one second by hand: a transient failure passes with 1/2 each time."""
    first = 0.3 + 0.5 * 1.0
    second = 0.5 * 0.3 + 0.25 * 1.0 + 0.25 * 12.0
    assert cost_of((1.0, 1.0), {TRANSIENT: 1.0}, STAKES) == pytest.approx(first + second)
    assert cost_of((1.0, 1.0), {PERMANENT: 1.0}, STAKES) == pytest.approx(12.6)
    assert cost_of((), {TRANSIENT: 0.5, PERMANENT: 0.5}, STAKES) == 12.0


def test_the_best_schedule_depends_on_the_class() -> None:
    """Transient: short waits; cascading: longer ones; permanent: none at all."""
    assert len(SCHEDULES) <= 50
    assert best_schedule({PERMANENT: 1.0}, STAKES) == ()
    transient, cascading = (best_schedule({each: 1.0}, STAKES) for each in (TRANSIENT, CASCADING))
    assert max(transient) < max(cascading)


def test_an_oracle_captures_everything_and_the_blind_nothing() -> None:
    """Forecasts that are certain and right capture 1; forecasts that are the mix capture 0."""
    truths, mix = [TRANSIENT, PERMANENT], {TRANSIENT: 0.5, PERMANENT: 0.5}
    sure = class_value(truths, [{each: 1.0} for each in truths], [STAKES] * 2, mix)
    blind = class_value(truths, [mix] * 2, [STAKES] * 2, mix)
    assert sure.captured == pytest.approx(1.0)
    assert blind.captured == 0.0
    assert sure.blind > sure.oracle


@pytest.fixture(scope="module")
def world(classes: ModuleType) -> World:
    """A classifier of the first 70 % of a small world's runs, first failures of the rest, and the truth."""
    rows, truths = classes.simulated(classes.WORLDS[0], 20_000, 3)
    runs = list(dict.fromkeys(row.run_id for row in rows))
    earlier = set(runs[: int(0.7 * len(runs))])
    learnt = learn_failure_classes([row for row in rows if row.run_id in earlier], seed=3)
    later = [row for row in rows if row.run_id not in earlier]
    return learnt, [row for row in later if row.attempt == 1 and row.key in truths], truths


@pytest.mark.slow
def test_it_captures_most_of_the_oracles_value(classes: ModuleType, world: World) -> None:
    """In a world without hidden state, at least 80 % of what knowing every class would save."""
    learnt, firsts, truths = world
    told = learnt.classifier.posteriors([(row, None) for row in firsts])
    true = [truths[row.key] for row in firsts]
    mix = {each: true.count(each) / len(true) for each in CLASSES}
    value = class_value(true, told, [classes.stakes(row.step, classes.WORLDS[0]) for row in firsts], mix)
    assert value.captured >= 0.8
    assert learnt.learnt.signal


@pytest.mark.slow
def test_a_classifier_comes_back_from_its_texts_and_can_abstain(
    world: World,
) -> None:
    """The same posteriors, that sum to 1; with certainty demanded, every class is unknown."""
    learnt, firsts, _ = world
    pairs: list[tuple[AttemptRow, AttemptRow | None]] = [(row, None) for row in firsts[:50]]
    again = FailureClassifier.from_texts(learnt.classifier.texts())
    assert again.posteriors(pairs) == learnt.classifier.posteriors(pairs)
    assert all(sum(told.values()) == pytest.approx(1) for told in again.posteriors(pairs))
    strict = FailureClassifier(replace(again.forecaster, confidence_min=1.0), again.words)
    assert set(strict.classes(pairs)) == {FailureClass.UNKNOWN}


@pytest.mark.slow
def test_texts_without_words_are_refused(
    world: World,
) -> None:
    """A forecaster alone is no classifier of failures."""
    texts = world[0].classifier.texts()
    with pytest.raises(ValueError, match=r"words\.json"):
        FailureClassifier.from_texts({name: text for name, text in texts.items() if name != "words.json"})
