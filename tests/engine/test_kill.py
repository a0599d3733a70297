"""Real processes, killed with SIGKILL in the middle of runs and recoveries; then the books are compared."""

import itertools
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sagacity_engine import Direction, Saga, SqliteJournal, Status
from sagacity_engine.events import AttemptUnknown, RunStarted, UnknownReason
from sagacity_engine.testing import Effect, violations

# The process that is killed: an engine, and participants whose ledger is a file.
CHILD = """
import asyncio, json, os, sys
from sagacity_engine import Engine, FailureClass, RetryPolicy, SqliteJournal, StepError, define

folder, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LEDGER = os.path.join(folder, "ledger.jsonl")
NO_WAIT = RetryPolicy(initial_interval_s=0.0, maximum_attempts=40)

def enter(call, honours):
    if os.path.exists(LEDGER):
        with open(LEDGER) as held:
            if honours and any(json.loads(line)["key"] == call.idempotency_key for line in held):
                return
    line = json.dumps({"run": call.run_id, "step": call.step, "direction": call.direction.value,
                       "attempt": call.attempt, "key": call.idempotency_key, "honours": honours})
    handle = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode() + b"\\n")
    os.fsync(handle)
    os.close(handle)

def acts(honours=True, refuses=lambda number: False):
    async def act(call):
        print("call", call.step, call.direction.value, flush=True)
        await asyncio.sleep(0.001)
        if refuses(call.input["number"]):
            raise StepError("No", failure_class=FailureClass.PERMANENT)
        enter(call, honours)
        print("done", call.step, call.direction.value, flush=True)
        await asyncio.sleep(0.001)
    return act

trip = define("trip", stages=[["book", "hold"], ["look"], ["pay"], ["tell"]])
trip.step(name="book", idempotent=True, retry=NO_WAIT, compensate=acts())(acts())
trip.step(name="hold", retry=NO_WAIT, compensate=acts())(acts(honours=False))
trip.step(name="look", kind="read_only", after=["book"], retry=NO_WAIT)(acts())
PAY = RetryPolicy(initial_interval_s=0.0, maximum_attempts=40, non_retryable_error_types=("No",))
trip.step(name="pay", kind="pivot", idempotent=True, retry=PAY)(acts(refuses=lambda number: number % 3 == 0))
trip.step(name="tell", kind="retriable", after=["pay"], idempotent=True, retry=NO_WAIT)(acts())

async def main():
    journal = SqliteJournal(os.path.join(folder, "runs.db"))
    async with Engine(journal, [trip.bind()]) as engine:
        async def one(number):
            run_id = await engine.start("trip", {"number": number}, run_id=f"run-{number}")
            print("accepted", run_id, flush=True)
            await engine.result(run_id)
        await asyncio.gather(*(one(number) for number in range(first, first + count)))
        while journal.open_runs():
            await asyncio.sleep(0.01)
    print("finished", flush=True)

asyncio.run(main())
"""
EACH = 4


def play(folder: Path, first: int, kill_at: int | None) -> list[str]:
    """Starts the engine, reads what it prints, and kills it when it has printed `kill_at` lines."""
    lines: list[str] = []
    command = [sys.executable, "-c", CHILD, str(folder), str(first), str(EACH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if not line.endswith("\n"):
                break  # The kill cut it off.
            lines.append(line.strip())
            if len(lines) == kill_at:
                child.kill()
    if kill_at is None:
        assert lines[-1] == "finished"
    return lines


def ledger_of(folder: Path) -> dict[str, list[Effect]]:
    held: dict[str, list[Effect]] = {}
    for line in (folder / "ledger.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        effect = Effect(
            step=entry["step"],
            direction=Direction(entry["direction"]),
            attempt=entry["attempt"],
            key=entry["key"],
            honours_keys=entry["honours"],
        )
        held.setdefault(entry["run"], []).append(effect)
    return held


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_done_twice_over_kills(tmp_path: Path, seed: int) -> None:
    """Whatever the moments of death: every accepted run ends, invariants hold, no key has two effects."""
    moments = random.Random(seed)
    accepted: set[str] = set()
    for round_number in itertools.count():
        kill_at = moments.randint(1, 40) if round_number < 6 else None
        lines = play(tmp_path, round_number * EACH, kill_at)
        accepted |= {line.split()[1] for line in lines if line.startswith("accepted")}
        if kill_at is None:
            break
    journal = SqliteJournal(tmp_path / "runs.db")
    journal.open()
    ledger = ledger_of(tmp_path)
    runs = journal.runs(limit=1_000)
    assert accepted <= {run.run_id for run in runs}
    assert journal.open_runs() == ()
    crashed = 0
    for run in runs:
        events = journal.read(run.run_id)
        saga = journal.definition(run.definition_hash)
        assert isinstance(saga, Saga)
        assert violations(saga, events, ledger.get(run.run_id, [])) == ()
        assert isinstance(events[0], RunStarted)
        crashed += sum(isinstance(e, AttemptUnknown) and e.reason is UnknownReason.CRASHED for e in events)
        if events[0].input["number"] % 3 == 0:  # The pivot refuses, unless a kill had made it uncertain.
            assert run.status is Status.COMPENSATED or run.reason.startswith("whether the pivot took effect")
        else:
            assert run.status in (Status.COMPLETED, Status.COMPENSATED)
    journal.close()
    assert crashed >= 6
    keys = Counter(effect.key for effects in ledger.values() for effect in effects if effect.honours_keys)
    assert max(keys.values()) == 1
