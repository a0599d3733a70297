"""Participants in processes of their own, killed with SIGKILL; then their books are compared."""

import random
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from sagacity_engine.barrier import SqliteBarrier

# A participant that books every key, and undoes every third, telling what it does.
CHILD = """
import sqlite3, sys
from sagacity_engine.barrier import Hanging, SqliteBarrier

path, keys, pauses = sys.argv[1], sys.argv[2].split(), sys.argv[3:] == ["pause"]
connection = sqlite3.connect(path)
barrier = SqliteBarrier()

def tell(what):
    print(what, flush=True)
    if pauses:
        sys.stdin.read()

for place, key in enumerate(keys):
    try:
        with barrier.once(connection, key=key) as entry:
            if entry.first:
                connection.execute("INSERT INTO effects VALUES (?)", (key,))
                entry.output = place
                tell("acted " + key)
        tell("done " + key)
    except Hanging:
        tell("undone before " + key)
    if place % 3 == 0:
        with barrier.undo(connection, key="undo " + key, undoes=key) as undo:
            if undo.owed:
                connection.execute("INSERT INTO effects VALUES (?)", ("undo " + key,))
                tell("undid " + key)
print("finished", flush=True)
connection.close()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "participant.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE effects (effect TEXT NOT NULL)")
        SqliteBarrier().create(connection)
    return path


def effects_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [effect for (effect,) in connection.execute("SELECT effect FROM effects")]


def play(path: Path, keys: str, *, kill_at: int | None, pause: bool = False) -> list[str]:
    """Runs the participant, and kills it when it has told `kill_at` things."""
    command = [sys.executable, "-c", CHILD, str(path), keys, *(["pause"] if pause else [])]
    told = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            told.append(line.strip())
            if len(told) == kill_at:
                child.kill()
                break
    return told


@pytest.mark.slow
def test_killed_between_effect_and_commit(database: Path) -> None:
    """The effect is gone with its row; the next process acts, once, and a third one does not."""
    assert play(database, "book", kill_at=1, pause=True) == ["acted book"]
    assert effects_of(database) == []
    assert play(database, "book", kill_at=None) == ["acted book", "done book", "undid book", "finished"]
    with closing(sqlite3.connect(database)) as connection:
        assert (
            SqliteBarrier().outcome(connection, key="book").reason
            == "it acted and was undone; it will not act again"
        )
    assert effects_of(database) == ["book", "undo book"]


@pytest.mark.slow
def test_killed_between_commit_and_reply(database: Path) -> None:
    """The reply is lost, the effect is not: the next process gets the output that the first one left."""
    assert play(database, "book", kill_at=2) == ["acted book", "done book"]
    with (
        closing(sqlite3.connect(database)) as connection,
        SqliteBarrier().once(connection, key="book") as entry,
    ):
        assert not entry.first
        assert entry.output == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_done_twice_over_kills(database: Path, seed: int) -> None:
    """Whatever the moments of death: in the end every key has exactly one effect, undone or not."""
    moments = random.Random(seed)
    keys = [f"k{place}" for place in range(30)]
    for round_number in range(8):
        play(database, " ".join(keys), kill_at=moments.randint(1, 6 + 6 * round_number))
    assert play(database, " ".join(keys), kill_at=None)[-1] == "finished"
    undone = [f"undo {key}" for key in keys[::3]]
    assert Counter(effects_of(database)) == dict.fromkeys(keys + undone, 1)
