"""Which points are told: those of the suite, chosen to touch every write, and the whole product.

A story without faults says how many writes there are. The suite strikes every one of them once, and takes
the troubles in turn; the product strikes every one with every trouble, and kills again in the life after.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from tests.kill_points.shapes import SHAPES
from tests.kill_points.sweep import Point, StatementFault, tell
from tests.kill_points.troubles import POWER, Fault, Trouble

from sagacity_engine.testing.failpoints import Failure

NEVER = StatementFault(Failure.FAIL_BEFORE, 0)
TROUBLES = tuple(Trouble)
FAILURES = tuple(Failure)
TIMES = (1, 4)
"""For how many statements a failure lasts."""


@cache
def writes(shape: str, *, new: bool = False) -> int:
    """How often a story changes the disk when nothing goes wrong."""
    return tell(Point(shape, (None,), new=new)).counts[0]


@cache
def statements(shape: str) -> int:
    """How many statements a story makes that may change the file when nothing goes wrong."""
    return tell(Point(shape, (NEVER,))).counts[0]


def at_every_write(shape: str, troubles: tuple[Trouble, ...] = TROUBLES) -> Iterator[Point]:
    """Each write of a story once, with the troubles in turn."""
    for at in range(1, writes(shape) + 1):
        yield Point(shape, (Fault(troubles[(at + len(shape)) % len(troubles)], at),))


def at_every_write_of_a_new_journal(shape: str) -> Iterator[Point]:
    """Each write up to the first of the story's own, and some of those."""
    making = writes(shape, new=True) - writes(shape)
    for at in range(1, making + 5):
        yield Point(shape, (Fault(TROUBLES[at % len(TROUBLES)], at),), new=True)


def at_every_statement(shape: str) -> Iterator[Point]:
    """Each statement of a story once, with the failures in turn."""
    for at in range(1, statements(shape) + 1):
        failure = FAILURES[(at + len(shape)) % len(FAILURES)]
        yield Point(shape, (StatementFault(failure, at, TIMES[at // 2 % 2]),))


def killed_twice(shape: str, every: int) -> Iterator[Point]:
    """Killed at some write, and again at some write of the recovery; one in `every` pairs."""
    number = 0
    for first in range(1, writes(shape) + 1, 3):
        for second in range(1, writes(shape) + 1, 7):
            number += 1
            if number % every == 0:
                kill, again = TROUBLES[number % 3], TROUBLES[6 + number // 3 % 3]
                yield Point(shape, (Fault(kill, first), Fault(again, second)))


def product() -> Iterator[Point]:
    """Every write and statement of every shape with every trouble, and every pair of kills at statements."""
    for shape in SHAPES:
        for trouble in TROUBLES:
            yield from at_every_write(shape, (trouble,))
        for failure in FAILURES:
            for at in range(1, statements(shape) + 1):
                for times in TIMES[: 1 if failure.kills else 2]:
                    yield Point(shape, (StatementFault(failure, at, times),))
        yield from _pairs(shape)
        yield from killed_twice(shape, every=3)
    for trouble in TROUBLES:
        for at in range(1, writes("chain", new=True) + 1):
            yield Point("chain", (Fault(trouble, at),), new=True)


def _pairs(shape: str) -> Iterator[Point]:
    die = Failure.DIE_BEFORE
    for first in range(1, statements(shape) + 1):
        for second in range(1, statements(shape) + 1):
            yield Point(shape, (StatementFault(die, first), StatementFault(die, second)))


def chosen() -> Iterator[Point]:
    """What the suite tells."""
    for shape in SHAPES:
        yield from at_every_write(shape)
        yield from at_every_statement(shape)
        yield from killed_twice(shape, every=29)
    yield from at_every_write_of_a_new_journal("chain")


def unsynced(shape: str, troubles: tuple[Trouble, ...] = POWER, step: int = 1) -> Iterator[Point]:
    """A story on a journal whose `durability` is `normal`, struck at one in `step` writes."""
    lasting = tell(Point(shape, (None,), "normal")).counts[0]
    for at in range(1, lasting + 1, step):
        yield Point(shape, (Fault(troubles[at // step % len(troubles)], at),), "normal")
