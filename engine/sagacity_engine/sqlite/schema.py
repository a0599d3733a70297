"""The tables of a journal's file: layout 2.

A run has a number, so that what is written for live runs lies together however random their ids are. A batch
is one row with one checksum; batches lie in the order in which they were written, so that a commit touches
few pages, and an index finds those of a run. What a commit writes goes through the view `appending`, whose
triggers spread each row over the tables: the whole commit is one statement, atomic by itself, during which
Python's lock is free. The file itself refuses a writer whose epoch is over, a batch of an archived run, and
any change of what was written.

`events_1` holds what layout 1 wrote, one row per event; it is read and never written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

APPLICATION_ID = 0x53414741  # "SAGA"
SCHEMA_VERSION = 2

APPENDING = (
    "epoch",
    "number",
    "seq",
    "body",
    "checksum",
    "last",
    "run_id",
    "saga",
    "definition_hash",
    "started_at",
    "status",
    "ended_at",
    "reason",
    "step",
)
"""The columns of a row in a commit. `run_id` is set where the run starts, `status` where its line changes."""

EVENTS_1 = """
CREATE TABLE events_1 (
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    body TEXT NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE definitions (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;
"""
"""What a new file has in common with one that came from layout 1."""

LAYOUT_2 = """
ALTER TABLE definitions ADD COLUMN checksum BLOB;
CREATE TABLE plans (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    saga TEXT NOT NULL,
    definition_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    reason TEXT NOT NULL DEFAULT '',
    step TEXT NOT NULL DEFAULT '',
    seq INTEGER NOT NULL,
    checksum BLOB NOT NULL
);
CREATE INDEX runs_by_status ON runs (status);
CREATE INDEX runs_by_saga ON runs (saga, status);
CREATE TABLE batches (
    place INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body TEXT NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (number, seq)
);
CREATE TABLE archived (
    run_id TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE totals (
    status TEXT PRIMARY KEY,
    runs INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    answer TEXT
);
CREATE INDEX requests_waiting ON requests (number) WHERE answer IS NULL;
CREATE TABLE lease (
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    renewed_at REAL NOT NULL,
    lease_s REAL NOT NULL,
    locked INTEGER NOT NULL
);
INSERT INTO lease VALUES (0, '', 0, 0, 0);
"""

TRIGGERS = """
CREATE TRIGGER run_counted AFTER INSERT ON runs BEGIN
    INSERT INTO totals VALUES (NEW.status, 1) ON CONFLICT DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER run_recounted AFTER UPDATE OF status ON runs WHEN NEW.status <> OLD.status BEGIN
    UPDATE totals SET runs = runs - 1 WHERE status = OLD.status;
    INSERT INTO totals VALUES (NEW.status, 1) ON CONFLICT DO UPDATE SET runs = runs + 1;
END;
CREATE TRIGGER run_uncounted AFTER DELETE ON runs BEGIN
    UPDATE totals SET runs = runs - 1 WHERE status = OLD.status;
END;
CREATE TRIGGER runs_are_never_deleted BEFORE DELETE ON runs
    WHEN NOT EXISTS (SELECT 1 FROM archived WHERE run_id = OLD.run_id)
    BEGIN SELECT RAISE(ABORT, 'runs are only archived'); END;
CREATE TRIGGER batches_are_never_changed BEFORE UPDATE ON batches
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER batches_are_never_deleted BEFORE DELETE ON batches
    WHEN NOT EXISTS (SELECT 1 FROM runs JOIN archived USING (run_id) WHERE runs.number = OLD.number)
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_added BEFORE INSERT ON events_1
    BEGIN SELECT RAISE(ABORT, 'layout 1 is only read'); END;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events_1
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events_1
    WHEN NOT EXISTS (SELECT 1 FROM archived WHERE run_id = OLD.run_id)
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE VIEW appending AS SELECT
    0 AS epoch, 0 AS number, 0 AS seq, '' AS body, x'' AS checksum, 0 AS last,
    NULL AS run_id, NULL AS saga, NULL AS definition_hash, NULL AS started_at,
    NULL AS status, NULL AS ended_at, NULL AS reason, NULL AS step;
CREATE TRIGGER append_start INSTEAD OF INSERT ON appending WHEN NEW.run_id IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'the journal was taken over') WHERE NEW.epoch <> (SELECT epoch FROM lease);
    SELECT RAISE(ABORT, 'the run is archived') WHERE EXISTS
        (SELECT 1 FROM archived WHERE run_id = NEW.run_id);
    INSERT INTO runs VALUES (NEW.number, NEW.run_id, NEW.saga, NEW.definition_hash, NEW.status,
        NEW.started_at, NEW.ended_at, NEW.reason, NEW.step, NEW.last, NEW.checksum);
    INSERT INTO batches (number, seq, body, checksum)
        VALUES (NEW.number, NEW.seq, NEW.body, NEW.checksum);
END;
CREATE TRIGGER append_more INSTEAD OF INSERT ON appending
    WHEN NEW.run_id IS NULL AND NEW.status IS NULL BEGIN
    SELECT RAISE(ABORT, 'the journal was taken over') WHERE NEW.epoch <> (SELECT epoch FROM lease);
    SELECT RAISE(ABORT, 'the run is not there') WHERE NOT EXISTS
        (SELECT 1 FROM runs WHERE number = NEW.number);
    UPDATE runs SET seq = NEW.last, checksum = NEW.checksum WHERE number = NEW.number;
    INSERT INTO batches (number, seq, body, checksum)
        VALUES (NEW.number, NEW.seq, NEW.body, NEW.checksum);
END;
CREATE TRIGGER append_change INSTEAD OF INSERT ON appending
    WHEN NEW.run_id IS NULL AND NEW.status IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'the journal was taken over') WHERE NEW.epoch <> (SELECT epoch FROM lease);
    SELECT RAISE(ABORT, 'the run is not there') WHERE NOT EXISTS
        (SELECT 1 FROM runs WHERE number = NEW.number);
    UPDATE runs SET seq = NEW.last, checksum = NEW.checksum, status = NEW.status,
        ended_at = NEW.ended_at, reason = NEW.reason, step = NEW.step WHERE number = NEW.number;
    INSERT INTO batches (number, seq, body, checksum)
        VALUES (NEW.number, NEW.seq, NEW.body, NEW.checksum);
END;
"""


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, so that a transaction can be held around them."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
