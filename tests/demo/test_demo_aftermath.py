"""What the live report says of a journal and the services' ledgers."""

import asyncio
from pathlib import Path

import pytest

from sagacity_api.demo.aftermath import RunLine, report, run_lines
from sagacity_engine import (
    Advice,
    Direction,
    Engine,
    Launch,
    Saga,
    SqliteJournal,
    Status,
    author_plan,
    define,
)
from sagacity_engine.handlers import idempotency_key

trip = define("two-steps")


@trip.step(cost=1.0)
def book(call: object) -> None:
    """Books."""


@book.compensation(cost=1.0)
def cancel(call: object) -> None:
    """Cancels."""


@trip.step(kind="retriable", after=[book])
def tell(call: object) -> None:
    """Tells."""


SAGA = trip.bind().saga


def effects(run_id: str, *, booked: str = "", cancelled: str = "") -> dict[str, int]:
    """A ledger that holds these steps' bookings and cancellations, once each."""
    return {
        **{idempotency_key(run_id, step, Direction.FORWARD): 1 for step in booked.split()},
        **{idempotency_key(run_id, step, Direction.UNDO): 1 for step in cancelled.split()},
    }


def broken(status: Status, ledger: dict[str, int]) -> tuple[str, ...]:
    return report(SAGA, [RunLine("r", status, advised=True)], set(), ledger).broken


def test_a_completed_run_has_every_booking() -> None:
    """A completed run with a missing or a cancelled booking contradicts the ledgers; a whole one does not."""
    assert broken(Status.COMPLETED, effects("r", booked="book tell")) == ()
    assert broken(Status.COMPLETED, effects("r", booked="book")) == (
        "r completed, but tell was booked 0 and cancelled 0 times",
    )
    assert broken(Status.COMPLETED, effects("r", booked="book tell", cancelled="book")) == (
        "r completed, but book was booked 1 and cancelled 1 times",
    )


def test_a_compensated_run_has_no_standing_booking() -> None:
    """A compensated run whose booking nobody cancelled contradicts the ledgers; a cancelled one does not."""
    assert broken(Status.COMPENSATED, effects("r", booked="book", cancelled="book")) == ()
    assert broken(Status.COMPENSATED, effects("r")) == ()
    assert broken(Status.COMPENSATED, effects("r", booked="book")) == (
        "r was compensated, but book is still booked",
    )


def test_runs_are_counted_by_their_ends() -> None:
    """Each end is counted once, and of the runs open at the kill those that have ended since."""
    lines = [
        RunLine("a", Status.COMPLETED, advised=True),
        RunLine("b", Status.COMPENSATED, advised=False),
        RunLine("c", Status.NEEDS_ATTENTION, advised=True),
        RunLine("d", Status.RUNNING, advised=True),
    ]
    told = report(SAGA, lines, {"a", "d"}, effects("a", booked="book tell"))
    assert told.plain() == {
        "sagas": 4,
        "advised": 3,
        "completed": 1,
        "compensated": 1,
        "needs_attention": 1,
        "in_flight_at_kill_and_ended": 1,
    }
    assert told.broken == ()


class Adviser:
    """Advises the author's plan."""

    async def advise(self, saga: Saga, launch: Launch) -> Advice:
        return Advice(plan=author_plan(saga), advice_id="x", model_version="m")


@pytest.mark.parametrize(("holdout_share", "advised"), [(0.0, True), (1.0, False)])
def test_holdout_runs_are_not_advised(tmp_path: Path, holdout_share: float, advised: bool) -> None:
    """A run that was assigned to the holdout counts as not advised, whatever the advisor would have said."""

    async def run() -> None:
        journal = SqliteJournal(tmp_path / "j.db")
        async with Engine(
            journal, sagas=[trip.bind()], advisor=Adviser(), holdout_share=holdout_share
        ) as engine:
            await engine.run("two-steps", {}, run_id="one")

    asyncio.run(run())
    assert run_lines(tmp_path / "j.db") == [RunLine("one", Status.COMPLETED, advised=advised)]
