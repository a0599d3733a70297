"""Thousands of random sagas on the real engine in virtual time, through crashes, faults and people."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sagacity_engine import codec
from sagacity_engine.guards.resource_locks import ResourceLocks
from sagacity_engine.handlers import Call
from sagacity_engine.hosting.launching import Launcher
from sagacity_engine.hosting.offer import Offer
from sagacity_engine.testing.simulation import day
from sagacity_engine.testing.simulation.day import simulate
from sagacity_engine.testing.simulation.journal import Disk
from sagacity_engine.testing.simulation.participants import Participants, Sort
from sagacity_engine.testing.simulation.processes import days_for, simulate_days
from sagacity_engine.testing.simulation.report import Report
from sagacity_engine.testing.simulation.situations import SITUATIONS

SAGAS, FAULTS, TIMES = 20_000, 60_000, 20


@pytest.mark.parametrize("seed", range(8))
def test_a_simulated_day_keeps_every_promise(seed: int) -> None:
    """Whatever befalls two dozen sagas in a day: the checker finds nothing, and all come to an end."""
    report = simulate(seed)
    assert report.breaches == []
    assert report.runs > 15


@pytest.mark.parametrize("seed", range(100, 120))
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    """The same seed twice: every journal has the same records."""
    first, again = (simulate(seed, 10, keep_journals=True) for _ in range(2))
    assert first.journals
    assert first.journals == again.journals
    assert first.faults == again.faults


def test_a_seed_replays_in_another_process() -> None:
    """What a seed plays depends neither on the process nor on its hash seed."""
    script = (
        "import hashlib, json; from sagacity_engine.testing.simulation.day import simulate\n"
        "kept = [simulate(seed, keep_journals=True).journals for seed in (7, 8)]\n"
        "print(hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.slow
def test_many_sagas_meet_every_situation_and_break_nothing() -> None:
    """Twenty thousand random sagas, sixty thousand faults, every situation often, and no promise broken."""
    report = simulate_days(1_000_000, days_for(SAGAS), processes=2)
    assert report.breaches == []
    assert report.runs >= SAGAS
    assert report.faults.total() >= FAULTS
    seldom = {name: report.situations[name] for name in SITUATIONS if report.situations[name] < TIMES}
    assert seldom == {}


def broken_days(days: int = 4) -> Report:
    report = Report()
    for seed in range(days):
        report.add(simulate(seed))
    return report


def require_found(report: Report, *invariants: str) -> None:
    found = {words.split(": ", 2)[-1].split(" ")[0] for words in report.breaches}
    assert found & set(invariants), report.breaches[:5]


def test_participants_that_forget_keys_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: a participant that acts twice under one key is I6."""
    act: Callable[[Participants, Call, Sort], Any] = Participants.act

    def forgetful(self: Participants, call: Call, sort: Sort) -> Any:
        self._standing.pop(call.idempotency_key, None)
        return act(self, call, sort)

    monkeypatch.setattr(Participants, "act", forgetful)
    require_found(broken_days(), "I6")


@pytest.mark.slow
def test_a_journal_that_loses_what_it_acknowledged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: a batch that is told durable and is not there is noticed."""
    keep = Disk.keep
    seen = [0]

    def lossy(self: Disk, batch: Any, settle: Any) -> None:
        seen[0] += 1
        if seen[0] % 50 == 0:
            settle(None)
        else:
            keep(self, batch, settle)

    monkeypatch.setattr(Disk, "keep", lossy)
    monkeypatch.setattr(day, "SETTLES_S_MAX", 60.0)
    require_found(broken_days(), "I7", "I11", "I1")


@pytest.mark.slow
def test_an_engine_that_forgets_what_was_in_flight_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: runs that nothing moves on after a crash are still open at the end, I11."""
    monkeypatch.setattr(Launcher, "recovered", lambda self: iter(()))
    monkeypatch.setattr(day, "SETTLES_S_MAX", 60.0)
    require_found(broken_days(2), "I11")


@pytest.mark.slow
def test_calls_before_their_intent_is_durable_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: an engine that calls first and writes later leaves effects without intents."""
    submit = Offer.submit

    def hasty(self: Offer) -> None:
        for launch in self.launches:
            self._driver._launcher.launch(launch)
        self.launches = ()
        submit(self)

    monkeypatch.setattr(Offer, "submit", hasty)
    require_found(broken_days(), "I7")


def test_locks_that_hold_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: two runs that hold one resource at once are I9."""
    monkeypatch.setattr(ResourceLocks, "ask", lambda *_: True)
    monkeypatch.setattr(ResourceLocks, "try_all", lambda *_: ())
    require_found(broken_days(), "I9")


@pytest.mark.slow
def test_an_engine_that_is_not_fenced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can fail: without the fence, two engines write to one run."""
    monkeypatch.setattr(Disk, "refusal", lambda *_: None)
    monkeypatch.setattr(day, "SETTLES_S_MAX", 60.0)
    report = Report()
    for seed in range(40):  # Two engines must write to one run at the same time, which few days bring about.
        report.add(simulate(seed))
        if report.breaches:
            break
    assert report.breaches
    assert report.situations["fence refused a stale writer"] == 0


def test_the_records_of_a_day_are_what_the_codec_writes() -> None:
    """The journals that a replay is compared by are the encoded events themselves."""
    journals = simulate(1, keep_journals=True).journals
    for records in journals.values():
        events = [codec.decode(*record) for record in records]
        assert tuple(map(codec.encode, events)) == records
