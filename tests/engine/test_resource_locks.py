"""Resources that no two runs hold at once: everybody is granted in the end, in order, and never two."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity_engine.guards.resource_locks import ResourceLocks


def never() -> None:
    raise AssertionError("nobody was to be called")


def test_free_keys_are_held_at_once() -> None:
    """Who asks for free keys, or for none, holds them at once and is not called; others see who."""
    locks = ResourceLocks()
    assert locks.ask("r1", ["b", "a", "b"], never)
    assert locks.ask("r2", [], never)
    assert [locks.holder(key) for key in "abc"] == ["r1", "r1", None]
    assert [locks.waiting(run) for run in ("r1", "r2", "r3")] == [None, None, None]


def test_who_waits_is_granted_when_the_last_key_is_free() -> None:
    """A run that waits keeps the keys it has and is told once, when it holds all of them."""
    locks, told = ResourceLocks(), list[str]()
    locks.ask("r1", ["b"], never)
    locks.ask("r2", ["c"], never)
    assert not locks.ask("r3", ["c", "b", "a"], lambda: told.append("r3"))
    assert (locks.holder("a"), locks.waiting("r3")) == ("r3", "b")
    locks.release("r1")
    assert (told, locks.waiting("r3")) == ([], "c")
    locks.release("r2")
    assert (told, locks.waiting("r3"), locks.holder("c")) == (["r3"], None, "r3")
    locks.release("r3")
    assert [locks.holder(key) for key in "abc"] == [None, None, None]


def test_a_key_goes_to_who_waits_longest() -> None:
    """Each key's line is served in the order of asking."""
    locks, told = ResourceLocks(), list[str]()
    locks.ask("r0", ["a"], never)
    for run in ("r1", "r2", "r3"):
        locks.ask(run, ["a"], partial(told.append, run))
    for run in ("r0", "r1", "r2"):
        locks.release(run)
    assert told == ["r1", "r2", "r3"]


def test_who_gives_up_waiting_is_not_called() -> None:
    """A waiting run that lets go keeps nothing, is never called, and costs nobody else a turn."""
    locks, told = ResourceLocks(), list[str]()
    locks.ask("r0", ["b"], never)
    locks.ask("r1", ["a", "b"], never)
    locks.ask("r2", ["b"], lambda: told.append("r2"))
    locks.release("r1")
    assert locks.holder("a") is None
    locks.release("r0")
    assert told == ["r2"]
    locks.release("nobody")


def test_who_lets_go_before_being_told_is_not_called() -> None:
    """Two are granted by one release; what the first does makes the second let go: it is not called."""
    locks, told = ResourceLocks(), list[str]()

    def first() -> None:
        told.append("r1")
        locks.release("r2")

    locks.ask("r0", ["a", "b"], never)
    locks.ask("r1", ["a"], first)
    locks.ask("r2", ["b"], never)
    locks.release("r0")
    assert told == ["r1"]
    assert locks.holder("b") is None


def test_all_or_none() -> None:
    """Trying takes every key, or none and names those that others hold."""
    locks = ResourceLocks()
    assert locks.try_all("r1", ["b", "a"]) == ()
    assert locks.try_all("r2", ["c", "b", "a"]) == ("a", "b")
    assert locks.holder("c") is None
    locks.release("r1")
    assert locks.try_all("r2", ["c", "b", "a"]) == ()
    assert locks.holder("c") == "r2"


def test_a_run_asks_once() -> None:
    """Asking again without having let go is a bug, and says so; after letting go it is not."""
    locks = ResourceLocks()
    locks.ask("r1", ["a"], never)
    with pytest.raises(AssertionError, match="asks once"):
        locks.ask("r1", ["b"], never)
    locks.release("r1")
    assert locks.ask("r1", ["b"], never)


def test_a_long_line_moves_without_recursion() -> None:
    """A hundred thousand runs that let go as soon as they are told are all told, in order, by one release."""
    locks, told = ResourceLocks(), list[int]()

    def grant(number: int) -> None:
        told.append(number)
        locks.release(str(number))

    locks.ask("first", ["a", "b"], never)
    for number in range(100_000):
        locks.ask(str(number), ["a", "b"], partial(grant, number))
    locks.release("first")
    assert told == list(range(100_000))
    assert locks.holder("a") is None


ASKED = st.lists(st.sets(st.sampled_from("abcde"), max_size=4), min_size=1, max_size=25)


class Runs:
    """Runs that ask, hold and let go, with what must hold for their locks checked at every turn."""

    def __init__(self, asked: list[set[str]]) -> None:
        self.keys = {f"r{number}": frozenset(keys) for number, keys in enumerate(asked)}
        self.to_ask = list(self.keys)
        self.holding: list[str] = []
        self.waiting: list[str] = []
        self.granted: list[str] = []
        self.withdrawn: set[str] = set()
        self.came: dict[tuple[str, str], int] = {}
        self.locks = ResourceLocks()

    def ask(self) -> None:
        run = self.to_ask.pop(0)
        self.waiting.append(run)
        if self.locks.ask(run, self.keys[run], lambda: self.grant(run)):
            self.grant(run)

    def grant(self, run: str) -> None:
        assert run not in self.withdrawn
        self.waiting.remove(run)
        self.holding.append(run)
        self.granted.append(run)

    def let_go(self, run: str) -> None:
        line = self.holding if run in self.holding else self.waiting
        line.remove(run)
        self.withdrawn.add(run)
        self.locks.release(run)

    def check(self) -> None:
        held = [key for run in self.holding for key in self.keys[run]]
        assert len(held) == len(set(held)), "two runs hold one key"
        assert all(self.locks.holder(key) == run for run in self.holding for key in self.keys[run])
        assert all(self.locks.waiting(run) is None for run in self.holding)
        for run in self.waiting:
            key = self.locks.waiting(run)
            assert key is not None
            assert self.locks.holder(key) not in (None, run), "a run waits for a key that is free"
            assert all(self.locks.holder(lower) == run for lower in self.keys[run] if lower < key)

    def come(self, turn: int) -> None:
        """Notes at which turn each run was first seen in the line of which key."""
        for run in self.waiting + self.holding:
            reached = self.locks.waiting(run)
            for key in self.keys[run]:
                if reached is None or key <= reached:
                    self.came.setdefault((key, run), turn)


@given(ASKED, st.data())
def test_everybody_is_granted_in_the_end(asked: list[set[str]], data: st.DataObject) -> None:
    """Random runs ask, hold, give up and let go: never two holders, no key idle while wanted, no deadlock."""
    runs = Runs(asked)
    while runs.to_ask or runs.holding or runs.waiting:
        moves = ["ask"] * bool(runs.to_ask) + ["let go"] * bool(runs.holding)
        assert moves, "all that are left wait for each other"
        move = data.draw(st.sampled_from(3 * moves + ["give up"] * bool(runs.waiting)))
        if move == "ask":
            runs.ask()
        else:
            runs.let_go(data.draw(st.sampled_from(runs.holding if move == "let go" else runs.waiting)))
        runs.check()
    assert all(runs.locks.holder(key) is None for key in "abcde")


@given(ASKED, st.data())
def test_each_key_is_served_in_order(asked: list[set[str]], data: st.DataObject) -> None:
    """When runs only ask and let go, all are granted, and who came to a key first holds it first."""
    runs = Runs(asked)
    holders: dict[str, list[str]] = {key: [] for key in "abcde"}
    for turn in range(2 * len(asked)):
        move = data.draw(st.sampled_from(["ask"] * bool(runs.to_ask) + ["let go"] * bool(runs.holding)))
        if move == "ask":
            runs.ask()
        else:
            runs.let_go(data.draw(st.sampled_from(runs.holding)))
        runs.come(turn)
        for key, held in holders.items():
            holder = runs.locks.holder(key)
            if holder is not None and holder not in held:
                held.append(holder)
    assert sorted(runs.granted) == sorted(runs.keys)
    for key, held in holders.items():
        assert sorted(held) == sorted(run for run, keys in runs.keys.items() if key in keys)
        came = [runs.came[key, run] for run in held]
        assert came == sorted(came)
