from __future__ import annotations

from pathlib import Path

import pytest

from sagacity_data.case_store import EventLogDataset
from sagacity_data.case_tables import CaseSummary
from sagacity_data.importers import import_event_logs
from sagacity_data.outcomes import Outcome, OutcomeActivities
from sagacity_training.case_rows import PREFIX_EVENTS_MAX, known_cases
from sagacity_training.case_split import split_cases


def summary(number: int, start: int, last: int, case_id: str = "") -> CaseSummary:
    outcome = Outcome(number % 2 == 0, last - 1, last)
    return CaseSummary(number, case_id or f"c{number}", 0, 3, start, last, outcome)


def test_the_test_part_is_the_last_cases_by_start() -> None:
    """The last fifth by start is the test and starts at the cut; unknown outcomes are dropped first."""
    cases = [summary(number, 100 - number, 101 - number) for number in range(100)]
    unknown = [CaseSummary(500, "u", 0, 1, 1000, 1000, None)]
    split = split_cases(unknown + cases, 0.2)
    assert [case.number for case in split.test] == list(range(19, -1, -1))
    assert split.cut_us == 81
    assert split.before_cut == 80


def test_training_uses_only_outcomes_known_before_the_cut() -> None:
    """A case whose outcome was final at the cut or later is neither in training nor in a slice of it."""
    cases = [summary(number, number, number + (50 if number % 10 == 0 else 1)) for number in range(100)]
    split = split_cases(cases, 0.2)
    assert all(case.outcome.last_us < split.cut_us == 80 for case in split.train)
    assert {case.number for case in split.train} == {n for n in range(79) if n % 10 or n + 50 < 80}


def test_the_slices_follow_one_another_in_time() -> None:
    """Each slice's outcomes were final before the next slice's first start."""
    cases = [summary(number, number, number + 1 + number % 7) for number in range(400)]
    split = split_cases(cases, 0.2)
    parts = (split.fit, split.calibrate, split.select)
    assert all(parts)
    for earlier, later in ((split.fit, split.calibrate), (split.calibrate, split.select)):
        assert max(case.outcome.last_us for case in earlier) < min(case.start_us for case in later)
    assert max(case.outcome.last_us for case in split.select) < split.cut_us


def test_a_follow_up_window_leaves_out_what_is_too_young_at_each_moment() -> None:
    """Cases within the window before the log's end, the cut or the next slice are out, fast ones too."""
    cases = [summary(number, number * 1_000_000, number * 1_000_000 + 2) for number in range(101)]
    split = split_cases(cases, 0.2, follow_up_s=5.0)
    assert split.too_young == 5  # The log ends at 100 s: those from 96 s on, the last two microseconds later.
    assert [case.number for case in split.test][-1] == 95
    cut_s = split.cut_us // 1_000_000
    assert max(case.number for case in split.train) == cut_s - 5
    for earlier, later in ((split.fit, split.calibrate), (split.calibrate, split.select)):
        assert max(case.number for case in earlier) == later[0].number - 5
    with pytest.raises(ValueError, match="import a longer log"):
        split_cases(cases, 0.2, follow_up_s=1000.0)
    with pytest.raises(ValueError, match="follow-up window"):
        split_cases(cases, 0.2, follow_up_s=-1.0)


def test_each_source_ends_at_its_own_last_event() -> None:
    """A case is too young by the end of its own log, not by that of a later one beside it."""
    outcome = Outcome(True, 1, 1)
    early = [CaseSummary(n, f"a{n}", 0, 1, n * 1_000_000, n * 1_000_000, outcome) for n in range(10)]
    late = [CaseSummary(10 + n, f"b{n}", 1, 1, (100 + n) * 1_000_000, 0, outcome) for n in range(2)]
    late.append(CaseSummary(12, "b", 1, 1, 0, 200_000_000, None))
    split = split_cases([*early, *late], 0.5, follow_up_s=3.0)
    kept = {case.number for case in (*split.train, *split.test)}
    assert split.too_young == 3
    assert not kept & {7, 8, 9}
    assert {10, 11} <= kept


def test_equal_starts_are_ordered_by_id() -> None:
    """Cases of one start are sorted by id, whatever their place in the file."""
    cases = [summary(number, 5, 6, case_id) for number, case_id in enumerate("hgfedcba")]
    assert "".join(case.case_id for case in split_cases(cases, 0.5).test) == "efgh"


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    """A test share that leaves one part empty is refused."""
    with pytest.raises(ValueError, match="test share"):
        split_cases([summary(1, 1, 2)], share)


def test_prefixes_end_strictly_before_the_first_outcome_event(tmp_path: Path) -> None:
    """Events of the outcome's own instant are out wherever they stand; the rest keep the file's order."""

    def event(name: str, minute: int) -> str:
        at = f"2024-05-01T{10 + minute // 60:02d}:{minute % 60:02d}:00Z"
        when = f'<date key="time:timestamp" value="{at}"/>'
        return f'<event><string key="concept:name" value="{name}"/>{when}</event>'

    long = "".join(event(f"e{place}", place) for place in range(PREFIX_EVENTS_MAX + 5))
    log = tmp_path / "log.xes"
    log.write_text(
        f"<log><trace>{event('zz', 1)}{event('aa', 1)}"
        f"{event('same', 2)}{event('yes', 2)}{event('no', 3)}</trace>"
        f"<trace>{event('yes', 0)}{event('b', 5)}</trace><trace>{long}{event('no', 90)}</trace></log>",
        encoding="utf-8",
    )
    import_event_logs([log], tmp_path / "set", OutcomeActivities(("yes", "no"), ("yes",)))
    dataset = EventLogDataset.open(tmp_path / "set")
    split = split_cases(dataset.summaries(), 0.5)
    found = {case.number: case for case in known_cases(dataset, (*split.train, *split.test))}
    everything = known_cases(dataset, split_cases(dataset.summaries(), 0.99).test)
    found |= {case.number: case for case in everything}
    assert [event.activity for event in found[0].prefix.events] == ["zz", "aa"]
    assert found[0].success is False
    assert (found[1].prefix.events, found[1].success) == ((), True)
    assert [event.activity for event in found[2].prefix.events] == [f"e{n}" for n in range(PREFIX_EVENTS_MAX)]
