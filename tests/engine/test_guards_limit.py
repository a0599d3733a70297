"""Calls at a time: nobody overtakes, no place stands empty, undos go first."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_engine.guards.call_limit import CallLimit
from sagacity_engine.guards.turns import Turns


class Caller:
    """An attempt that asks for a place; `then` is what it does when it is called back."""

    def __init__(self, name: str, told: list[str], then: Callable[[], object] | None = None) -> None:
        self.name = name
        self.told = told
        self.then = then

    def go(self) -> None:
        self.told.append(self.name)
        if self.then is not None:
            self.then()


def test_places_are_taken_and_passed_on() -> None:
    """As many go at once as there are places; each that leaves lets the one go that waits longest."""
    told: list[str] = []
    limit = CallLimit(2)
    assert [limit.enter(Caller(name, told).go) for name in "ab"] == [True, True]
    assert not limit.enter(Caller("c", told).go, urgent=False)
    assert not limit.enter(Caller("d", told).go)
    assert (limit.in_flight, limit.waiting) == (2, 2)
    limit.leave()
    assert told == ["c"]
    limit.leave()
    assert told == ["c", "d"]
    limit.leave()
    limit.leave()
    assert (limit.in_flight, limit.waiting) == (0, 0)


def test_undos_go_first() -> None:
    """The urgent come before all others, in their own order."""
    told: list[str] = []
    limit = CallLimit(1)
    limit.enter(Caller("first", told).go)
    for name, urgent in (("a", False), ("U", True), ("b", False), ("V", True)):
        assert not limit.enter(Caller(name, told).go, urgent=urgent)
    for _ in range(4):
        limit.leave()
    assert told == ["U", "V", "a", "b"]


def test_whoever_withdraws_is_not_called_back() -> None:
    """Withdrawing works once, in either line, not for one that has its place; nobody else loses a turn."""
    told: list[str] = []
    limit = CallLimit(1)
    callers = {name: Caller(name, told) for name in ("first", "a", "U", "b")}
    for name, caller in callers.items():
        limit.enter(caller.go, urgent=name == "U")
    assert not limit.withdraw(callers["first"].go)
    assert [limit.withdraw(callers[name].go) for name in ("a", "U", "a")] == [True, True, False]
    limit.leave()
    assert told == ["b"]
    assert not limit.withdraw(callers["b"].go)


def test_without_a_limit_all_go() -> None:
    """No limit: everybody goes at once, and is counted."""
    limit = CallLimit(None)
    assert [limit.enter(print) for _ in range(100)] == [True] * 100
    limit.leave()
    assert limit.in_flight == 99


@pytest.mark.parametrize("urgent", [False, True])
def test_one_call_back_one_place(urgent: bool) -> None:
    """An attempt that waits cannot wait again, in neither line; and nobody leaves who has not entered."""
    limit = CallLimit(1)
    with pytest.raises(AssertionError):
        limit.leave()
    limit.enter(print)
    limit.enter(print)
    with pytest.raises(AssertionError):
        limit.enter(print, urgent=urgent)


def test_a_long_line_moves_without_recursion() -> None:
    """A hundred thousand that leave as soon as they are called are all called, in order, by one leave."""
    told: list[str] = []
    limit = CallLimit(1)
    limit.enter(print)
    names = [str(number) for number in range(100_000)]
    for name in names:
        limit.enter(Caller(name, told, limit.leave).go)
    limit.leave()
    assert told == names
    assert (limit.in_flight, limit.waiting) == (0, 0)


def test_who_comes_during_a_call_back_does_not_overtake() -> None:
    """One that enters while places are being passed on goes to the end of the line."""
    told: list[str] = []
    limit = CallLimit(1)
    late = Caller("late", told, limit.leave)

    def come_late() -> None:
        assert not limit.enter(late.go)
        limit.leave()

    limit.enter(print)
    limit.enter(Caller("a", told, come_late).go)
    limit.enter(Caller("b", told, limit.leave).go)
    limit.leave()
    assert told == ["a", "b", "late"]
    assert limit.in_flight == 0


def test_a_call_back_that_raises_costs_nobody_else_a_turn() -> None:
    """The others in line are called all the same; then the first problem comes out of the leave."""
    told: list[str] = []
    limit = CallLimit(1)

    def stumble(words: str) -> None:
        limit.leave()
        raise ValueError(words)

    limit.enter(print)
    limit.enter(partial(stumble, "one"))
    limit.enter(partial(stumble, "two"))
    limit.enter(Caller("last", told).go)
    with pytest.raises(ValueError, match="one"):
        limit.leave()
    assert told == ["last"]
    assert limit.in_flight == 1


def test_turns_are_taken_one_after_the_other() -> None:
    """What is handed in during a call is called after it, not inside it."""
    told: list[str] = []
    turns = Turns()

    def outer() -> None:
        turns.take(lambda: told.append("inner"))
        told.append("outer")

    turns.take(outer)
    assert told == ["outer", "inner"]


class Model:
    """The limit by its definition: who goes, and who waits in which order."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.going: set[int] = set()
        self.line: list[tuple[bool, int]] = []  # (not urgent, number): sorted is the order of turns

    def settle(self) -> None:
        while self.line and len(self.going) < self.places:
            self.line.sort()
            self.going.add(self.line.pop(0)[1])


KINDS = ["enter", "enter", "urgent", "leave", "leave", "withdraw"]
MOVES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99)), max_size=100)


@given(st.integers(1, 4), MOVES)
def test_it_does_what_the_model_does(places: int, moves: list[tuple[str, int]]) -> None:
    """Whatever comes and goes, those who go are those of the definition, and nobody is called twice."""
    limit, model = CallLimit(places), Model(places)
    going: list[int] = []
    calls: dict[int, Callable[[], None]] = {}
    for number, (move, pick) in enumerate(moves):
        if move in ("enter", "urgent"):
            calls[number] = partial(going.append, number)
            if limit.enter(calls[number], urgent=move == "urgent"):
                going.append(number)
            model.line.append((move != "urgent", number))
        elif move == "leave" and going:
            left = going.pop(pick % len(going))
            model.going.remove(left)
            limit.leave()
        elif move == "withdraw" and calls:
            one = sorted(calls)[pick % len(calls)]
            waits = [each for each in model.line if each[1] == one]
            assert limit.withdraw(calls[one]) is bool(waits)
            model.line = [each for each in model.line if each[1] != one]
        model.settle()
        assert sorted(going) == sorted(model.going)
        assert (limit.in_flight, limit.waiting) == (len(model.going), len(model.line))
