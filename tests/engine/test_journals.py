"""One set of facts for every journal, and what the SQLite file promises besides."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.errors import JournalRefused
from sagacity_engine.events import (
    AttemptStarted,
    AttemptSucceeded,
    Direction,
    Event,
    RunEnded,
    RunStarted,
    Status,
)
from sagacity_engine.journal import Entry, Journal, JournalConflict, MemoryJournal
from sagacity_engine.plan import author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_engine.sqlite_file import APPLICATION_ID, SCHEMA_VERSION, connect_sqlite
from sagacity_engine.sqlite_journal import SqliteJournal
from sagacity_engine.wire import to_plain

SAGA = Saga(name="s", steps=(Step(name="a"),))


def story(run_id: str, at: float = 1.0, status: Status | None = Status.COMPLETED) -> list[Entry]:
    """The entries of one run, ended or open."""
    events: list[Event] = [
        RunStarted(run_id=run_id, at=at, definition_hash=SAGA.definition_hash, plan=author_plan(SAGA)),
        AttemptStarted(at=at + 1, step="a", direction=Direction.FORWARD, attempt=1),
        AttemptSucceeded(
            at=at + 2, step="a", direction=Direction.FORWARD, attempt=1, output={"é": [1, None]}
        ),
    ]
    if status is not None:
        events.append(RunEnded(at=at + 3, status=status, reason="why", step="a"))
    return [Entry(run_id, place, event) for place, event in enumerate(events, start=1)]


def keep(journal: Journal, *appends: Sequence[Entry]) -> None:
    """Appends one after the other, in a loop of its own."""

    async def go() -> None:
        for entries in appends:
            await journal.append(entries)

    asyncio.run(go())


class JournalFacts:
    """What every journal does."""

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        raise NotImplementedError

    def test_events_come_back_equal_and_in_order(self, journal: Journal) -> None:
        """A run is read as it was written, over several appends."""
        entries = story("r")
        keep(journal, entries[:1], entries[1:3], entries[3:])
        assert journal.read("r") == tuple(entry.event for entry in entries)
        assert journal.read("nobody") == ()

    def test_runs_are_listed_with_status(self, journal: Journal) -> None:
        """Runs are listed newest first, open ones oldest first, counted and found by id."""
        keep(
            journal,
            story("b", at=2, status=None),
            story("a", at=1, status=None),
            story("c", at=3),
            story("d", at=4, status=Status.NEEDS_ATTENTION),
        )
        assert [run.run_id for run in journal.runs()] == ["d", "c", "b", "a"]
        assert [run.run_id for run in journal.runs(limit=1)] == ["d"]
        assert [run.run_id for run in journal.runs(Status.COMPLETED)] == ["c"]
        assert [run.run_id for run in journal.open_runs()] == ["a", "b"]
        assert journal.counts() == {Status.RUNNING: 2, Status.COMPLETED: 1, Status.NEEDS_ATTENTION: 1}
        found = journal.run("d")
        assert found is not None
        assert journal.run("x") is None
        assert (found.saga, found.started_at, found.ended_at, found.reason, found.step) == (
            "s",
            4,
            7,
            "why",
            "a",
        )

    def test_an_entry_that_does_not_follow_is_refused(self, journal: Journal) -> None:
        """A gap, a repeated place and a second start of the same run are conflicts, and change nothing."""
        entries = story("r", status=None)
        keep(journal, entries[:2])
        ended = RunEnded(at=9, status=Status.COMPLETED)
        for wrong in ([Entry("r", 4, ended)], [Entry("r", 2, ended)], story("r", at=7)):
            with pytest.raises(JournalConflict, match="run 'r'"):
                keep(journal, wrong)
        assert journal.read("r") == tuple(entry.event for entry in entries[:2])

    def test_definitions_are_kept(self, journal: Journal) -> None:
        """A definition is found by its hash, however often it was kept."""
        journal.define(SAGA)
        journal.define(SAGA)
        assert journal.definition(SAGA.definition_hash) == SAGA
        assert journal.definition("0" * 64) is None

    def test_closed_journal_keeps_what_it_has(self, journal: Journal) -> None:
        """A closed journal refuses to write; opened again, it has everything."""
        keep(journal, story("r"))
        journal.close()
        assert not journal.opened
        with pytest.raises(JournalRefused, match="open"):
            keep(journal, story("q"))
        journal.open()
        assert [run.run_id for run in journal.runs()] == ["r"]
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
    keep(journal, story("done"), story("going", status=None))
    journal.close()
    return path


def opened(path: Path, **options: Any) -> SqliteJournal:
    journal = SqliteJournal(path, **options)
    journal.open()
    return journal


def edit(path: Path, *statements: str) -> None:
    """Changes the file behind the journal's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for trigger in ("events_are_never_changed", "events_are_never_deleted"):
        connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_record_is_the_events_fields_without_defaults() -> None:
    """The stored text is the plain form of the event, whatever is remembered about its plan."""
    for entry in (*story("r"), *story("q", at=9)):
        kind, text = codec.encode(entry.event)
        plain = to_plain(entry.event, omit_defaults=True)
        assert (kind, text) == (type(entry.event).__name__, json.dumps(plain, separators=(",", ":")))
        assert codec.decode(kind, text) == entry.event


def test_appends_that_wait_are_committed_together(tmp_path: Path) -> None:
    """Two hundred sagas that write at once need a handful of commits, not two hundred."""
    journal = opened(tmp_path / "runs.db")

    async def go() -> None:
        await asyncio.gather(*(journal.append(story(f"r{number}")) for number in range(200)))

    asyncio.run(go())
    assert journal.commits < 20
    assert journal.counts() == {Status.COMPLETED: 200}
    journal.close()


def test_the_file_is_synced_at_every_commit(path: Path) -> None:
    """The writer runs in WAL mode with `synchronous=FULL`."""
    seen: list[sqlite3.Connection] = []

    def connect(where: str) -> sqlite3.Connection:
        seen.append(connect_sqlite(where))
        return seen[-1]

    journal = opened(path, connect=connect)
    assert seen[0].execute("PRAGMA synchronous").fetchone() == (2,)
    assert seen[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


BYTES = ["body", "kind", "at", "checksum"]


@pytest.mark.parametrize("column", BYTES)
def test_an_altered_event_is_refused(path: Path, column: str) -> None:
    """A change to any part of an event is told on reading, with run and place; other runs are untouched."""
    change = {
        "body": "replace(body, '1', '2')",
        "kind": "'AttemptFailed'",
        "at": "at + 1e-6",
        "checksum": "zeroblob(32)",
    }[column]
    edit(path, f"UPDATE events SET {column} = {change} WHERE run_id = 'done' AND seq = 2")
    journal = opened(path)
    with pytest.raises(JournalRefused, match=r"runs\.db: run 'done', event 2 was altered or is missing"):
        journal.read("done")
    assert len(journal.read("going")) == 3
    journal.close()


def test_every_flipped_byte_of_a_payload_is_refused(path: Path) -> None:
    """No single byte of a stored event can change unnoticed."""
    connection = sqlite3.connect(path)
    [(body,)] = connection.execute("SELECT body FROM events WHERE run_id = 'done' AND seq = 3").fetchall()
    connection.close()
    edit(path)
    journal = opened(path)
    writer = sqlite3.connect(path, isolation_level=None)
    for place in range(len(body)):
        flipped = body[:place] + chr(ord(body[place]) ^ 1) + body[place + 1 :]
        writer.execute("UPDATE events SET body = ? WHERE run_id = 'done' AND seq = 3", (flipped,))
        with pytest.raises(JournalRefused, match="event 3 was altered"):
            journal.read("done")
    writer.close()
    journal.close()


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("DELETE FROM events WHERE run_id = 'done' AND seq = 1", 1),
        ("DELETE FROM events WHERE run_id = 'done' AND seq = 2", 2),
        ("DELETE FROM events WHERE run_id = 'done' AND seq = 4", 4),
        ("UPDATE events SET run_id = 'other' WHERE run_id = 'done'", 1),
    ],
)
def test_missing_and_moved_events_are_refused(path: Path, statement: str, place: int) -> None:
    """Removing an event, even the last of an ended run, or giving it to another run is told."""
    edit(path, statement)
    journal = opened(path)
    moved = "other" if "other" in statement else "done"
    with pytest.raises(JournalRefused, match=f"run '{moved}', event {place} was altered or is missing"):
        journal.read(moved)
    journal.close()


def test_an_altered_definition_is_refused(path: Path) -> None:
    """A kept definition that does not have its own hash is not used."""
    edit(path, "UPDATE definitions SET document = replace(document, '\"a\"', '\"b\"')")
    journal = opened(path)
    with pytest.raises(JournalRefused, match="was altered"):
        journal.definition(SAGA.definition_hash)
    journal.close()


def test_events_cannot_be_changed_by_accident(path: Path) -> None:
    """The file itself refuses to change or delete an event."""
    connection = sqlite3.connect(path)
    for statement in ("UPDATE events SET body = ''", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


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
    """A journal is created in a folder that exists, and only read where it exists."""
    with pytest.raises(JournalRefused, match="does not exist; create it first"):
        opened(tmp_path / "nowhere" / "runs.db")
    with pytest.raises(JournalRefused, match="there is no such journal"):
        opened(tmp_path / "runs.db", read_only=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalRefused, match="holds no journal yet"):
        opened(tmp_path / "empty.db", read_only=True)


def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    """A read-only file is told when the journal is opened, not at the first run."""

    def read_only(where: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{where}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )

    with pytest.raises(JournalRefused, match=r"runs\.db: .*readonly.*check"):
        opened(path, connect=read_only)


def test_a_second_writer_is_refused(path: Path) -> None:
    """One process writes a journal; another is refused with its id, may read, and takes over when it died."""
    script = (
        "import sys, time\n"
        "from sagacity_engine import SqliteJournal\n"
        "SqliteJournal(sys.argv[1]).open()\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(JournalRefused, match=f"in use by another engine \\(process {holder.pid}\\)"):
            opened(path)
        reader = opened(path, read_only=True)
        assert len(reader.runs()) == 2
        with pytest.raises(JournalRefused, match="not open for writing"):
            keep(reader, story("r"))
        with pytest.raises(JournalRefused, match="not open for writing"):
            reader.define(SAGA)
        reader.close()
        holder.kill()
    opened(path).close()


def test_a_link_to_the_file_is_the_same_journal(path: Path, tmp_path: Path) -> None:
    """Two names of one file do not make two writers."""
    (tmp_path / "alias.db").symlink_to(path)
    first = opened(path)
    with pytest.raises(JournalRefused, match="in use by another engine"):
        opened(tmp_path / "alias.db")
    first.close()


def test_a_full_disk_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """A commit without room fails the appends in it; when there is room again they succeed."""
    held: list[sqlite3.Connection] = []

    def connect(where: str) -> sqlite3.Connection:
        held.append(connect_sqlite(where))
        return held[-1]

    journal = opened(path, connect=connect)
    [(pages,)] = held[0].execute("PRAGMA page_count").fetchall()
    held[0].execute(f"PRAGMA max_page_count = {pages}")
    bulky = [
        Entry("big", 1, story("big")[0].event),
        *(
            Entry("big", place, AttemptStarted(at=1, step="a" * 900, direction=Direction.FORWARD, attempt=1))
            for place in range(2, 90)
        ),
    ]
    with pytest.raises(JournalRefused, match=r"runs\.db: database or disk is full; .*free disk space"):
        keep(journal, bulky)
    assert journal.read("big") == ()
    assert len(journal.read("going")) == 3
    held[0].execute("PRAGMA max_page_count = 1000000")
    keep(journal, bulky)
    assert len(journal.read("big")) == 89
    journal.close()


def test_an_append_that_failed_and_yet_arrived_is_recognised(path: Path) -> None:
    """Repeating exactly what is on the disk already succeeds; anything else there is a conflict."""
    journal = opened(path)
    keep(journal, story("r"), story("r"))
    assert len(journal.read("r")) == 4
    with pytest.raises(JournalConflict):
        keep(journal, story("r", at=5))
    journal.close()


def test_a_conflict_fails_alone(path: Path) -> None:
    """Appends of other runs in the same commit are kept."""
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


def test_the_list_of_runs_can_be_built_from_the_events(path: Path) -> None:
    """The table of runs says nothing that the events do not."""
    journal = opened(path)
    for run in journal.runs():
        first, *_, last = journal.read(run.run_id)
        assert isinstance(first, RunStarted)
        assert (run.run_id, run.saga, run.started_at) == (first.run_id, first.plan.saga, first.at)
        assert run.definition_hash == first.definition_hash
        if isinstance(last, RunEnded):
            assert (run.status, run.ended_at, run.reason, run.step) == (
                last.status,
                last.at,
                last.reason,
                last.step,
            )
        else:
            assert (run.status, run.ended_at) == (Status.RUNNING, None)
    journal.close()


def test_the_file_says_whose_it_is(path: Path) -> None:
    """The application id and the layout's number are in the file's header."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
