"""Files of layout 1: one row per event, keyed by the run's id, with one checksum per event.

Opened for writing, such a file is brought to layout 2 in one transaction: its events stay where they are, as
`events_1`, so that nothing is encoded anew and no evidence of an alteration is lost; the list of runs is
numbered, and each run's chain of checksums goes on from its last event. Opened for reading only, the file is
left as it is, and temporary views show it as layout 2 would have it; these look at every run.
"""

from __future__ import annotations

import hashlib

from sagacity_engine.sqlite.connection import Connection

_SET_ASIDE = (
    "DROP TRIGGER IF EXISTS events_are_never_changed",
    "DROP TRIGGER IF EXISTS events_are_never_deleted",
    "ALTER TABLE events RENAME TO events_1",
    "DROP INDEX runs_by_status",
    "DROP INDEX runs_by_start",
    "ALTER TABLE runs RENAME TO runs_1",
)

_LINES = """
SELECT row_number() OVER (ORDER BY started_at, run_id), run_id, saga, definition_hash, status,
    started_at, ended_at, reason, step,
    ifnull((SELECT seq FROM {events} e WHERE e.run_id = r.run_id ORDER BY seq DESC LIMIT 1), 0),
    ifnull((SELECT checksum FROM {events} e WHERE e.run_id = r.run_id ORDER BY seq DESC LIMIT 1), x'')
FROM {runs} r
"""

_VIEWS = (
    "CREATE TEMP VIEW runs (number, run_id, saga, definition_hash, status, started_at, ended_at, reason,"
    " step, seq, checksum) AS " + _LINES.format(events="main.events", runs="main.runs"),
    "CREATE TEMP VIEW events_1 AS SELECT * FROM main.events",
    "CREATE TEMP VIEW definitions AS SELECT hash, document, NULL AS checksum FROM main.definitions",
    "CREATE TEMP VIEW totals (status, runs) AS SELECT status, count(*) FROM main.runs GROUP BY status",
    "CREATE TEMP TABLE batches (number, seq, body, checksum)",
    "CREATE TEMP TABLE plans (hash, document)",
    "CREATE TEMP TABLE archived (run_id, number)",
    "CREATE TEMP TABLE requests (number, run_id, kind, body, answer)",
)


def set_aside(connection: Connection) -> None:
    """Frees the names that layout 2 gives to its own tables."""
    for statement in _SET_ASIDE:
        connection.execute(statement)


def carry_over(connection: Connection) -> None:
    """Fills the list of runs of layout 2."""
    connection.execute(
        "INSERT INTO runs (number, run_id, saga, definition_hash, status, started_at, ended_at, reason,"
        " step, seq, checksum) " + _LINES.format(events="events_1", runs="runs_1")
    )
    connection.execute("INSERT INTO totals SELECT status, count(*) FROM runs GROUP BY status")
    connection.execute("DROP TABLE runs_1")
    for hash_, document in connection.execute("SELECT hash, document FROM definitions").fetchall():
        digest = hashlib.sha256(document.encode()).digest()
        connection.execute("UPDATE definitions SET checksum = ? WHERE hash = ?", (digest, hash_))


def view_as_layout_2(connection: Connection) -> None:
    """Temporary views by layout 2's names, of this connection only."""
    for statement in _VIEWS:
        connection.execute(statement)


def no_tail(run_id: str) -> bytes:
    """What the first event of a run follows."""
    return hashlib.sha256(run_id.encode()).digest()


def checksum(previous: bytes, seq: int, kind: str, at: float, body: str) -> bytes:
    """SHA-256 over the predecessor's checksum and every column of the event."""
    return hashlib.sha256(previous + f"{seq}|{kind}|{at!r}|{body}".encode()).digest()
