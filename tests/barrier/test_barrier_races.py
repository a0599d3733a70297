"""Calls at once: whoever has the key goes first, the others wait, and all end as they would in a row."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sagacity_engine.barrier import Hanging
from sagacity_engine.events import Answer

if TYPE_CHECKING:
    from tests.barrier.conftest import Bench

NUMBERS = itertools.count()
WAIT_S = 60.0
THREADS = 20


class Crash(Exception):
    """What a participant did not expect."""


@dataclass(frozen=True)
class Played:
    """One call: what it is, under which of two undo keys, and whether it crashes inside its block."""

    kind: str
    undo: str = ""
    crashes: bool = False


ACTIONS = st.builds(Played, st.just("action"), crashes=st.booleans())
UNDOS = st.builds(Played, st.just("undo"), undo=st.sampled_from(["u1", "u2"]), crashes=st.booleans())
PROBES = st.builds(Played, st.sampled_from(["look", "settle"]))


@dataclass
class Model:
    """The barrier for one action, in memory: what the calls, one after the other, find and do."""

    state: str = "open"
    output: int | None = None
    undone: dict[str, int | None] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)

    def play(self, call: Played, number: int) -> Any:
        return getattr(self, call.kind)(call, number)

    def action(self, call: Played, number: int) -> Any:
        if self.state in ("undone", "refused"):
            return "hanging"
        if call.crashes:
            return "crashed"
        if self.state == "acted":
            return (False, self.output)
        self.state, self.output = "acted", number
        self.effects.append("did")
        return (True, number)

    def undo(self, call: Played, number: int) -> Any:
        if call.crashes:
            return "crashed"
        if self.state != "acted":
            self.state = "refused" if self.state == "open" else self.state
            return (False, self.undone.setdefault(call.undo, None))
        self.state = "undone"
        self.undone[call.undo] = number
        self.effects.append("undid")
        return (True, number)

    def look(self, call: Played, number: int) -> Any:
        if self.state == "open":
            return (Answer.CANNOT_TELL, None)
        happened = self.state == "acted"
        return (Answer.HAPPENED, self.output) if happened else (Answer.DID_NOT_HAPPEN, None)

    def settle(self, call: Played, number: int) -> Any:
        self.state = "refused" if self.state == "open" else self.state
        return self.look(call, number)


class Player:
    """One call in a thread of its own, which stays in its block until it is told to go on."""

    def __init__(self, bench: Bench, connection: Any, key: str, call: Played, number: int) -> None:
        self._bench, self._connection, self._barrier = bench, connection, bench.barrier()
        self._key, self._call, self._number = key, call, number
        self._arrived = threading.Event()
        self._go_on = threading.Event()
        self.result: Any = "nothing"
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def arrived(self) -> bool:
        return self._arrived.is_set()

    def await_block(self) -> None:
        assert self._arrived.wait(WAIT_S)

    def finish(self) -> None:
        self._go_on.set()
        self._thread.join()

    def _play(self) -> None:
        plays: dict[str, Callable[[], Any]] = {"action": self._act, "undo": self._undo}
        try:
            self.result = plays.get(self._call.kind, self._probe)()
        except Hanging:
            self.result = "hanging"
        except Crash:
            self.result = "crashed"
        finally:
            self._arrived.set()

    def _act(self) -> Any:
        with self._barrier.once(self._connection, key=self._key) as entry:
            self._stay(entry, acts=entry.first, effect="did")
        return (entry.first, entry.output)

    def _undo(self) -> Any:
        key = f"{self._key} {self._call.undo}"
        with self._barrier.undo(self._connection, key=key, undoes=self._key) as entry:
            self._stay(entry, acts=entry.owed, effect="undid")
        return (entry.owed, entry.output)

    def _stay(self, entry: Any, *, acts: bool, effect: str) -> None:
        if acts:
            self._bench.act(self._connection, f"{self._key} {effect}")
            entry.output = self._number
        self._arrived.set()
        assert self._go_on.wait(WAIT_S)
        if self._call.crashes:
            raise Crash

    def _probe(self) -> Any:
        final = self._call.kind == "settle"
        found = self._barrier.outcome(self._connection, key=self._key, final=final)
        return (found.answer, found.output)


class RaceFacts:
    """What holds however calls overlap."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        raise NotImplementedError

    # The bench is one database for all examples; every example has keys of its own.
    @settings(
        max_examples=100,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(st.lists(st.one_of(ACTIONS, UNDOS, ACTIONS, UNDOS, PROBES), min_size=2, max_size=7))
    def test_overlapping_calls_end_as_in_a_row(self, bench: Bench, calls: list[Played]) -> None:
        """Each call comes while the one before is in its block; all end as the model's, one after the other.

        A look does not wait, so it is only played when nobody is in a block.
        """
        key = f"k{next(NUMBERS)}"
        model = Model()
        connections = [bench.connect(), bench.connect()]
        before: Player | None = None
        played = []
        for number, call in enumerate(calls):
            if before is not None and call.kind == "look":
                before.finish()
            player = Player(bench, connections[number % 2], key, call, number)
            if before is not None:
                bench.await_waiter(player.arrived)
                before.finish()
            player.await_block()
            before = player
            played.append(player)
        played[-1].finish()
        expected = [model.play(call, number) for number, call in enumerate(calls)]
        assert [player.result for player in played] == expected
        effects = [each.removeprefix(f"{key} ") for each in bench.effects() if each.startswith(f"{key} ")]
        assert effects == model.effects
        assert bench.rows().get(key, ("open", True)) == (model.state, True)
        event(model.state)
        for connection in connections:
            connection.close()

    @pytest.mark.parametrize("first", ["action", "undo"])
    def test_an_undo_races_its_action(self, bench: Bench, first: str) -> None:
        """Whoever has the key first: the action is taken back, or it never acts."""
        order = [Played("action"), Played("undo", undo="u1")]
        if first == "undo":
            order.reverse()
        ahead = Player(bench, bench.connect(), "book", order[0], 1)
        ahead.await_block()
        behind = Player(bench, bench.connect(), "book", order[1], 2)
        bench.await_waiter(behind.arrived)
        assert not behind.arrived()
        ahead.finish()
        behind.finish()
        if first == "action":
            assert (ahead.result, behind.result) == ((True, 1), (True, 2))
            assert bench.effects() == ["book did", "book undid"]
        else:
            assert (ahead.result, behind.result) == ((False, None), "hanging")
            assert bench.effects() == []

    def test_many_threads_act_once(self, bench: Bench) -> None:
        """Twenty threads call the same keys, each several times: one effect a key, one output for all."""
        keys = [f"k{place}" for place in range(6)]

        def hammer(thread: int) -> list[tuple[str, Any]]:
            connection = bench.connect()
            mine = keys * 2
            random.Random(thread).shuffle(mine)
            got = []
            for key in mine:
                with bench.barrier().once(connection, key=key) as entry:
                    if entry.first:
                        bench.act(connection, key)
                        entry.output = thread
                got.append((key, entry.output))
            connection.close()
            return got

        with ThreadPoolExecutor(THREADS) as threads:
            told = set(itertools.chain(*threads.map(hammer, range(THREADS))))
        assert Counter(bench.effects()) == dict.fromkeys(keys, 1)
        assert len(told) == len(keys)

    def test_many_threads_act_and_undo(self, bench: Bench) -> None:
        """Twenty threads of actions and undos: what acted was undone once, what was refused never acts."""
        keys = [f"k{place}" for place in range(6)]

        def hammer(thread: int) -> None:
            connection = bench.connect()
            calls = [Played(kind, undo=f"u{thread % 3}") for kind in ("action", "undo")]
            mine = [(key, call) for key in keys for call in calls]
            random.Random(thread).shuffle(mine)
            for key, call in mine:
                player = Player(bench, connection, key, call, thread)
                player.finish()
                assert player.result == "hanging" or isinstance(player.result, tuple)
            connection.close()

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(hammer, range(THREADS)))
        effects = bench.effects()
        assert max(Counter(effects).values(), default=1) == 1
        for key in keys:
            assert [each for each in effects if each.startswith(f"{key} ")] in (
                [],
                [f"{key} did", f"{key} undid"],
            )
        assert {bench.rows()[key] for key in keys} <= {("undone", True), ("refused", True)}


class TestRacesInSqlite(RaceFacts):
    @pytest.fixture
    def bench(self, sqlite_bench: Bench) -> Bench:
        return sqlite_bench


class TestRacesInPostgres(RaceFacts):
    @pytest.fixture
    def bench(self, postgres_bench: Bench) -> Bench:
        return postgres_bench

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    def test_stricter_levels_never_act_twice(self, bench: Bench, level: str) -> None:
        """A call that may not see what came before it gets PostgreSQL's error; repeated, the output."""
        late = bench.connect()
        late.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")
        late.commit()
        late.execute("SELECT count(*) FROM effects")  # From now on it sees what is there now.
        ahead = Player(bench, bench.connect(), "book", Played("action"), 1)
        ahead.await_block()
        ahead.finish()
        with (
            pytest.raises(psycopg.errors.SerializationFailure),
            bench.barrier().once(late, key="book"),
        ):
            pytest.fail("The block was entered.")
        with bench.barrier().once(late, key="book") as entry:
            assert not entry.first
        assert entry.output == 1
        assert bench.effects() == ["book did"]

    def test_pruning_passes_over_keys_in_use(self, bench: Bench) -> None:
        """A row that a call holds is neither waited for nor forgotten."""
        Player(bench, bench.connect(), "book", Played("action"), 1).finish()
        holder = Player(bench, bench.connect(), "book", Played("undo", undo="u1"), 2)
        holder.await_block()
        later = bench.barrier(clock=lambda: 1e12)
        assert later.prune(bench.connect(), before=1e12) == 0
        holder.finish()
        assert later.prune(bench.connect(), before=1e12) == 2
