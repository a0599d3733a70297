"""Journals at their edges: not open, given up on, full of plans and requests, or unreadable."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import (
    Advice,
    BoundSaga,
    Call,
    Engine,
    JournalRefused,
    Launch,
    MemoryJournal,
    Plan,
    Saga,
    SqliteJournal,
    Status,
    author_plan,
    define,
)
from sagacity_engine.events import AttemptStarted, AttemptSucceeded, Direction, RunEnded, RunStarted
from sagacity_engine.journal import REQUESTS_MAX, Batch, Journal, Request, Settle, line_after
from sagacity_engine.saga import Step
from sagacity_engine.sqlite import commit
from sagacity_engine.sqlite.rows import checksum, no_tail

SAGA = Saga(name="s", steps=(Step(name="a"),))
OTHER = Saga(name="t", steps=(Step(name="a"),))
PLAN = author_plan(SAGA)
STARTED = AttemptStarted(at=2.0, step="a", direction=Direction.FORWARD, attempt=1)
SUCCEEDED = AttemptSucceeded(at=3.0, step="a", direction=Direction.FORWARD, attempt=1)
ENDED = RunEnded(at=4.0, status=Status.COMPLETED)


def started(run_id: str, plan: Plan = PLAN, **fields: Any) -> RunStarted:
    names = {"definition_hash": plan.definition_hash, **fields}
    return RunStarted(run_id=run_id, at=1.0, plan=plan, **names)


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[SqliteJournal]:
    """A journal that is open, and closed afterwards."""
    journal = SqliteJournal(path, **options)
    journal.open()
    with closing(journal):
        yield journal


def keep(journal: Journal, *batches: Batch) -> None:
    async def go() -> None:
        for batch in batches:
            await journal.append(batch)

    asyncio.run(go())


def edit(path: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Changes the file behind the journal's back, past the triggers that forbid it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (trigger,) in names:
            connection.execute(f"DROP TRIGGER {trigger}")
        for sql, values in statements:
            connection.execute(sql, values)


def test_a_journal_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Reading and writing are refused before it is opened and after it is closed, with the way out."""
    journal = SqliteJournal(tmp_path / "runs.db")
    uses: list[Callable[[], object]] = [
        lambda: journal.read("r"),
        journal.runs,
        journal.counts,
        journal.requests,
        lambda: journal.define(SAGA),
    ]
    for _ in range(2):
        for use in uses:
            with pytest.raises(JournalRefused, match=r"runs\.db: is not open.*; open it"):
                use()
        journal.open()
        assert [use() for use in uses[:3]] == [(), (), {}]
        journal.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_who_gives_up_an_append_does_not_take_it_back(tmp_path: Path, kind: str) -> None:
    """The batch was handed in: it is kept, and whoever appends after it follows it."""

    async def go(journal: Journal) -> None:
        appending = asyncio.ensure_future(journal.append(Batch("r", 1, (started("r"),))))
        await asyncio.sleep(0)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        await journal.append(Batch("r", 2, (STARTED,)))
        assert journal.read("r") == (started("r"), STARTED)

    journal: Journal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")
    journal.open()
    with closing(journal):
        asyncio.run(go(journal))


def test_a_file_without_a_write_ahead_log_is_refused(tmp_path: Path) -> None:
    """Where SQLite cannot keep such a log, for instance on a network drive, nothing is begun without it."""

    class Elsewhere(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("journal_mode = WAL", "journal_mode = DELETE"), *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Elsewhere)

    words = r"runs\.db: cannot have a write-ahead log \(SQLite keeps 'delete'\); check its disk"
    with pytest.raises(JournalRefused, match=words):
        SqliteJournal(tmp_path / "runs.db", connect=connect).open()
    with opened(tmp_path / "runs.db") as journal:
        keep(journal, Batch("r", 1, (started("r"),)))


def test_whatever_a_connection_raises_is_told_to_those_who_wait(tmp_path: Path) -> None:
    """Not only what SQLite documents: the batch is refused in words, and the next one is kept."""
    ill = [False]

    class Odd(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if ill[0] and sql.startswith("INSERT INTO appending"):
                raise MemoryError("no memory left")
            return super().execute(sql, *parameters)

    def connect(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, factory=Odd)

    with opened(tmp_path / "runs.db", connect=connect) as journal:
        ill[0] = True
        with pytest.raises(JournalRefused, match=r"runs\.db: no memory left; the journal cannot be written"):
            keep(journal, Batch("r", 1, (started("r"),)))
        ill[0] = False
        keep(journal, Batch("r", 1, (started("r"),)))
        assert journal.read("r") == (started("r"),)


def with_contents(path: Path, body: str, *plans: str) -> None:
    """A file whose only run has this as its first batch, with every checksum in order."""
    with opened(path) as journal:
        keep(journal, Batch("r", 1, (started("r"),)))
    held = checksum(no_tail("r"), 1, body)
    edit(
        path,
        ("UPDATE batches SET body = ?, checksum = ?", (body, held)),
        ("UPDATE runs SET checksum = ?", (held,)),
        *[("INSERT INTO plans VALUES (?, ?)", (named(plan), plan)) for plan in plans],
    )


def named(plan: str) -> str:
    return hashlib.sha256(plan.encode()).hexdigest()


STRANGE_PLAN = '{"saga":"s","definition_hash":"h","steps":7}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("no json", "unreadable batch"),
        ('["RunStarted"]', "unreadable batch"),
        ('[["RunStarted",7]]', "unreadable batch"),
        ('[["Teleported",{}]]', "unknown kind 'Teleported'"),
        (
            json.dumps([["RunStarted", {"run_id": "r", "at": 1.0, "plan": named(STRANGE_PLAN)}]]),
            "unreadable plan",
        ),
        (json.dumps([["RunStarted", {"run_id": "r", "at": 1.0, "plan": "ab" * 32}]]), "plan ab.* is missing"),
    ],
)
def test_what_no_version_of_ours_wrote_is_refused_by_name(tmp_path: Path, body: str, words: str) -> None:
    """With checksums in order it may still be another program's: the run is named, nothing guessed."""
    path = tmp_path / "runs.db"
    with_contents(path, body, STRANGE_PLAN)
    with (
        opened(path, read_only=True) as journal,
        pytest.raises(JournalRefused, match=rf"(?s)runs\.db: run 'r'.*{words}"),
    ):
        journal.read("r")


def test_definitions_that_changed_places_are_refused(tmp_path: Path) -> None:
    """Each is whole and has its checksum, but neither is the one that its runs were started with."""
    path = tmp_path / "runs.db"
    with opened(path) as journal:
        journal.define(SAGA)
        journal.define(OTHER)
        assert journal.definition(SAGA.definition_hash) == SAGA
    swap = "UPDATE definitions SET hash = ? WHERE hash = ?"
    edit(
        path,
        (swap, ("", SAGA.definition_hash)),
        (swap, (SAGA.definition_hash, OTHER.definition_hash)),
        (swap, (OTHER.definition_hash, "")),
    )
    with opened(path, read_only=True) as journal:
        for saga in (SAGA, OTHER):
            with pytest.raises(JournalRefused, match=r"was altered \(it is another one\); restore the file"):
                journal.definition(saga.definition_hash)


async def nothing(call: Call) -> None:
    """A participant that does nothing."""


def trip() -> BoundSaga:
    saga = define("trip")
    saga.step(name="book", kind="retriable", idempotent=True)(nothing)
    return saga.bind()


def test_a_result_without_its_definition_is_refused(tmp_path: Path) -> None:
    """A run that ended under a definition the journal has lost cannot be replayed: the way out is a copy."""
    path = tmp_path / "runs.db"

    async def runs() -> None:
        async with Engine(SqliteJournal(path), [trip()]) as engine:
            await engine.run("trip", run_id="r")

    async def asks() -> None:
        other = define("other")
        other.step(name="a", kind="retriable")(nothing)
        async with Engine(SqliteJournal(path), [other.bind()]) as engine:
            with pytest.raises(
                JournalRefused, match="lacks the definition of run 'r'; restore it from a copy"
            ):
                await engine.result("r")
            with pytest.raises(
                JournalRefused, match="lacks the definition of run 'r'; restore it from a copy"
            ):
                await engine.state("r")

    asyncio.run(runs())
    edit(path, ("DELETE FROM definitions", ()))
    asyncio.run(asks())


def test_every_run_keeps_its_own_plan_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More plans than are remembered, in and out of order and again: each run is read with its own."""
    monkeypatch.setattr(commit, "PLANS_KNOWN_MAX", 50)
    plans = [replace(PLAN, launch_delay_s=float(number)) for number in range(300)]
    order = [*range(300), *range(0, 300, 7)]
    path = tmp_path / "runs.db"

    async def go(journal: Journal) -> None:
        batches = [Batch(f"r{at}", 1, (started(f"r{at}", plans[number]),)) for at, number in enumerate(order)]
        await asyncio.gather(*map(journal.append, batches))

    with opened(path) as journal:
        asyncio.run(go(journal))
    with opened(path, read_only=True) as journal:
        for at, number in enumerate(order):
            assert journal.read(f"r{at}") == (started(f"r{at}", plans[number]),)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM plans").fetchone() == (300,)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_definition_that_is_not_its_plans_is_kept_as_it_was_said(tmp_path: Path, kind: str) -> None:
    """A start names both: what is read is what was written, also where the two differ."""
    start = started("r", definition_hash=OTHER.definition_hash)
    assert start.definition_hash != start.plan.definition_hash
    journal: Journal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")
    journal.open()
    with closing(journal):
        keep(journal, Batch("r", 1, (start,)))
        assert journal.read("r") == (start,)


def with_lists(plan: Plan) -> Plan:
    """The plan as careless code may put it together."""
    steps: Any = [replace(step, after=list(step.after)) for step in plan.steps]  # type: ignore[arg-type]  # on purpose
    return replace(plan, steps=steps)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_plan_with_lists_is_kept_as_one_with_tuples(tmp_path: Path, kind: str) -> None:
    """Whoever hands a journal lists where tuples belong reads the plan that it stands for."""
    journal: Journal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")
    journal.open()
    with closing(journal):
        keep(journal, *(Batch(run_id, 1, (started(run_id, with_lists(PLAN)),)) for run_id in ("r", "s")))
        assert [journal.read(run_id) for run_id in ("r", "s")] == [(started("r"),), (started("s"),)]


def test_advice_with_lists_is_carried_out() -> None:
    """An advisor's code may be careless too: its legal plan is no worse for it."""

    class Careless:
        async def advise(self, saga: Saga, launch: Launch) -> Advice:
            return Advice(plan=with_lists(author_plan(saga)))

    journal, bound = MemoryJournal(), trip()

    async def go() -> None:
        async with Engine(journal, [bound], advisor=Careless(), holdout_share=0.0) as engine:
            assert (await engine.run("trip", run_id="r")).status is Status.COMPLETED

    asyncio.run(go())
    start = journal.read("r")[0]
    assert isinstance(start, RunStarted)
    assert (start.fallback, start.plan) == (False, author_plan(bound.saga))


def test_an_archive_of_nothing_moves_nothing(tmp_path: Path) -> None:
    """The only run that ended was altered: it stays for a person to look at, and nothing is deleted."""
    path, into = tmp_path / "runs.db", tmp_path / "old.db"
    with opened(path) as journal:
        journal.define(SAGA)
        keep(journal, Batch("r", 1, (started("r"), STARTED, SUCCEEDED, ENDED)))
    edit(path, ("UPDATE batches SET body = replace(body, '1', '2')", ()))
    with opened(path) as journal:
        assert journal.archive(100.0, into) == 0
        assert [line.run_id for line in journal.runs()] == ["r"]
    with opened(into, read_only=True) as journal:
        assert journal.runs() == ()


def test_a_journal_in_memory_takes_so_many_requests() -> None:
    """More than `REQUESTS_MAX` that nobody answers are refused; one answer makes room for one more."""
    journal, request = MemoryJournal(), Request.of("r", STARTED)
    first = journal.ask(request)
    for _ in range(REQUESTS_MAX - 1):
        journal.ask(request)
    with pytest.raises(JournalRefused, match=f"{REQUESTS_MAX} requests are waiting; run an engine"):
        journal.ask(request)
    journal.answer(first, "no")
    assert (journal.ask(request), journal.answer_of(first)) == (REQUESTS_MAX + 1, "no")


def test_the_first_answer_counts() -> None:
    """A request that has been answered is answered once: a second answer changes nothing."""
    journal = MemoryJournal()
    number = journal.ask(Request.of("r", STARTED))
    journal.answer(number, "no")
    journal.answer(number)
    assert (journal.answer_of(number), journal.requests()) == ("no", ())


def test_events_before_a_start_make_no_run() -> None:
    """The list of runs begins a line at a run's start, and never before."""
    assert line_after(None, (STARTED, ENDED)) is None
    line = line_after(None, (STARTED, started("r"), ENDED))
    assert line is not None
    assert (line.run_id, line.status) == ("r", Status.COMPLETED)


def test_a_batch_that_settles_twice_counts_once() -> None:
    """Whoever waits for a batch hears the first word about it, and no accident comes of a second."""

    class Echo(MemoryJournal):
        def submit(self, batch: Batch, settle: Settle) -> None:
            super().submit(batch, settle)
            asyncio.get_running_loop().call_soon(settle, JournalRefused("again"))

    problems: list[Any] = []

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        journal = Echo()
        journal.open()
        await journal.append(Batch("r", 1, (started("r"),)))
        await asyncio.sleep(0.01)

    asyncio.run(go())
    assert problems == []
