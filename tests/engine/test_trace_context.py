"""Where a call stands in a trace: valid, deterministic, and the caller's trace where there is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_engine.events import Direction
from sagacity_engine.trace_context import child, valid

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
FORWARD, UNDO = Direction.FORWARD, Direction.UNDO


@pytest.mark.parametrize(
    "text",
    [
        PARENT,
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f"cc-{TRACE}-{SPAN}-01-what-comes",
        f"01-{TRACE}-{SPAN}-01",
    ],
)
def test_valid_ones_are_taken(text: str) -> None:
    """Version 00 as it is, and later versions whose beginning we can read."""
    assert valid(text)
    assert child(text, "r", "pay", FORWARD, 1)[3:35] == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f" {PARENT}",
        f"{PARENT}\n",
    ],
)
def test_invalid_ones_begin_a_new_trace(text: str) -> None:
    """What is no traceparent is as if there were none: the run's own trace, never a broken header."""
    assert not valid(text)
    assert child(text, "r", "pay", FORWARD, 1) == child("", "r", "pay", FORWARD, 1)


@pytest.mark.parametrize(
    ("flags", "kept"), [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
)
def test_flags_are_kept(flags: str, kept: str) -> None:
    """Whether the trace is sampled, and random, is passed on; flags nobody has defined are not."""
    assert child(f"00-{TRACE}-{SPAN}-{flags}", "r", "pay", FORWARD, 1)[-2:] == kept


def test_known_calls_have_known_places() -> None:
    """The ids are frozen: another process, or a later version, gives a call the same place in its trace."""
    assert child(PARENT, "r-1", "pay", FORWARD, 1) == f"00-{TRACE}-7412ebbcd848b5eb-01"
    assert child("", "r-1", "pay", FORWARD, 1) == "00-58696c3c0270c4aafd3e4a6306b9b769-7412ebbcd848b5eb-01"


NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8)
CALLS = st.tuples(NAMES, NAMES, st.sampled_from(Direction), st.integers(1, 1_000))


@given(CALLS, CALLS, st.sampled_from([PARENT, ""]))
def test_calls_differ(
    one: tuple[str, str, Direction, int], two: tuple[str, str, Direction, int], parent: str
) -> None:
    """Every result is valid; equal calls have equal places, and other calls others, in one trace per run."""
    first, second = child(parent, *one), child(parent, *two)
    assert valid(first)
    assert (first == second) is (one == two)
    assert (first[3:35] == second[3:35]) is (parent != "" or one[0] == two[0])


def test_names_do_not_run_together() -> None:
    """A slash in a run's id and one in a step's name are not mistaken for each other."""
    assert child(PARENT, "a/b", "c", UNDO, 1) != child(PARENT, "a", "b/c", UNDO, 1)
