from __future__ import annotations

from typing import Any

import pytest

from sagacity_data.event_log import Case, CaseEvent
from sagacity_data.outcomes import (
    AttributeEquals,
    CompletedWithin,
    ContainsActivity,
    Outcome,
    OutcomeActivities,
    RuleRefused,
    parse_outcome_rule,
    rule_as_json,
    rule_from_json,
    rule_in_words,
)

SECOND = 1_000_000


def case(*steps: tuple[str, int], **attributes: str | float | bool) -> Case:
    return Case("c", tuple(CaseEvent(name, at_s * SECOND) for name, at_s in steps), attributes)


def test_the_last_outcome_event_decides() -> None:
    """Of several outcome events the last in time decides, and the first says from when the log tells."""
    rule = OutcomeActivities(("yes", "no"), ("yes",))
    assert rule.decide(case(("a", 0), ("no", 5), ("b", 6), ("yes", 9))) == Outcome(
        True, 5 * SECOND, 9 * SECOND
    )
    assert rule.decide(case(("yes", 5), ("no", 9))) == Outcome(False, 5 * SECOND, 9 * SECOND)


def test_at_one_instant_the_file_decides_which_is_last() -> None:
    """Outcome events of one instant are not ordered by name but by their place in the file."""
    rule = OutcomeActivities(("yes", "no"), ("yes",))
    for names, success in ((("yes", "no"), False), (("no", "yes"), True)):
        outcome = rule.decide(case(*((name, 5) for name in names)))
        assert outcome == Outcome(success, 5 * SECOND, 5 * SECOND)


def test_last_is_by_time_where_the_file_is_out_of_order() -> None:
    """An outcome event written earlier in the file but later in time is the last one."""
    rule = OutcomeActivities(("yes", "no"), ("yes",))
    assert rule.decide(case(("yes", 9), ("no", 5))) == Outcome(True, 5 * SECOND, 9 * SECOND)


def test_a_case_without_outcome_event_has_no_outcome() -> None:
    """Only the activities rule and a missing attribute leave a case without an outcome."""
    assert OutcomeActivities(("yes", "no"), ("yes",)).decide(case(("a", 0))) is None
    assert AttributeEquals("status", "ok").decide(case(("a", 0))) is None


def test_contains_is_told_by_the_activity_or_by_the_end() -> None:
    """A case that contains the activity is told by its first event, another one by its own end."""
    rule = ContainsActivity("paid")
    assert rule.decide(case(("a", 0), ("paid", 3), ("paid", 4), ("b", 9))) == Outcome(
        True, 3 * SECOND, 3 * SECOND
    )
    assert rule.decide(case(("a", 0), ("b", 9))) == Outcome(False, 9 * SECOND, 9 * SECOND)


@pytest.mark.parametrize(
    ("held", "wanted", "success"),
    [("ok", "ok", True), ("ok", "OK", False), (5, "5.0", True), (True, "True", True), (1.5, "x", False)],
)
def test_attributes_compare_by_their_type(held: str | float | bool, wanted: str, success: bool) -> None:
    """Numbers compare as numbers, truth values without regard to case, texts as they are."""
    outcome = AttributeEquals("status", wanted).decide(case(("a", 0), ("b", 9), status=held))
    assert outcome == Outcome(success, 9 * SECOND, 9 * SECOND)


def test_a_late_case_is_known_late_at_the_limit() -> None:
    """Duration up to the limit succeeds; a longer case is told when the limit passes, not at its end."""
    rule = CompletedWithin(10)
    assert rule.decide(case(("a", 0), ("b", 10))) == Outcome(True, 10 * SECOND, 10 * SECOND)
    assert rule.decide(case(("a", 0), ("b", 11))) == Outcome(False, 10 * SECOND, 10 * SECOND)
    assert rule.decide(case(("a", 0), ("b", 4))) == Outcome(True, 4 * SECOND, 4 * SECOND)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"outcome_activities": "A, B,C", "success": "A,B"}, OutcomeActivities(("A", "B", "C"), ("A", "B"))),
        ({"outcome_activities": '"A, late",B', "success": "B"}, OutcomeActivities(("A, late", "B"), ("B",))),
        ({"success_contains": "A, B"}, ContainsActivity("A, B")),
        ({"success_attribute": "k=v=w"}, AttributeEquals("k", "v=w")),
        ({"success_within": "86400"}, CompletedWithin(86400.0)),
    ],
)
def test_options_become_rules_and_survive_json(options: dict[str, Any], rule: object) -> None:
    """Each set of options gives its rule, which reads back from JSON equal, and has words."""
    parsed = parse_outcome_rule(**options)
    assert parsed == rule
    assert rule_from_json(rule_as_json(parsed)) == rule
    assert rule_in_words(parsed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one of"),
        ({"success": "A"}, "--success needs --outcome-activities"),
        ({"outcome_activities": "A,B"}, "needs --success"),
        ({"outcome_activities": "A,B", "success": "C"}, "'C' is not among"),
        ({"outcome_activities": "A,B", "success": "B,A"}, "no case could fail"),
        ({"outcome_activities": "", "success": "A"}, "--outcome-activities is empty"),
        ({"outcome_activities": "A,,B", "success": "A"}, "holds an empty name"),
        ({"success_contains": "A", "success": "A"}, "contradicts --success-contains"),
        ({"success_contains": "A", "success_within": 5}, "--success-contains and --success-within"),
        ({"success_contains": " "}, "holds an empty name"),
        ({"success_attribute": "status"}, "is not KEY=VALUE"),
        ({"success_within": "soon"}, "'soon' is not a positive number"),
        ({"success_within": -1}, "-1 is not a positive number"),
        ({"success_within": "inf"}, "'inf' is not a positive number"),
        ({"success_within": 1e308}, "is not a positive number"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], said: str) -> None:
    """Missing, contradictory and unreadable options name themselves and the way out."""
    with pytest.raises(RuleRefused, match=said):
        parse_outcome_rule(**options)


@pytest.mark.parametrize(
    "written", [{}, {"kind": "moon"}, {"kind": "within", "duration_s": "x"}, {"kind": "contains"}]
)
def test_a_rule_of_another_version_is_refused(written: dict[str, Any]) -> None:
    """What this version did not write is not read as a rule."""
    with pytest.raises(RuleRefused, match="no outcome rule"):
        rule_from_json(written)
