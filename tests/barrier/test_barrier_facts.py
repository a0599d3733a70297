"""One set of facts for the barrier in every database: what a call finds, and so what it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from sagacity_engine import FailureClass, StepError
from sagacity_engine.barrier import BarrierMisused, Hanging
from sagacity_engine.events import Answer
from sagacity_engine.handlers import OUTPUT_BYTES_MAX, Found

if TYPE_CHECKING:
    from tests.barrier.conftest import Bench


class Crash(Exception):
    """What a participant did not expect."""


def book(bench: Bench, connection: Any, key: str = "book", effect: str = "booked", **kept: Any) -> Any:
    """An action as a participant writes it."""
    with bench.barrier().once(connection, key=key) as entry:
        if entry.first:
            bench.act(connection, effect)
            entry.output = kept
    return entry.output


def cancel(bench: Bench, connection: Any, key: str = "cancel", undoes: str = "book") -> bool:
    """Its undo; tells whether it had something to do."""
    with bench.barrier().undo(connection, key=key, undoes=undoes) as entry:
        owed = entry.owed
        if owed:
            bench.act(connection, "cancelled")
    return owed


def enter(bench: Bench, connection: Any, then: Callable[[Any], object], joins: bool = False) -> None:
    """An action whose block does just this."""
    with bench.barrier(joins=joins).once(connection, key="book") as entry:
        then(entry)


def enter_undo(bench: Bench, connection: Any, then: Callable[[Any], object]) -> None:
    """An undo whose block does just this."""
    with bench.barrier().undo(connection, key="cancel", undoes="book") as entry:
        then(entry)


class CallFacts:
    """What calls find and do, whatever the database."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        raise NotImplementedError

    def test_an_action_acts_once(self, bench: Bench) -> None:
        """A repeated call does not act, whatever it brings, and gets the first call's output."""
        connection = bench.connect()
        assert book(bench, connection, seat="12A") == {"seat": "12A"}
        assert book(bench, connection, effect="again", seat="30F") == {"seat": "12A"}
        assert book(bench, bench.connect(), seat="30F") == {"seat": "12A"}
        assert bench.effects() == ["booked"]
        assert bench.rows() == {"book": ("acted", True)}

    def test_outputs_are_what_json_gives_back(self, bench: Bench) -> None:
        """First and later calls see equal values: tuples have become lists, and no output is None."""
        connection = bench.connect()
        value = {"é": ("\ud800 half", None), "n": 1.5, "nul": "\x00"}
        told = {"v": json.loads(json.dumps(value))}
        assert [book(bench, connection, v=value) for _ in range(2)] == [told, told]
        for _ in range(2):
            with bench.barrier().once(connection, key="silent") as entry:
                assert entry.first in (True, False)
            assert entry.output is None

    def test_an_undo_takes_back_once(self, bench: Bench) -> None:
        """The undo acts when the action has acted; repeated, or under another key, it has nothing to do."""
        connection = bench.connect()
        book(bench, connection)
        assert [cancel(bench, connection) for _ in range(2)] == [True, False]
        assert cancel(bench, connection, key="cancel later") is False
        assert bench.effects() == ["booked", "cancelled"]
        assert bench.rows() == {
            "book": ("undone", True),
            "cancel": ("acted", True),
            "cancel later": ("nothing", True),
        }

    def test_an_undo_knows_the_lost_reply(self, bench: Bench) -> None:
        """The action's stored output is at hand in its undo; the undo's own output is kept likewise."""
        connection = bench.connect()
        book(bench, connection, seat="12A")
        replies = []
        for fee in (5, 7):
            with bench.barrier().undo(connection, key="cancel", undoes="book") as entry:
                assert entry.action_output == {"seat": "12A"}
                if entry.owed:
                    entry.output = {"fee": fee}
            replies.append(entry.output)
        assert replies == [{"fee": 5}, {"fee": 5}]

    def test_null_compensation_is_remembered(self, bench: Bench) -> None:
        """The undo of an action that never came does nothing and is kept; the late action is refused."""
        connection = bench.connect()
        for fee in (0, 9):
            with bench.barrier().undo(connection, key="cancel", undoes="book") as entry:
                assert not entry.owed
                assert entry.action_output is None
                if fee == 0:
                    entry.output = {"fee": fee}
            assert entry.output == {"fee": 0}
        with pytest.raises(Hanging, match="'book'"):
            book(bench, connection)
        assert bench.effects() == []
        assert bench.rows() == {"book": ("refused", True), "cancel": ("nothing", True)}

    def test_a_hanging_action_is_refused(self, bench: Bench) -> None:
        """After its undo the action is refused for good, as a permanent failure that no retry mends."""
        connection = bench.connect()
        book(bench, connection)
        cancel(bench, connection)
        for _ in range(2):
            with pytest.raises(StepError) as refused:
                book(bench, connection)
            assert refused.value.error_type == "Hanging"
            assert refused.value.failure_class is FailureClass.PERMANENT
            assert refused.value.terminal
        assert bench.effects() == ["booked", "cancelled"]

    def test_a_new_key_is_a_new_action(self, bench: Bench) -> None:
        """A step done again under new keys acts again, and its undo takes back that round only."""
        connection = bench.connect()
        book(bench, connection)
        cancel(bench, connection)
        assert book(bench, connection, key="book 2", seat="1A") == {"seat": "1A"}
        assert cancel(bench, connection) is False
        assert cancel(bench, connection, key="cancel 2", undoes="book 2") is True
        assert bench.effects() == ["booked", "cancelled"] * 2

    @pytest.mark.parametrize("problem", [StepError("SoldOut"), Crash(), KeyboardInterrupt()])
    def test_what_is_raised_takes_the_row_back(self, bench: Bench, problem: BaseException) -> None:
        """An error inside the block rolls effect and row back together; the same keys then act."""
        connection = bench.connect()

        def fail(entry: Any) -> None:
            bench.act(connection, "half")
            raise problem

        with pytest.raises(type(problem)):
            enter(bench, connection, fail)
        assert (bench.effects(), bench.rows()) == ([], {})
        book(bench, connection)
        with pytest.raises(type(problem)):
            enter_undo(bench, connection, fail)
        assert bench.rows() == {"book": ("acted", True)}
        assert cancel(bench, connection) is True
        assert bench.effects() == ["booked", "cancelled"]

    def test_other_rows_do_not_matter(self, bench: Bench) -> None:
        """A participant's own row type for queries is no business of the barrier's."""
        connection = bench.connect()
        connection.row_factory = bench.dict_rows
        assert [book(bench, connection, seat=1) for _ in range(2)] == [{"seat": 1}] * 2

    def test_creating_again_changes_nothing(self, bench: Bench) -> None:
        """The table is created once, also by several at once, and what it holds stays."""
        connections = [bench.connect() for _ in range(8)]
        connections[0].execute("DROP TABLE saga_barrier")
        connections[0].commit()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(bench.barrier().create, connections))
        book(bench, connections[0])
        bench.barrier().create(connections[0])
        assert bench.rows() == {"book": ("acted", True)}


class ProbeFacts:
    """What probes answer, and what pruning forgets."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        raise NotImplementedError

    def test_a_look_changes_nothing(self, bench: Bench) -> None:
        """Without `final`, nothing so far is no answer, and the action still acts."""
        connection = bench.connect()
        barrier = bench.barrier()
        assert barrier.outcome(connection, key="book").answer is Answer.CANNOT_TELL
        assert bench.rows() == {}
        book(bench, connection, seat="1A")
        for final in (False, True):
            found = barrier.outcome(connection, key="book", final=final)
            assert isinstance(found, Found)  # What a probe returns to the engine.
            assert (found.answer, found.output) == (Answer.HAPPENED, {"seat": "1A"})

    def test_a_final_no_stays_true(self, bench: Bench) -> None:
        """With `final`, "did not happen" refuses the late action, and the undo finds nothing."""
        connection = bench.connect()
        barrier = bench.barrier()
        for final in (True, True, False):
            assert barrier.outcome(connection, key="book", final=final).answer is Answer.DID_NOT_HAPPEN
        with pytest.raises(Hanging):
            book(bench, connection)
        assert cancel(bench, connection) is False
        assert bench.effects() == []

    def test_an_undone_action_left_nothing(self, bench: Bench) -> None:
        """An action that was undone has no effect and will have none; the reason says what happened."""
        connection = bench.connect()
        book(bench, connection)
        cancel(bench, connection)
        found = bench.barrier().outcome(connection, key="book")
        assert found.answer is Answer.DID_NOT_HAPPEN
        assert "undone" in found.reason

    def test_old_keys_are_forgotten(self, bench: Bench) -> None:
        """Pruning deletes what was written before that time, so many at most; a repetition does not write."""
        connection = bench.connect()
        now = [0.0]
        barrier = bench.barrier(clock=lambda: now[0])
        for place, key in enumerate(["a", "b", "c", "d", "b"]):
            now[0] = place
            with barrier.once(connection, key=key) as entry:
                assert entry.first is (place < 4)
        now[0] = 9.0
        with barrier.undo(connection, key="undo of a", undoes="a") as undo:
            assert undo.owed
        assert barrier.prune(connection, before=3.0, limit=1) == 1
        assert set(bench.rows()) == {"a", "c", "d", "undo of a"}
        assert barrier.prune(connection, before=3.0) == 1
        assert set(bench.rows()) == {"a", "d", "undo of a"}
        assert barrier.prune(connection, before=9.0) == 1
        assert barrier.prune(connection, before=9.0) == 0

    def test_a_forgotten_key_is_new(self, bench: Bench) -> None:
        """The danger of pruning: a forgotten action acts again, and its undo is owed again and kept anew."""
        connection = bench.connect()
        now = [0.0]
        barrier = bench.barrier(clock=lambda: now[0])

        def undo(output: str) -> tuple[bool, Any]:
            with barrier.undo(connection, key="cancel", undoes="book") as entry:
                owed = entry.owed
                if entry.output is None:
                    entry.output = output
            return owed, entry.output

        assert undo("early") == (False, "early")
        now[0] = 1.0
        assert barrier.prune(connection, before=1.0, limit=1) == 1  # The action's row; the undo's is left.
        assert set(bench.rows()) == {"cancel"}
        book(bench, connection)
        assert undo("late") == (True, "late")
        assert undo("never") == (False, "late")

    @pytest.mark.parametrize("before", [float("nan"), 11.0, 11_000, "yesterday", None])
    def test_only_the_past_is_forgotten(self, bench: Bench, before: Any) -> None:
        """A time that is not in the past, such as milliseconds, is refused and nothing is deleted."""
        connection = bench.connect()
        book(bench, connection)
        with pytest.raises(BarrierMisused, match="seconds since the epoch"):
            bench.barrier(clock=lambda: 10.0).prune(connection, before=before)
        with pytest.raises(BarrierMisused, match="limit = 0"):
            bench.barrier().prune(connection, before=0.0, limit=0)
        assert set(bench.rows()) == {"book"}


class MisuseFacts:
    """What is wrong in the participant's code is refused, and nothing is written."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        raise NotImplementedError

    @pytest.mark.parametrize("key", ["", "  ", "a\nb", "\x00", "\ud800", "k" * 256, 7, None])
    def test_what_is_no_key(self, bench: Bench, key: Any) -> None:
        """A key is a short printable text; the refusal names the value."""
        connection = bench.connect()
        with pytest.raises(BarrierMisused, match=r"^key = "):
            book(bench, connection, key=key)
        with pytest.raises(BarrierMisused, match=r"^key = "):
            cancel(bench, connection, key=key)
        with pytest.raises(BarrierMisused, match=r"^undoes = "):
            cancel(bench, connection, undoes=key)
        with pytest.raises(BarrierMisused, match="printable"):
            bench.barrier().outcome(connection, key=key)
        assert bench.rows() == {}

    def test_a_key_has_one_direction(self, bench: Bench) -> None:
        """A key of an action is refused for an undo and the other way round, naming whose it is."""
        connection = bench.connect()
        book(bench, connection)
        cancel(bench, connection)
        before = bench.rows()
        with pytest.raises(BarrierMisused, match="'cancel' belongs to the undo of 'book'"):
            book(bench, connection, key="cancel")
        with pytest.raises(BarrierMisused, match="'book' belongs to an action"):
            cancel(bench, connection, key="book", undoes="other")
        with pytest.raises(BarrierMisused, match="'cancel' belongs to the undo"):
            cancel(bench, connection, key="new", undoes="cancel")
        with pytest.raises(BarrierMisused, match="'cancel' belongs to the undo of 'book'"):
            cancel(bench, connection, undoes="other")
        with pytest.raises(BarrierMisused, match="'same' belongs to an action"):
            cancel(bench, connection, key="same", undoes="same")
        for final in (False, True):
            with pytest.raises(BarrierMisused, match="'cancel' belongs to the undo"):
                bench.barrier().outcome(connection, key="cancel", final=final)
        assert bench.rows() == before
        assert bench.effects() == ["booked", "cancelled"]

    @pytest.mark.parametrize("value", [float("nan"), {1, 2}, {("a",): 1}, "x" * OUTPUT_BYTES_MAX])
    def test_what_is_no_output(self, bench: Bench, value: Any) -> None:
        """An output that JSON cannot say, or a huge one, takes the effect back; the refusal is short."""
        connection = bench.connect()
        with pytest.raises(BarrierMisused, match="'book'") as refused:
            book(bench, connection, value=value)
        assert len(str(refused.value)) < 400
        assert (bench.effects(), bench.rows()) == ([], {})

    def test_an_output_too_deep(self, bench: Bench) -> None:
        """Not even its repr can be told; the refusal stays a refusal."""
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(BarrierMisused, match="nested too deeply"):
            book(bench, bench.connect(), value=deep)
        assert bench.rows() == {}

    def test_a_block_must_ask(self, bench: Bench) -> None:
        """A block that never asks whether to act is refused at its first call already."""
        connection = bench.connect()
        with pytest.raises(BarrierMisused, match=r"entry\.first"):
            enter(bench, connection, lambda _: bench.act(connection, "booked"))
        with pytest.raises(BarrierMisused, match=r"entry\.owed"):
            enter_undo(bench, connection, lambda _: bench.act(connection, "cancelled"))
        assert (bench.effects(), bench.rows()) == ([], {})

    def test_a_repetition_has_its_output(self, bench: Bench) -> None:
        """Setting the output in a repeated call is refused, and whatever the block did is taken back."""
        connection = bench.connect()
        book(bench, connection, seat="1A")

        def act_again(entry: Any) -> None:
            assert not entry.first
            bench.act(connection, "again")
            entry.output = "30F"

        with pytest.raises(BarrierMisused, match="already has one"):
            enter(bench, connection, act_again)
        assert bench.effects() == ["booked"]

    def test_a_block_is_a_transaction_of_its_own(self, bench: Bench) -> None:
        """A connection with uncommitted changes is refused, so is a block in a block; the changes stay."""
        connection = bench.connect()
        bench.begin(connection)
        bench.act(connection, "before")
        with pytest.raises(BarrierMisused, match="in the middle of a transaction"):
            book(bench, connection)
        connection.commit()
        with pytest.raises(BarrierMisused, match="in the middle of a transaction"):
            enter(bench, connection, lambda _: book(bench, connection, key="inner"))
        assert (bench.effects(), bench.rows()) == (["before"], {})

    def test_a_rollback_inside_the_block(self, bench: Bench) -> None:
        """Rolling back inside the block is refused at its end, and what came after it is not kept."""
        connection = bench.connect()

        def start_over(entry: Any) -> None:
            assert entry.first
            connection.rollback()
            bench.act(connection, "after")

        with pytest.raises(BarrierMisused, match="inside the barrier's block"):
            enter(bench, connection, start_over)
        assert (bench.effects(), bench.rows()) == ([], {})


class JoiningFacts:
    """A barrier that joins the participant's own transaction."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        raise NotImplementedError

    def test_the_participant_commits(self, bench: Bench) -> None:
        """Rows, effects and what else the transaction did are there after the commit, or not at all."""
        connection = bench.connect()
        barrier = bench.barrier(joins=True)
        for end in (connection.rollback, connection.commit):
            bench.begin(connection)
            bench.act(connection, "mine")
            with barrier.once(connection, key="book") as entry:
                assert entry.first
                bench.act(connection, "booked")
            with barrier.once(connection, key="pay") as entry:
                assert entry.first
            assert (bench.effects(), bench.rows()) == ([], {})
            end()
        assert bench.effects() == ["mine", "booked"]
        assert bench.rows() == {"book": ("acted", True), "pay": ("acted", True)}

    def test_an_error_takes_back_the_block_alone(self, bench: Bench) -> None:
        """What is raised inside the block undoes the block; the participant decides about the rest."""
        connection = bench.connect()
        bench.begin(connection)
        bench.act(connection, "mine")

        def fail(entry: Any) -> None:
            bench.act(connection, "half")
            raise Crash

        with pytest.raises(Crash):
            enter(bench, connection, fail, joins=True)
        connection.commit()
        assert (bench.effects(), bench.rows()) == (["mine"], {})

    def test_repetitions_undos_and_probes_join_too(self, bench: Bench) -> None:
        """Everything works as in a block of its own, and nothing commits."""
        connection = bench.connect()
        barrier = bench.barrier(joins=True)
        bench.begin(connection)
        with barrier.once(connection, key="book") as entry:
            if entry.first:
                entry.output = 1
        with barrier.once(connection, key="book") as entry:
            assert not entry.first
        assert barrier.outcome(connection, key="book").answer is Answer.HAPPENED
        with barrier.undo(connection, key="cancel", undoes="book") as undo:
            assert undo.owed
        with pytest.raises(Hanging), barrier.once(connection, key="book"):
            pass
        assert barrier.outcome(connection, key="other", final=True).answer is Answer.DID_NOT_HAPPEN
        assert barrier.prune(connection, before=0.0) == 0
        assert bench.rows() == {}
        connection.commit()
        assert set(bench.rows()) == {"book", "cancel", "other"}


class TestCallsInSqlite(CallFacts):
    @pytest.fixture
    def bench(self, sqlite_bench: Bench) -> Bench:
        return sqlite_bench


class TestCallsInPostgres(CallFacts):
    @pytest.fixture
    def bench(self, postgres_bench: Bench) -> Bench:
        return postgres_bench


class TestProbesInSqlite(ProbeFacts):
    @pytest.fixture
    def bench(self, sqlite_bench: Bench) -> Bench:
        return sqlite_bench


class TestProbesInPostgres(ProbeFacts):
    @pytest.fixture
    def bench(self, postgres_bench: Bench) -> Bench:
        return postgres_bench


class TestMisuseInSqlite(MisuseFacts):
    @pytest.fixture
    def bench(self, sqlite_bench: Bench) -> Bench:
        return sqlite_bench


class TestMisuseInPostgres(MisuseFacts):
    @pytest.fixture
    def bench(self, postgres_bench: Bench) -> Bench:
        return postgres_bench


class TestJoiningInSqlite(JoiningFacts):
    @pytest.fixture
    def bench(self, sqlite_bench: Bench) -> Bench:
        return sqlite_bench


class TestJoiningInPostgres(JoiningFacts):
    @pytest.fixture
    def bench(self, postgres_bench: Bench) -> Bench:
        return postgres_bench
