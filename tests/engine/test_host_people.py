"""What people do to runs of the real engine: each method, when it works, and in which words it is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sagacity_engine import (
    Action,
    BoundSaga,
    Call,
    Compensation,
    Engine,
    MemoryJournal,
    Request,
    RetryPolicy,
    RunRefused,
    RunResult,
    SagaRefused,
    SqliteJournal,
    Status,
    StepError,
    define,
)
from sagacity_engine.events import (
    CancelRequested,
    DeadlineReached,
    Event,
    OperatorActed,
    RunEnded,
    SignalReceived,
)
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

ONCE = RetryPolicy(maximum_attempts=1)
WHO = "Asha"
Use = Callable[[Engine], Awaitable[Any]]


class World:
    """Participants; those in `ill` refuse, by the step's name, and "undo" for every undo."""

    def __init__(self, *ill: str) -> None:
        self.ill = set(ill)
        self.calls: list[str] = []

    def act(self, call: Call) -> str:
        """Every action."""
        self.calls.append(call.step)
        if call.step in self.ill:
            raise StepError("No")
        return f"{call.step} done"

    def undo(self, call: Call) -> None:
        """Every undo."""
        if "undo" in self.ill:
            raise StepError("No")


def trip(world: World, retry: RetryPolicy = ONCE, **fields: Any) -> BoundSaga:
    """Book; ask the boss; pay; every one of them can be taken back, or leaves nothing."""
    saga = define("trip", deadline_s=fields.pop("deadline_s", None))
    undo: dict[str, Any] = {"compensate": world.undo, "compensation": Compensation(retry=ONCE)}
    saga.step(name="book", retry=retry, **undo)(world.act)
    saga.approval("boss", after=["book"], **fields)
    saga.step(name="pay", after=["boss"], retry=ONCE, **undo)(world.act)
    return saga.bind()


def play(bound: BoundSaga, use: Use, journal: MemoryJournal | None = None, **options: Any) -> Any:
    """What came of using an engine in virtual time; every run that ended must be sound."""
    journal = journal or MemoryJournal()

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5, **options) as engine:
            return await use(engine)

    came_of_it = run_in_virtual_time(go())
    for line in journal.runs():
        assert not line.status.ended or violations(bound.saga, journal.read(line.run_id)) == ()
    return came_of_it


async def waiting(engine: Engine) -> None:
    """Run "r" waits for the boss."""
    await engine.start("trip", run_id="r")
    await asyncio.sleep(1)


async def completed(engine: Engine) -> RunResult:
    await waiting(engine)
    await engine.signal("r", "boss", who=WHO)
    return await engine.result("r")


async def stuck(engine: Engine) -> RunResult:
    """Run "r" needs attention: it was refused, and so were its undos."""
    return await completed(engine)


def did(journal: MemoryJournal) -> list[Event]:
    """What people did, in order."""
    return [
        event
        for event in journal.read("r")
        if isinstance(event, OperatorActed | SignalReceived | CancelRequested)
    ]


# What works.


def test_a_signal_says_who_and_what() -> None:
    """The payload is kept, and is the output of the step that waited."""

    async def use(engine: Engine) -> RunResult:
        await waiting(engine)
        await engine.signal("r", "boss", payload={"limit": (1, 2)}, who=WHO)
        return await engine.result("r")

    result = play(trip(World()), use)
    assert result.status is Status.COMPLETED
    assert result.outputs["boss"]["payload"] == {"limit": [1, 2]}


def test_a_refusal_by_signal_turns_the_run_back() -> None:
    """No is an answer too."""

    async def use(engine: Engine) -> RunResult:
        await waiting(engine)
        await engine.signal("r", "boss", approve=False, who=WHO)
        return await engine.result("r")

    assert play(trip(World()), use).status is Status.COMPENSATED


def test_a_completed_run_is_taken_back() -> None:
    """It is open again, and ends compensated by the name of whoever asked."""

    async def use(engine: Engine) -> RunResult:
        await completed(engine)
        await engine.undo("r", who=WHO, why="the trip is off")
        return await engine.result("r")

    result = play(trip(World()), use)
    assert (result.status, result.reason) == (Status.COMPENSATED, "taken back by Asha: the trip is off")


def test_a_compensated_run_is_redriven() -> None:
    """It goes forward again with fresh attempts; what the boss has said still stands."""
    world = World("pay")

    async def use(engine: Engine) -> list[Status]:
        first = await completed(engine)
        world.ill.clear()
        await engine.redrive("r", who=WHO)
        return [first.status, (await engine.result("r")).status]

    assert play(trip(world), use) == [Status.COMPENSATED, Status.COMPLETED]


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda engine: engine.retry("r", "book", who=WHO), Status.COMPENSATED),
        (lambda engine: engine.resolve("r", "book", who=WHO), Status.COMPENSATED),
        (lambda engine: engine.abandon("r", who=WHO, why="lost"), Status.ABANDONED),
        (lambda engine: engine.act("r", Action.ABANDON, who=WHO, why="lost"), Status.ABANDONED),
    ],
)
def test_a_run_that_needs_attention_is_settled(act: Use, status: Status) -> None:
    """Each way out leads to an end, and is journaled once with who did it."""
    world, journal = World("pay", "undo"), MemoryJournal()

    async def use(engine: Engine) -> RunResult:
        assert (await stuck(engine)).status is Status.NEEDS_ATTENTION
        world.ill.clear()
        await act(engine)
        return await engine.result("r")

    assert play(trip(world), use, journal).status is status
    assert [each.who for each in did(journal) if isinstance(each, OperatorActed)] == [WHO]


def test_a_backing_off_step_is_retried_at_once_or_skipped() -> None:
    """Nobody has to wait for a backoff that is known to be in vain."""
    hour = RetryPolicy(initial_interval_s=7200.0, maximum_interval_s=7200.0)
    for skip in (False, True):
        world = World("book")

        async def use(engine: Engine, *, world: World = world, skip: bool = skip) -> RunResult:
            await waiting(engine)
            world.ill.clear()
            if skip:
                await engine.skip("r", "book", {"id": 9}, who=WHO)
            else:
                await engine.retry("r", "book", who=WHO)
            await asyncio.sleep(1)
            await engine.signal("r", "boss")
            return await engine.result("r")

        result = play(trip(world, hour), use)
        assert (result.status, result.ended_at < 10) == (Status.COMPLETED, True)
        assert result.outputs["book"] == ({"id": 9} if skip else "book done")


def test_a_live_run_is_abandoned() -> None:
    """Nothing more is done for it, not even undos."""
    world = World()

    async def use(engine: Engine) -> RunResult:
        await waiting(engine)
        await engine.abandon("r", who=WHO, why="the firm is gone")
        return await engine.result("r")

    result = play(trip(world), use)
    assert (result.status, world.calls) == (Status.ABANDONED, ["book"])
    assert result.reason == "abandoned by Asha: the firm is gone"


# Pausing: the clocks stand still.


@pytest.mark.parametrize(
    ("bound", "ill", "status"),
    [
        pytest.param({"retry": RetryPolicy(initial_interval_s=20.0)}, True, None, id="a backoff"),
        pytest.param({"deadline_s": 10.0}, False, Status.COMPENSATED, id="a deadline"),
        pytest.param({"expires_after_s": 10.0}, False, Status.COMPENSATED, id="an approval"),
    ],
)
def test_a_pause_stops_the_clocks(bound: dict[str, Any], ill: bool, status: Status | None) -> None:
    """What would have come after ten seconds comes ten seconds of running time after the start."""
    world = World(*(["book"] if ill else []))

    async def use(engine: Engine) -> tuple[int, Status | None, float]:
        await engine.start("trip", run_id="r")
        await asyncio.sleep(5)
        await engine.pause("r", who=WHO)
        await asyncio.sleep(1000)
        state = await engine.state("r")
        assert (state.ended, len(world.calls)) == (None, 1)
        await engine.resume("r", who=WHO)
        await asyncio.sleep(4)
        assert ((await engine.state("r")).ended, len(world.calls)) == (None, 1)
        await asyncio.sleep(2)
        state = await engine.state("r")
        return len(world.calls), state.ended.status if state.ended else None, engine.now()

    calls, came_to, _ = play(trip(world, **bound), use)
    assert (calls, came_to) == (2 if ill else 1, status)


def test_a_signal_during_a_pause_is_kept_for_later() -> None:
    """It is journaled when it comes, and heeded when the run goes on."""
    world = World()

    async def use(engine: Engine) -> RunResult:
        await waiting(engine)
        await engine.pause("r", who=WHO)
        await engine.signal("r", "boss")
        await asyncio.sleep(60)
        assert world.calls == ["book"]
        await engine.resume("r", who=WHO)
        return await engine.result("r")

    assert play(trip(world), use).status is Status.COMPLETED


# What is refused, and in which words.

LIVE: list[tuple[Use, str]] = [
    (
        lambda engine: engine.signal("r", "cook"),
        "no step waits for signal 'cook'; the signals of this saga are boss",
    ),
    (lambda engine: engine.resume("r", who=WHO), "it is not paused; there is nothing to resume"),
    (
        lambda engine: engine.retry("r", "book", who=WHO),
        "step 'book' is succeeded; retry cannot be done to it",
    ),
    (
        lambda engine: engine.retry("r", "cook", who=WHO),
        "it has no step 'cook'; the steps are book, boss, pay",
    ),
    (lambda engine: engine.skip("r", "book", who=WHO), "step 'book' is succeeded; skip cannot be done to it"),
    (
        lambda engine: engine.resolve("r", "pay", who=WHO),
        "step 'pay' is pending; resolve cannot be done to it",
    ),
    (lambda engine: engine.abandon("r", who=WHO), "nobody gives a run up without a reason; say why"),
    (lambda engine: engine.redrive("r", who=WHO), "only a run that needs attention, or was compensated"),
    (lambda engine: engine.undo("r", who=WHO), "it has not completed; only a completed run is taken back"),
    (
        lambda engine: engine.request("r", DeadlineReached(at=0.0)),
        "DeadlineReached is nothing that anybody may ask",
    ),
]
ENDED: list[tuple[Use, str]] = [
    (lambda engine: engine.signal("r", "boss"), "it has ended: COMPLETED"),
    (lambda engine: engine.pause("r", who=WHO), "it has ended: COMPLETED"),
    (lambda engine: engine.resume("r", who=WHO), "it has ended: COMPLETED"),
    (lambda engine: engine.retry("r", "book", who=WHO), "it has ended: COMPLETED"),
    (lambda engine: engine.skip("r", "book", who=WHO), "it has ended: COMPLETED"),
    (lambda engine: engine.resolve("r", "book", who=WHO), "it has ended: COMPLETED"),
    (lambda engine: engine.abandon("r", who=WHO, why="lost"), "it has ended: COMPLETED"),
    (lambda engine: engine.redrive("r", who=WHO), "only a run that needs attention, or was compensated"),
]
UNKNOWN: list[tuple[Use, str]] = [
    (use, "there is no run 'r' in this journal; check the id")
    for use in (
        lambda engine: engine.signal("r", "boss"),
        lambda engine: engine.cancel("r", WHO),
        lambda engine: engine.state("r"),
        lambda engine: engine.result("r"),
        *(use for use, words in ENDED if "ended" in words),
        lambda engine: engine.undo("r", who=WHO),
    )
]


@pytest.mark.parametrize(
    ("begin", "act", "words"),
    [
        *((waiting, act, words) for act, words in LIVE),
        *((completed, act, words) for act, words in ENDED),
        *((lambda engine: asyncio.sleep(0), act, words) for act, words in UNKNOWN),
    ],
)
def test_what_cannot_be_done_is_refused_and_not_written(begin: Use, act: Use, words: str) -> None:
    """The words name the run and say why; the journal is as it was, and the run goes on as before."""
    journal = MemoryJournal()

    async def use(engine: Engine) -> str:
        await begin(engine)
        before = journal.read("r")
        with pytest.raises(RunRefused) as refused:
            await act(engine)
        assert journal.read("r") == before
        return str(refused.value)

    said = play(trip(World()), use, journal)
    assert words in said
    assert "'r'" in said


def test_a_second_answer_is_refused() -> None:
    """What was said first counts, also before the step has begun to wait."""

    async def use(engine: Engine) -> None:
        await waiting(engine)
        await engine.pause("r", who=WHO)
        with pytest.raises(RunRefused, match="it is paused already"):
            await engine.pause("r", who=WHO)
        await engine.signal("r", "boss")
        with pytest.raises(RunRefused, match="signal 'boss' has been given already"):
            await engine.signal("r", "boss", approve=False)

    play(trip(World()), use)


def test_cancelling_a_run_that_has_ended_says_false() -> None:
    """There is nothing to turn back, and nothing is written."""
    journal = MemoryJournal()

    async def use(engine: Engine) -> bool:
        await completed(engine)
        return await engine.cancel("r", WHO)

    assert play(trip(World()), use, journal) is False
    assert isinstance(journal.read("r")[-1], RunEnded)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda engine: engine.pause("r", who=""), "who is ''; name the person or system that decides"),
        (lambda engine: engine.pause("r", who="  "), "name the person"),
        (lambda engine: engine.pause("r", who=None), "who is None"),
        (lambda engine: engine.pause("r", who="x" * 201), "in 1 to 200 characters"),
        (lambda engine: engine.cancel("r", ""), "name the person"),
        (
            lambda engine: engine.pause("r", who=WHO, why="x" * 2001),
            "give the reason in at most 2000 characters",
        ),
        (lambda engine: engine.signal("r", "boss", payload={1, 2}), "the payload cannot be kept as JSON"),
        (lambda engine: engine.skip("r", "book", {1, 2}, who=WHO), "the output cannot be kept as JSON"),
    ],
)
def test_what_makes_no_sense_is_refused_by_itself(act: Use, words: str) -> None:
    """Without somebody's name, or with what no journal can keep, nothing is asked of the run."""
    journal = MemoryJournal()

    async def use(engine: Engine) -> None:
        await waiting(engine)
        with pytest.raises(SagaRefused, match=words):
            await act(engine)

    play(trip(World()), use, journal)
    assert did(journal) == []


# Requests of other processes, through the journal.


def asked(*requests: Request, before_opening: bool = False) -> tuple[list[str | None], MemoryJournal]:
    """The answers of an engine in which run "r" waits for the boss."""
    journal, bound = MemoryJournal(), trip(World())
    numbers: list[int] = []
    if before_opening:
        play(bound, waiting, journal)
        numbers += [journal.ask(request) for request in requests]

    async def use(engine: Engine) -> list[str | None]:
        if not before_opening:
            await waiting(engine)
            numbers.extend(journal.ask(request) for request in requests)
        await asyncio.sleep(5)
        assert journal.requests() == ()
        return [journal.answer_of(number) for number in numbers]

    return play(bound, use, journal), journal


def request(event: Event, run_id: str = "r") -> Request:
    return Request.of(run_id, event)


PAUSE = OperatorActed(at=0.0, action=Action.PAUSE, who="cli")


@pytest.mark.parametrize("before_opening", [False, True])
def test_a_request_is_carried_out_and_answered(before_opening: bool) -> None:
    """An empty answer: it happened, once, at the engine's time; also one that was put in before."""
    answers, journal = asked(request(PAUSE), before_opening=before_opening)
    [paused] = did(journal)
    assert answers == [""]
    assert paused.at > 0


def test_the_same_request_twice_is_answered_twice_and_done_once() -> None:
    """The second finds the run paused."""
    answers, journal = asked(request(PAUSE), request(PAUSE))
    assert answers == ["", "it is paused already"]
    assert len(did(journal)) == 1


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (request(OperatorActed(at=0.0, action=Action.UNDO, who="cli")), "it has not completed"),
        (request(PAUSE, "nowhere"), "there is no run 'nowhere' in this journal"),
        (request(DeadlineReached(at=0.0)), "DeadlineReached is nothing that anybody may ask for"),
        (Request("r", "Gossip", "{}"), "Gossip"),
        (Request("r", "OperatorActed", "no JSON"), "unreadable event"),
        (Request("r", "OperatorActed", "[]"), "OperatorActed"),
        (Request("r", "OperatorActed", '{"at": "noon"}'), "OperatorActed"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_heard(bad: Request, words: str) -> None:
    """Nothing that somebody writes into the file keeps the engine from answering others."""
    answers, journal = asked(bad, request(PAUSE))
    assert words in str(answers[0])
    assert (answers[1], len(did(journal))) == ("", 1)


def test_another_process_asks_through_the_file(tmp_path: Path) -> None:
    """Who only knows the journal's path puts a request in beside the engine, and finds the answer there."""
    path, bound = tmp_path / "runs.db", trip(World())

    async def go() -> tuple[RunResult, int]:
        async with Engine(SqliteJournal(path), [bound]) as engine:
            await engine.start("trip", run_id="r")
            number = SqliteJournal(path).ask(request(SignalReceived(at=0.0, name="boss", who="cli")))
            return await engine.result("r"), number

    result, number = asyncio.run(go())
    assert result.outputs["boss"]["who"] == "cli"
    beside = SqliteJournal(path, read_only=True)
    beside.open()
    assert beside.answer_of(number) == ""
    beside.close()
