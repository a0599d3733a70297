"""One set of facts for every journal, and what the SQLite file promises besides."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.errors import JournalRefused, SagaRefused
from sagacity_engine.events import (
    Action,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Direction,
    Event,
    OperatorActed,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.journal import REQUESTS_MAX, Batch, Journal, JournalConflict, MemoryJournal, Request
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite.connection import connect_sqlite
from sagacity_engine.sqlite.journal import SqliteJournal
from sagacity_engine.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION

SAGA = Saga(name="s", steps=(Step(name="a"),))
PLAN = author_plan(SAGA)


def story(run_id: str, at: float = 1.0, status: Status | None = Status.COMPLETED, saga: str = "s") -> Batch:
    """The events of one run, ended or open."""
    plan = PLAN if saga == "s" else author_plan(Saga(name=saga, steps=(Step(name="a"),)))
    forward = Direction.FORWARD
    events: list[Event] = [
        RunStarted(run_id=run_id, at=at, definition_hash=plan.definition_hash, plan=plan),
        AttemptStarted(at=at + 1, step="a", direction=forward, attempt=1),
        AttemptSucceeded(at=at + 2, step="a", direction=forward, attempt=1, output={"é": [1, None]}),
    ]
    if status is not None:
        events.append(RunEnded(at=at + 3, status=status, reason="why", step="a"))
    return Batch(run_id, 1, tuple(events))


def parts(batch: Batch, *sizes: int) -> list[Batch]:
    """The batch in several."""
    split, done = [], 0
    for size in sizes:
        split.append(Batch(batch.run_id, batch.seq + done, batch.events[done : done + size]))
        done += size
    return split


def keep(journal: Journal, *batches: Batch) -> None:
    """Appends one after the other, in a loop of its own."""

    async def go() -> None:
        for batch in batches:
            await journal.append(batch)

    asyncio.run(go())


def ids(runs: Any) -> list[str]:
    return [run.run_id for run in runs]


class JournalFacts:
    """What every journal does."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        raise NotImplementedError

    def test_events_come_back_equal_and_in_order(self, journal: Journal) -> None:
        """A run is read as it was written, over several batches."""
        keep(journal, *parts(story("r"), 1, 2, 1))
        assert journal.read("r") == story("r").events
        assert journal.read("nobody") == ()

    def test_runs_are_listed_with_status(self, journal: Journal) -> None:
        """Runs are listed newest first, open ones oldest first, counted and found by id."""
        keep(
            journal,
            story("a", at=1, status=None),
            story("b", at=2, status=None),
            story("c", at=3),
            story("d", at=4, status=Status.NEEDS_ATTENTION),
        )
        assert ids(journal.runs()) == ["d", "c", "b", "a"]
        assert ids(journal.runs(limit=1)) == ["d"]
        assert ids(journal.runs(Status.COMPLETED)) == ["c"]
        assert ids(journal.open_runs()) == ["a", "b"]
        assert journal.counts() == {Status.RUNNING: 2, Status.COMPLETED: 1, Status.NEEDS_ATTENTION: 1}
        found = journal.run("d")
        assert found is not None
        assert journal.run("x") is None
        assert (found.saga, found.started_at, found.ended_at) == ("s", 4, 7)
        assert (found.reason, found.step) == ("why", "a")

    def test_runs_are_listed_by_saga_and_by_page(self, journal: Journal) -> None:
        """A page goes on below its last run, of one saga, one status, both or all; open runs likewise."""
        for number in range(6):
            status = None if number % 3 else Status.COMPLETED
            keep(journal, story(f"r{number}", status=status, saga="st"[number % 2]))
        assert ids(journal.runs(limit=2, before="r4")) == ["r3", "r2"]
        assert ids(journal.runs(saga="t")) == ["r5", "r3", "r1"]
        assert ids(journal.runs(saga="t", limit=1, before="r5")) == ["r3"]
        assert ids(journal.runs(Status.RUNNING, saga="t", before="r5")) == ["r1"]
        assert ids(journal.runs(Status.COMPLETED, before="r3")) == ["r0"]
        assert ids(journal.open_runs(2)) == ["r1", "r2"]
        assert ids(journal.open_runs(2, after="r2")) == ["r4", "r5"]
        assert journal.open_runs(after="r5") == ()
        with pytest.raises(JournalRefused, match="no run 'x' to go on from"):
            journal.runs(before="x")
        with pytest.raises(JournalRefused, match="no run 'x' to go on from"):
            journal.open_runs(after="x")

    def test_a_batch_that_does_not_follow_is_refused(self, journal: Journal) -> None:
        """A gap, a repeated place, a second start and a run that is not there are conflicts."""
        first, _ = parts(story("r", status=None), 2, 1)
        keep(journal, first)
        ended = (RunEnded(at=9, status=Status.COMPLETED),)
        for wrong in (Batch("r", 4, ended), Batch("r", 2, ended), story("r", at=7), Batch("q", 2, ended)):
            with pytest.raises(JournalConflict, match="does not follow"):
                keep(journal, wrong)
        assert journal.read("r") == first.events
        assert journal.run("q") is None

    def test_an_operator_reopens_an_ended_run(self, journal: Journal) -> None:
        """What a person does to an ended run, but for a pause, opens it until its next end."""
        keep(journal, story("r", status=Status.NEEDS_ATTENTION))
        pause, retry = (
            OperatorActed(at=9, action=action, who="ann") for action in (Action.PAUSE, Action.RETRY)
        )
        given_up = RunEnded(at=10, status=Status.ABANDONED, reason="no use")
        keep(journal, Batch("r", 5, (pause,)))
        assert journal.counts() == {Status.NEEDS_ATTENTION: 1}
        keep(journal, Batch("r", 6, (retry,)))
        line = journal.run("r")
        assert line is not None
        assert (line.status, line.ended_at, line.reason, line.step) == (Status.RUNNING, None, "", "")
        assert ids(journal.open_runs()) == ["r"]
        keep(journal, Batch("r", 7, (given_up,)), Batch("r", 8, (retry, given_up)))
        assert journal.counts() == {Status.ABANDONED: 1}
        assert journal.open_runs() == ()
        assert len(journal.read("r")) == 9

    def test_what_json_cannot_say_is_refused_at_once(self, journal: Journal) -> None:
        """A value without a text raises where it is submitted, and nothing of its batch is kept."""
        for output, problem in ((object(), TypeError), (float("nan"), ValueError)):
            bad = AttemptSucceeded(at=1, step="a", direction=Direction.FORWARD, attempt=1, output=output)
            with pytest.raises(problem):
                keep(journal, Batch("r", 1, (story("r").events[0], bad)))
        assert journal.run("r") is None

    def test_settling_comes_later_and_once(self, journal: Journal) -> None:
        """Whoever submits is told once, never while submitting, also of a refusal; the order is kept."""
        told: list[tuple[int, type | None]] = []

        async def go() -> None:
            done = asyncio.get_running_loop().create_future()
            first, second = parts(story("r"), 2, 2)

            def settle(place: int, refusal: JournalRefused | None) -> None:
                told.append((place, type(refusal)))
                if place == 2:
                    done.set_result(None)

            for place, batch in enumerate((first, second, second)):
                journal.submit(batch, partial(settle, place))
            assert told == []
            await done
            await asyncio.sleep(0)

        asyncio.run(go())
        assert [place for place, _ in told] == [0, 1, 2]
        assert [kind for _, kind in told[:2]] == [type(None), type(None)]
        assert journal.read("r") == story("r").events

    def test_definitions_are_kept(self, journal: Journal) -> None:
        """A definition is found by its hash, however often it was kept."""
        journal.define(SAGA)
        journal.define(SAGA)
        assert journal.definition(SAGA.definition_hash) == SAGA
        assert journal.definition("0" * 64) is None

    def test_requests_wait_for_their_answer(self, journal: Journal) -> None:
        """A request is found until it is answered, and its answer by its number."""
        cancel = CancelRequested(at=1, who="ann", why="rain")
        numbers = [journal.ask(Request.of(run_id, cancel)) for run_id in ("a", "b")]
        assert [(number, request.run_id) for number, request in journal.requests()] == [
            (numbers[0], "a"),
            (numbers[1], "b"),
        ]
        assert journal.requests()[0][1].event() == cancel
        assert journal.answer_of(numbers[0]) is None
        journal.answer(numbers[0], "no such run")
        assert [number for number, _ in journal.requests()] == [numbers[1]]
        journal.answer(numbers[1])
        assert journal.requests() == ()
        journal.close()
        journal.open()
        assert journal.requests() == ()
        assert [journal.answer_of(number) for number in numbers] == ["no such run", ""]
        with pytest.raises(JournalRefused, match="no request 99"):
            journal.answer_of(99)

    def test_closed_journal_keeps_what_it_has(self, journal: Journal) -> None:
        """A closed journal refuses to write; opened again, it has everything."""
        keep(journal, story("r"))
        journal.close()
        assert not journal.opened
        with pytest.raises(JournalRefused, match="open"):
            keep(journal, story("q"))
        journal.open()
        assert ids(journal.runs()) == ["r"]
        keep(journal, story("q"))

    def test_journal_in_use_is_refused(self, journal: Journal) -> None:
        """A journal that is open is not opened a second time."""
        with pytest.raises(JournalRefused, match="in use by another engine"):
            journal.open()


class TestMemoryJournal(JournalFacts):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = MemoryJournal()
        journal.open()
        yield journal
        journal.close()


class TestSqliteJournal(JournalFacts):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = SqliteJournal(tmp_path / "runs.db")
        journal.open()
        yield journal
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal's file with one run that ended and one that is open."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path)
    journal.open()
    journal.define(SAGA)
    keep(journal, *parts(story("done"), 2, 2), *parts(story("going", status=None), 1, 2))
    journal.close()
    return path


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


def edit(path: Path, *statements: str) -> None:
    """Changes the file behind the journal's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (trigger,) in triggers:
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_batch_that_starts_a_run_names_its_plan() -> None:
    """The plan's text is apart from the batch's, named by its hash, and the batch is read with it."""
    events = story("r").events
    text, plan = codec.encode_batch(events)
    assert plan is not None
    assert codec.plan_named(text) == plan.hash
    assert plan.document not in text
    assert codec.read_plan_text(plan) == PLAN
    assert codec.decode_batch(text, {plan.hash: PLAN}.__getitem__) == events
    assert codec.encode_batch(events[1:])[1] is None
    with pytest.raises(ValueError, match="was altered"):
        codec.PlanText(plan.hash, plan.document + " ")


def test_a_plan_is_kept_once(path: Path) -> None:
    """However many runs have a plan, the file has its text once."""
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM plans").fetchone() == (1,)
    connection.close()


def test_batches_that_wait_are_committed_together(tmp_path: Path) -> None:
    """Two hundred sagas that write at once need a handful of commits, not two hundred."""
    journal = opened(tmp_path / "runs.db")

    async def go() -> None:
        await asyncio.gather(*(journal.append(story(f"r{number}")) for number in range(200)))

    asyncio.run(go())
    assert journal.commits < 20
    assert journal.counts() == {Status.COMPLETED: 200}
    journal.close()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_the_file_is_synced_at_every_commit(path: Path, durability: Any, level: int) -> None:
    """The writer runs in WAL mode with `synchronous=FULL`, or with less where that was chosen."""
    seen: list[sqlite3.Connection] = []

    def connect(where: str) -> sqlite3.Connection:
        seen.append(connect_sqlite(where))
        return seen[-1]

    journal = opened(path, connect=connect, durability=durability)
    assert seen[0].execute("PRAGMA synchronous").fetchone() == (level,)
    assert seen[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def a_folder(path: Path) -> None:
    path.mkdir()


def no_sqlite(path: Path) -> None:
    path.write_text("saga: goa-trip\n", "utf-8")


def somebody_elses(path: Path) -> None:
    edit(path, "CREATE TABLE cats (name TEXT)")


def newer(path: Path) -> None:
    opened(path).close()
    edit(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def torn(path: Path) -> None:
    opened(path).close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 4000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_folder, "is a folder; name a file in it"),
        (no_sqlite, "is no SQLite database, so no journal of ours; name another file"),
        (somebody_elses, "is a SQLite database of something else; name another file"),
        (newer, f"has layout {SCHEMA_VERSION + 1}, and this version reads up to {SCHEMA_VERSION}"),
        (torn, "malformed|not a database|corrupt"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_no_journal_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str, read_only: bool
) -> None:
    """A file that is not ours is refused by its name and left as it is; the lock is let go."""
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    for _ in range(2):
        with pytest.raises(JournalRefused, match=words) as refusal:
            opened(path, read_only=read_only)
        assert str(path) in str(refusal.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A journal is created in a folder that exists, and only read or asked where it exists."""
    with pytest.raises(JournalRefused, match="does not exist; create it first"):
        opened(tmp_path / "nowhere" / "runs.db")
    with pytest.raises(JournalRefused, match="there is no such journal"):
        opened(tmp_path / "runs.db", read_only=True)
    with pytest.raises(JournalRefused, match="there is no such journal"):
        SqliteJournal(tmp_path / "runs.db").ask(Request("r", "CancelRequested", "{}"))
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalRefused, match="holds no journal yet"):
        opened(tmp_path / "empty.db", read_only=True)


def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    """A read-only file is told when the journal is opened, not at the first run."""

    def read_only(where: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{where}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    with pytest.raises(JournalRefused, match=r"runs\.db: .*readonly"):
        opened(path, connect=read_only)


def test_a_read_only_journal_is_read_and_asked(path: Path) -> None:
    """Beside a running engine another process reads and asks; it does not write."""
    journal, reader = opened(path), opened(path, read_only=True)
    keep(journal, story("new"))
    assert len(reader.runs()) == 3
    number = reader.ask(Request.of("going", CancelRequested(at=1, who="ann")))
    assert [asked for asked, _ in journal.requests()] == [number]
    journal.answer(number)
    keep(journal, story("newer"))
    assert journal.requests() == ()
    journal.close()
    assert reader.answer_of(number) == ""
    with pytest.raises(JournalRefused, match="not open for writing"):
        keep(reader, story("r"))
    with pytest.raises(JournalRefused, match="not open for writing"):
        reader.define(SAGA)
    reader.close()


def test_too_many_requests_are_refused(path: Path) -> None:
    """An engine that answers nobody does not let the file grow without end."""
    edit(
        path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
        f"{REQUESTS_MAX}) INSERT INTO requests (run_id, kind, body) SELECT 'r', 'k', '{{}}' FROM n",
    )
    request = Request.of("going", CancelRequested(at=1, who="ann"))
    journal = SqliteJournal(path)
    with pytest.raises(JournalRefused, match=f"{REQUESTS_MAX} requests are waiting"):
        journal.ask(request)
    edit(path, "UPDATE requests SET answer = ''")
    journal.ask(request)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM requests").fetchone() == (REQUESTS_MAX,)
    connection.close()


def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """A commit without room fails the batches in it; when there is room again they succeed."""
    held: list[sqlite3.Connection] = []

    def connect(where: str) -> sqlite3.Connection:
        held.append(connect_sqlite(where))
        return held[-1]

    journal = opened(path, connect=connect)
    [(pages,)] = held[0].execute("PRAGMA page_count").fetchall()
    held[0].execute(f"PRAGMA max_page_count = {pages}")
    many = [AttemptStarted(at=1, step="a" * 900, direction=Direction.FORWARD, attempt=1) for _ in range(88)]
    bulky = Batch("big", 1, (story("big").events[0], *many))
    with pytest.raises(JournalRefused, match=r"runs\.db: database or disk is full; .*free disk space"):
        keep(journal, bulky)
    assert journal.read("big") == ()
    assert len(journal.read("going")) == 3
    held[0].execute("PRAGMA max_page_count = 1000000")
    keep(journal, bulky)
    assert len(journal.read("big")) == 89
    assert journal.counts() == {Status.RUNNING: 2, Status.COMPLETED: 1}
    journal.close()


def test_a_locked_file_refuses_and_recovers(path: Path) -> None:
    """While somebody else holds the file, batches are refused; when it is let go they succeed."""

    def impatient(where: str) -> sqlite3.Connection:
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, timeout=0)

    journal = opened(path, connect=impatient)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalRefused, match=r"runs\.db: database is locked; .*end what holds it"):
        keep(journal, story("r"))
    other.execute("ROLLBACK")
    other.close()
    keep(journal, story("r"))
    assert journal.read("r") == story("r").events
    journal.close()


def test_a_batch_that_failed_and_yet_arrived_is_recognised(path: Path) -> None:
    """Repeating exactly what is on the disk already succeeds; anything else there is a conflict."""
    journal = opened(path)
    keep(journal, story("r"), story("r"), *parts(story("going", status=None), 1, 2))
    assert len(journal.read("r")) == 4
    with pytest.raises(JournalConflict):
        keep(journal, story("r", at=5))
    assert journal.counts() == {Status.RUNNING: 1, Status.COMPLETED: 2}
    journal.close()


def test_a_conflict_fails_alone(path: Path) -> None:
    """Batches of other runs in the same commit are kept."""
    journal = opened(path)

    async def go() -> tuple[BaseException | None, ...]:
        return await asyncio.gather(
            journal.append(story("x")),
            journal.append(story("done", at=77)),
            journal.append(story("y")),
            return_exceptions=True,
        )

    outcomes = asyncio.run(go())
    assert [type(outcome) for outcome in outcomes] == [type(None), JournalConflict, type(None)]
    assert len(journal.runs()) == 4
    journal.close()


def test_one_who_cannot_be_told_keeps_nobody_waiting(path: Path) -> None:
    """An error of whoever is told goes to the loop's handler, and the others of the commit are told."""
    journal = opened(path)
    said: list[str] = []

    def broken(refusal: JournalRefused | None) -> None:
        raise ZeroDivisionError

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context["message"]))
        journal.submit(story("x"), broken)
        await journal.append(story("y"))

    asyncio.run(go())
    assert said == ["a run could not be told about its journal"]
    journal.close()


def test_the_file_says_whose_it_is(path: Path) -> None:
    """The application id and the layout's number are in the file's header."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_a_closed_journal_is_one_file(path: Path) -> None:
    """Closing folds the log into the file and leaves nothing beside it but the lock."""
    assert sorted(file.name for file in path.parent.iterdir()) == ["runs.db", "runs.db-lock"]


@pytest.mark.parametrize("setting", [{"durability": "off"}, {"lease_s": 0.0}, {"lease_s": float("nan")}])
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    """A setting is refused by name and value before any file is touched."""
    [(name, value)] = setting.items()
    with pytest.raises(SagaRefused, match=f"{name} is {value!r}; it must be"):
        SqliteJournal(tmp_path / "runs.db", **setting)
    assert not list(tmp_path.iterdir())
