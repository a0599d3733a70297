"""Steps that are sagas, in the real engine: runs of their own, held together over failures and restarts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sagacity_engine import (
    BoundSaga,
    Call,
    Compensation,
    Direction,
    Engine,
    MemoryJournal,
    RetryPolicy,
    RunRefused,
    RunResult,
    SagaBuilder,
    Status,
    StepError,
    define,
)
from sagacity_engine.events import AttemptFailed, AttemptStarted, AttemptUnknown, CancelRequested, RunStarted
from sagacity_engine.testing import violations
from sagacity_engine.testing.simulation.virtual_loop import run_in_virtual_time

Told = list[tuple[str, Direction]]
Act = Callable[[Call], Any]
ONCE = RetryPolicy(maximum_attempts=1)
INNER = "r/stay/1"


class World:
    """Participants that note what they are asked; those in `ill` refuse, by step and direction."""

    def __init__(self) -> None:
        self.told: Told = []
        self.ill: set[tuple[str, Direction]] = set()
        self.took_s = 0.0

    async def act(self, call: Call) -> dict[str, Any]:
        """Every action and every undo."""
        self.told.append((call.step, call.direction))
        await asyncio.sleep(self.took_s)
        if (call.step, call.direction) in self.ill:
            raise StepError("No")
        return {"by": call.input.get("who", "")}

    def step(self, saga: SagaBuilder, name: str, after: Sequence[str] = ()) -> None:
        """One step of a saga, with its undo."""
        undo = Compensation(retry=ONCE)
        saga.step(name=name, after=after, retry=ONCE, compensate=self.act, compensation=undo)(self.act)

    @property
    def undone(self) -> list[str]:
        """The steps whose undo was called, in order."""
        return [step for step, direction in self.told if direction is Direction.UNDO]


def trip(world: World, *, boss: bool = False, **fields: Any) -> BoundSaga:
    """Fly; stay, which is a hotel and a car; pay."""
    inner = define("rooms")
    world.step(inner, "hotel")
    if boss:
        inner.approval("boss")
    world.step(inner, "car", after=["hotel"])
    saga = define("trip")
    world.step(saga, "fly")
    saga.sub_saga(inner, name="stay", input={"who": "${input.who}"}, **fields)
    world.step(saga, "pay", after=["fly"])
    return saga.bind()


def play(
    bound: BoundSaga,
    use: Callable[[Engine], Awaitable[Any]],
    journal: MemoryJournal | None = None,
    **options: Any,
) -> Any:
    """What came of using an engine in virtual time; every run that ended must be sound, inner ones too."""
    journal = journal or MemoryJournal()

    async def go() -> Any:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5, **options) as engine:
            return await use(engine)

    came_of_it = run_in_virtual_time(go())
    for line in journal.runs():
        saga = journal.definition(line.definition_hash)
        assert saga is not None
        assert not line.status.ended or violations(saga, journal.read(line.run_id)) == ()
    return came_of_it


def status_of(journal: MemoryJournal, run_id: str = INNER) -> Status:
    line = journal.run(run_id)
    assert line is not None
    return line.status


async def ended(engine: Engine) -> RunResult:
    """The end of the inner run, once it has begun."""
    await asyncio.sleep(1)
    return await engine.result(INNER)


async def one(engine: Engine) -> RunResult:
    return await engine.run("trip", {"who": "Asha"}, run_id="r")


def test_an_inner_run_goes_forward_as_a_step() -> None:
    """It has an id, a journal and an input of its own; its outputs are the step's output."""
    world, journal = World(), MemoryJournal()
    result = play(trip(world), one, journal)
    assert result.status is Status.COMPLETED
    assert result.outputs["stay"] == {"hotel": {"by": "Asha"}, "car": {"by": "Asha"}}
    first = journal.read(INNER)[0]
    assert isinstance(first, RunStarted)
    assert (first.parent, first.input) == ("r", {"who": "Asha"})


def test_one_place_is_enough_for_both() -> None:
    """The outer run only waits, so an inner run never waits for the place of its own outer one."""
    result = play(trip(World()), one, max_runs=1)
    assert result.status is Status.COMPLETED


def test_an_inner_run_that_is_compensated_fails_the_step() -> None:
    """It took itself back; the outer run turns back for what came before it, and calls nothing twice."""
    world, journal = World(), MemoryJournal()
    world.ill = {("car", Direction.FORWARD)}
    result = play(trip(world), one, journal)
    assert (result.status, result.step, status_of(journal)) == (
        Status.COMPENSATED,
        "stay",
        Status.COMPENSATED,
    )
    assert world.undone == ["hotel", "fly"]
    [failed] = [each for each in journal.read("r") if isinstance(each, AttemptFailed)]
    assert (failed.error_type, failed.terminal) == ("SubSagaCompensated", True)


def test_a_completed_inner_run_is_taken_back() -> None:
    """The outer run's next step fails: the inner run turns round, and only then goes what came before it."""
    world, journal = World(), MemoryJournal()
    world.ill = {("pay", Direction.FORWARD)}
    result = play(trip(world), one, journal)
    assert (result.status, status_of(journal)) == (Status.COMPENSATED, Status.COMPENSATED)
    assert world.undone == ["car", "hotel", "fly"]


def nested(world: World) -> BoundSaga:
    """A saga in a saga in a saga."""
    innermost = define("keys")
    world.step(innermost, "key")
    inner = define("rooms")
    world.step(inner, "hotel")
    inner.sub_saga(innermost, after=["hotel"])
    saga = define("trip")
    saga.sub_saga(inner, name="stay")
    world.step(saga, "pay")
    return saga.bind()


def test_sagas_nest() -> None:
    """Two levels down and back again, each run of its own."""
    world, journal = World(), MemoryJournal()
    assert play(nested(world), one, journal).outputs["stay"]["keys"] == {"key": {"by": ""}}
    assert status_of(journal, f"{INNER}/keys/1") is Status.COMPLETED
    world, journal = World(), MemoryJournal()
    world.ill = {("pay", Direction.FORWARD)}
    assert play(nested(world), one, journal).status is Status.COMPENSATED
    assert world.undone == ["key", "hotel"]


def test_an_inner_run_that_needs_attention_holds_the_outer_one_up() -> None:
    """Until a person has settled it; then the outer run goes on by itself."""
    world, journal = World(), MemoryJournal()
    world.ill = {("car", Direction.FORWARD), ("hotel", Direction.UNDO)}

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r", run_input={"who": "Asha"})
        assert (await ended(engine)).status is Status.NEEDS_ATTENTION
        await asyncio.sleep(3600)
        assert (await engine.state("r")).ended is None
        await engine.resolve(INNER, "hotel", who="Asha")
        return await engine.result("r")

    result = play(trip(world), use, journal)
    assert (result.status, status_of(journal)) == (Status.COMPENSATED, Status.COMPENSATED)


def test_a_person_may_send_an_inner_run_forward() -> None:
    """Past its own pivot an inner run only goes forward: tried again by a person, it lets both complete."""
    world = World()
    world.ill = {("tell", Direction.FORWARD)}
    inner = define("rooms")
    inner.step(name="pay", kind="pivot")(world.act)
    inner.step(name="tell", kind="retriable", after=["pay"], retry=ONCE)(world.act)
    saga = define("trip")
    saga.sub_saga(inner, name="stay", kind="pivot")

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r")
        await ended(engine)
        world.ill = set()
        await engine.retry(INNER, "tell", who="Asha")
        return await engine.result("r")

    assert play(saga.bind(), use).status is Status.COMPLETED


def test_an_inner_run_that_is_abandoned_leaves_its_outcome_unknown() -> None:
    """Nobody knows what it left behind: the outer run says so, and a person must look at it too."""
    world, journal = World(), MemoryJournal()
    world.ill = {("car", Direction.FORWARD), ("hotel", Direction.UNDO)}

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r", run_input={"who": "Asha"})
        await ended(engine)
        await engine.abandon(INNER, who="Asha", why="the inn burned down")
        return await engine.result("r")

    result = play(trip(world), use, journal)
    assert (result.status, status_of(journal)) == (Status.NEEDS_ATTENTION, Status.ABANDONED)
    unknown = next(each for each in journal.read("r") if isinstance(each, AttemptUnknown))
    assert (
        unknown.message
        == "in its saga 'rooms' at step 'hotel': ended ABANDONED: abandoned by Asha: the inn burned down"
    )


def test_cancelling_the_outer_run_cancels_the_inner_one() -> None:
    """The inner run is told by the outer one's name, turns back, and the outer one follows."""
    world, journal = World(), MemoryJournal()

    async def use(engine: Engine) -> RunResult:
        await engine.start("trip", run_id="r", run_input={"who": "Asha"})
        await asyncio.sleep(1)
        assert await engine.cancel("r", "Asha")
        return await engine.result("r")

    result = play(trip(world, boss=True), use, journal)
    assert (result.status, status_of(journal)) == (Status.COMPENSATED, Status.COMPENSATED)
    assert world.undone == ["hotel", "fly"]
    [told] = [each for each in journal.read(INNER) if isinstance(each, CancelRequested)]
    assert (told.who, told.why) == ("run r", "it turned back")


def test_cancelling_right_at_the_start_finds_the_inner_run() -> None:
    """However early the outer run is cancelled, nothing of the inner one is left."""
    for delay_s in (0.0, 0.001, 0.002, 0.003, 0.004, 0.006):
        world, journal = World(), MemoryJournal()

        async def use(engine: Engine, delay_s: float = delay_s) -> RunResult:
            await engine.start("trip", run_id="r", run_input={"who": "Asha"})
            await asyncio.sleep(delay_s)
            await engine.cancel("r", "Asha")
            return await engine.result("r")

        assert play(trip(world, boss=True), use, journal).status is Status.COMPENSATED
        done = [step for step, direction in world.told if direction is Direction.FORWARD]
        assert sorted(world.undone) == sorted(done)
        assert {line.status for line in journal.runs()} == {Status.COMPENSATED}


def crash_when(journal: MemoryJournal, bound: BoundSaga, moment: Callable[[], bool]) -> None:
    """Lets an engine begin run "r" and dies at the first moment that fits, without a word to anybody."""

    async def doomed() -> None:
        clock = asyncio.get_running_loop().time
        async with Engine(journal, [bound], clock=clock, draw=lambda: 0.5) as engine:
            await one(engine)

    async def go() -> None:
        loop: Any = asyncio.get_running_loop()
        process = loop.spawn(doomed())
        for _ in range(10_000):
            if moment():
                break
            await asyncio.sleep(0.0002)
        process.kill()
        assert moment(), "it came to that"

    run_in_virtual_time(go())
    journal.close()


def test_a_crash_before_the_inner_run_began_loses_nothing() -> None:
    """The outer run's intent is durable and there is no inner run yet: the next engine starts it."""
    world, journal = World(), MemoryJournal()
    bound = trip(world)

    def between() -> bool:
        begun = any(isinstance(each, AttemptStarted) and each.step == "stay" for each in journal.read("r"))
        return begun and not journal.read(INNER)

    crash_when(journal, bound, between)
    assert journal.read(INNER) == ()
    result = play(bound, lambda engine: engine.result("r"), journal)
    assert (result.status, status_of(journal)) == (Status.COMPLETED, Status.COMPLETED)
    assert [step for step, _ in world.told] == ["fly", "hotel", "car", "pay"]


def test_a_crash_after_the_inner_run_began_begins_no_other() -> None:
    """The next engine carries both on, and the outer run finds the inner one by its id."""
    world, journal = World(), MemoryJournal()
    bound = trip(world, boss=True)
    crash_when(
        journal, bound, lambda: ("hotel", Direction.FORWARD) in world.told and len(journal.read(INNER)) > 3
    )

    async def use(engine: Engine) -> RunResult:
        await engine.signal(INNER, "boss")
        return await engine.result("r")

    assert play(bound, use, journal).status is Status.COMPLETED
    assert [line.run_id for line in journal.runs()] == [INNER, "r"]


def test_a_crash_while_the_inner_run_is_taken_back_takes_it_back_once() -> None:
    """The next engine finds the inner run turned round, and waits for its end."""
    world, journal = World(), MemoryJournal()
    world.ill = {("pay", Direction.FORWARD)}
    bound = trip(world)
    crash_when(journal, bound, lambda: bool(world.undone))
    result = play(bound, lambda engine: engine.result("r"), journal)
    assert (result.status, status_of(journal)) == (Status.COMPENSATED, Status.COMPENSATED)


def test_an_inner_run_that_cannot_start_fails_the_step() -> None:
    """No room for one more open run: the step is refused with the reason, and the outer run turns back."""
    world, journal = World(), MemoryJournal()
    result = play(trip(world), one, journal, max_open=1)
    failed = [each for each in journal.read("r") if isinstance(each, AttemptFailed)]
    assert result.status is Status.COMPENSATED
    assert {each.error_type for each in failed} == {"RunRefused"}
    assert "raise max_open" in failed[0].message


def test_an_input_that_leads_nowhere_fails_the_step() -> None:
    """A reference that the outer run's input cannot fill is a refusal for good, not a crash."""
    world, journal = World(), MemoryJournal()
    result = play(trip(world), lambda engine: engine.run("trip", run_id="r"), journal)
    assert (result.status, journal.read(INNER)) == (Status.COMPENSATED, ())
    [failed] = [each for each in journal.read("r") if isinstance(each, AttemptFailed)]
    assert (failed.error_type, failed.terminal) == ("UnresolvedReference", True)


def test_an_inner_run_that_a_person_took_back_needs_no_undo() -> None:
    """The outer run's undo finds the inner run compensated, and counts it as done."""
    world = World()

    async def use(engine: Engine) -> RunResult:
        await engine.run("trip", run_id="r", run_input={"who": "Asha"})
        await engine.undo(INNER, who="Asha")
        await engine.result(INNER)
        assert world.undone == ["car", "hotel"]
        await engine.undo("r", who="Asha")
        return await engine.result("r")

    assert play(trip(world), use).status is Status.COMPENSATED
    assert world.undone == ["car", "hotel", "pay", "fly"]


def test_an_inner_saga_cannot_be_started_by_itself_unless_it_is_registered() -> None:
    """Its definition is known for its runs' sake only."""

    async def use(engine: Engine) -> None:
        with pytest.raises(RunRefused, match="saga 'rooms' is not registered; the sagas are trip"):
            await engine.start("rooms")

    play(trip(World()), use)
