from __future__ import annotations

import gzip
import random
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.event_log_runs import read_runs
from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.importers.xes_lifecycles import JOINED
from sagacity_data.rows import AttemptOutcome
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Direction, Status

NOON_S = 1_714_564_800.0  # 2024-05-01T12:00:00Z
DONE, OPEN, CANCELLED = AttemptOutcome.SUCCEEDED, AttemptOutcome.OPEN, AttemptOutcome.CANCELLED


def event(
    activity: str, minute: int | None, lifecycle: str = "", resource: str = "", instance: str = ""
) -> str:
    """An event at so many minutes after noon."""
    told = {"concept:name": activity, "lifecycle:transition": lifecycle, "org:resource": resource}
    texts = "".join(
        f'<string key="{key}" value="{value}"/>'
        for key, value in {**told, "concept:instance": instance}.items()
        if value
    )
    date = "" if minute is None else f'<date key="time:timestamp" value="2024-05-01T12:{minute:02}:00Z"/>'
    return f"<event>{texts}{date}</event>"


def trace(*events: str, case: str = "c1", more: str = "") -> str:
    return f'<trace><string key="concept:name" value="{case}"/>{more}{"".join(events)}</trace>'


def read(
    tmp_path: Path, text: str, tally: Tally | None = None, hints: Hints | None = None
) -> list[ForeignRun]:
    path = tmp_path / "loans.xes"
    path.write_text(f"<log>{text}</log>", "utf-8")
    return list(read_runs(path, hints or Hints(), tally or Tally()))


Told = tuple[str, int, float | None, float | None, float | None]


def minutes(run: ForeignRun) -> list[Told]:
    """Step, number, and minutes after noon of being scheduled, started and ended."""

    def after_noon(at: float | None) -> float | None:
        return None if at is None else (at - NOON_S) / 60

    return [
        (
            tried.step,
            tried.attempt,
            after_noon(tried.scheduled_at),
            after_noon(tried.started_at),
            after_noon(tried.ended_at),
        )
        for tried in run.attempts
    ]


def test_schedule_start_and_complete_are_one_attempt(tmp_path: Path) -> None:
    """Three events of one work item, the pauses between included, are one attempt with all its times."""
    tally = Tally()
    told = [("schedule", 0), ("START", 5), ("suspend", 6), ("resume", 8), ("complete", 9)]
    (run,) = read(tmp_path, trace(*(event("check", minute, word) for word, minute in told)), tally)
    assert minutes(run) == [("check", 1, 0, 5, 9)]
    assert (run.attempts[0].outcome, run.status) == (DONE, Status.COMPLETED)
    assert tally.notes[JOINED] == 4


def test_an_end_without_a_start_tells_no_duration(tmp_path: Path) -> None:
    """A log of completions has ends only, and repeated activities are numbered on."""
    (run,) = read(tmp_path, trace(event("a", 1), event("b", 2), event("a", 3)))
    assert minutes(run) == [("a", 1, None, None, 1), ("b", 1, None, None, 2), ("a", 2, None, None, 3)]
    assert (run.launch_at, run.ended_at, run.saga) == (NOON_S + 60, NOON_S + 180, "loans")


def test_what_was_begun_first_ends_first_but_for_instance_and_resource(tmp_path: Path) -> None:
    """An end belongs to the start of its instance, else of its resource, else to the oldest."""
    events = [
        event("a", 1, "start", "ann"),
        event("a", 2, "start", "bob"),
        event("a", 3, "complete", "bob"),
        event("a", 4, "complete"),
        event("b", 5, "start", instance="1"),
        event("b", 6, "start", instance="2"),
        event("b", 7, "complete", instance="2"),
        event("b", 8, "complete", instance="1"),
    ]
    (run,) = read(tmp_path, trace(*events))
    assert minutes(run) == [
        ("a", 1, None, 1, 4),
        ("a", 2, None, 2, 3),
        ("b", 1, None, 5, 8),
        ("b", 2, None, 6, 7),
    ]


def test_what_never_ends_is_open(tmp_path: Path) -> None:
    """A start without an end leaves the case running; what was only scheduled leaves it completed."""
    started, scheduled = read(
        tmp_path,
        trace(event("a", 1), event("b", 2, "start"))
        + trace(event("a", 1), event("b", 2, "schedule"), case="c2"),
    )
    assert (started.status, started.ended_at, started.attempts[1].outcome) == (Status.RUNNING, None, OPEN)
    assert (scheduled.status, scheduled.attempts[1].outcome) == (Status.COMPLETED, OPEN)
    assert minutes(scheduled)[1] == ("b", 1, 2, None, None)


def test_aborted_work_is_cancelled(tmp_path: Path) -> None:
    """Withdrawn and aborted items are cancelled; pi_abort ends the case and whatever is open in it."""
    events = [
        *(
            event("a", 1, "schedule"),
            event("a", 2, "withdraw"),
            event("b", 3, "start"),
            event("b", 4, "ate_abort"),
        ),
        *(event("c", 5, "start"), event("d", 6, "pi_abort")),
    ]
    (run,) = read(tmp_path, trace(*events))
    assert minutes(run) == [
        ("a", 1, 1, None, 2),
        ("b", 1, None, 3, 4),
        ("c", 1, None, 5, 6),
        ("d", 1, None, None, 6),
    ]
    assert {tried.outcome for tried in run.attempts} == {CANCELLED}
    assert (run.status, run.reason) == (Status.ABANDONED, "aborted at d")


def test_a_transition_nobody_knows_is_counted_and_skipped(tmp_path: Path) -> None:
    """`levitate` begins and ends nothing; attempts, joined and skipped events add up to all."""
    tally = Tally()
    (run,) = read(
        tmp_path, trace(event("a", 1, "start"), event("a", 2, "levitate"), event("a", 3, "complete")), tally
    )
    assert dict(tally.skipped) == {"levitate": 1}
    assert len(run.attempts) + tally.notes[JOINED] + tally.skipped.total() == 3


def test_a_lifecycle_of_the_logs_own_is_read_as_completions(tmp_path: Path) -> None:
    """Where no transition is a standard one, every event is a completed activity, and that is said."""
    tally = Tally()
    (run,) = read(tmp_path, trace(event("Accepted", 1, "In Progress"), event("Queued", 2, "Awaiting")), tally)
    assert minutes(run) == [("Accepted", 1, None, None, 1), ("Queued", 1, None, None, 2)]
    assert not tally.skipped
    assert len(tally.notes) == 1


def test_events_out_of_order_are_taken_in_time(tmp_path: Path) -> None:
    """An end written before its start still ends it; an event without a time stays where it is."""
    events = [event("b", 5, "complete"), event("b", 3, "start"), event("x", None), event("a", 1)]
    tally = Tally()
    (run,) = read(tmp_path, trace(*events), tally)
    assert minutes(run) == [("a", 1, None, None, 1), ("b", 1, None, 3, 5), ("x", 1, None, None, None)]
    assert tally.notes["events without a readable time since 1970 have none"] == 1


def test_context_holds_scalars_but_no_dates(tmp_path: Path) -> None:
    """A date among a case's attributes may be its end; numbers and words are kept as declared."""
    more = (
        '<int key="amount" value="7"/><string key="channel" value="web"/><boolean key="vip" value="true"/>'
        '<date key="closed" value="2024-05-02T00:00:00Z"/><id key="uuid" value="1"/>'
        '<float key="nan" value="NaN"/>'
    )
    (run,) = read(tmp_path, trace(event("a", 1), more=more))
    assert run.context == {"amount": 7, "channel": "web", "vip": True}


def test_a_log_names_its_runs_itself_where_it_does(tmp_path: Path) -> None:
    """The log's own concept:name is the saga, the file's name only where there is none."""
    (run,) = read(tmp_path, '<string key="concept:name" value="Loans"/>' + trace(event("a", 1)))
    assert run.saga == "Loans"


def test_cases_of_one_name_stay_apart(tmp_path: Path) -> None:
    """`c1` that begins otherwise is another run, here and elsewhere; told twice alike, it gets a number."""
    first, other, again = read(tmp_path, trace(event("a", 1)) + trace(event("b", 1)) + trace(event("a", 1)))
    assert first.run_id.startswith("c1/")
    assert len({first.run_id, other.run_id}) == 2
    assert again.run_id == f"{first.run_id}#2"
    assert read(tmp_path, trace(event("a", 1), event("b", 2)))[0].run_id == first.run_id


def test_compensations_are_undos(tmp_path: Path) -> None:
    """By name (`Cancel booking`), and by the user's word."""
    events = [event("Book room", 1), event("Cancel room", 2), event("Pay", 3), event("Giro", 4)]
    (run,) = read(tmp_path, trace(*events), hints=Hints(undoes={"Giro": "Pay"}))
    undone = [tried.step for tried in run.attempts if tried.direction is Direction.UNDO]
    assert undone == ["Book room", "Pay"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("<html/>", "not <log>"),
        ("<log><trace><event>", "ends inside the XML"),
        ('<!DOCTYPE log [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><log>&b;</log>', "document type"),
        ('<!DOCTYPE log [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>&x;</log>', "document type"),
        ("<log>" + "<list>" * 100, "nests elements deeper"),
        ("<log><trace><event/></trace></log>", "concept:name"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """What is no XES log, or has no named event, is refused with its reason."""
    path = tmp_path / "bad.xes"
    path.write_text(text, "utf-8")
    with pytest.raises(ImportRefused, match=said):
        list(read_runs(path, Hints(), Tally()))


def test_damaged_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """Cut off anywhere or with bytes changed, compressed or not: rows or a refusal, nothing else."""
    draw, refused = random.Random(11), 0
    events = [
        event("a", 1, "start", "ann", "1"),
        event("a", 2, "complete", "ann", "1"),
        event("b", 3, "pi_abort"),
    ]
    body = trace(*events, more='<int key="n" value="1"/>')
    plain = f'<?xml version="1.0"?><log>{body}</log>'.encode()
    path = tmp_path / "log.xes"
    for whole in (plain, gzip.compress(plain, mtime=0)):
        for _ in range(150):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            for content in (bytes(damaged), whole[: draw.randrange(len(whole))]):
                path.write_bytes(content)
                try:
                    for run in read_runs(path, Hints(), Tally()):
                        rows_of(run, "xes", default_taxonomy())
                except ImportRefused:
                    refused += 1
    assert refused > 300


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    """A file that unpacks to hundreds of times its size is given up, whatever it unpacks to."""
    path = tmp_path / "log.xes.gz"
    with gzip.open(path, "wb", compresslevel=6) as stream:
        stream.write(b"<log>")
        for _ in range(100):
            stream.write(b" " * 1_000_000)
    with pytest.raises(ImportRefused, match="unpacks to more than 250 times"):
        list(read_runs(path, Hints(), Tally()))


@pytest.mark.slow
def test_memory_holds_one_case_at_a_time(tmp_path: Path) -> None:
    """Three times the cases need no more memory; the ids of cases alone are kept."""
    peaks = []
    for cases in (6_000, 20_000):
        path = tmp_path / "log.xes"
        body = "".join(trace(event("a", 1, "start"), event("a", 2), case=f"c{n}") for n in range(cases))
        path.write_text(f"<log>{body}</log>", "utf-8")
        del body
        tracemalloc.start()
        runs = sum(1 for _ in read_runs(path, Hints(), Tally()))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert runs == cases
    assert peaks[1] - peaks[0] < 14_000 * 300


def test_a_huge_case_is_read_in_linear_time(tmp_path: Path) -> None:
    """20,000 starts of one activity and as many ends pair up by resource and order."""
    starts = [event("a", 1, "start", f"r{n % 100}") for n in range(20_000)]
    ends = [event("a", 2, "complete", f"r{n % 100}") for n in range(20_000)]
    (run,) = read(tmp_path, trace(*starts, *ends))
    assert Counter(tried.outcome for tried in run.attempts) == {DONE: 20_000}


def test_the_first_real_loan_is_read_as_its_file_shows(shared_data: Path) -> None:
    """bpic2012, case 173688: a work item scheduled at 0:39:38, started at 11:36:46, ended at 11:45:13."""
    run = next(read_runs(shared_data / "event_logs" / "bpic2012.xes.gz", Hints(), Tally()))
    assert run.run_id.startswith("173688/")
    assert run.context == {"AMOUNT_REQ": "20000"}
    assert run.launch_at == 1317422324.546  # 2011-10-01T00:38:44.546+02:00
    tried = next(each for each in run.attempts if each.step == "W_Completeren aanvraag")
    assert (tried.scheduled_at, tried.started_at) == (1317422378.875, 1317461806.437)
    assert run.attempts[0].step == "A_SUBMITTED"
    assert (run.attempts[0].started_at, run.attempts[0].ended_at) == (None, 1317422324.546)


@pytest.mark.slow
def test_all_real_loans_are_read_without_losing_an_event(shared_data: Path) -> None:
    """13,087 cases; 164,506 COMPLETE events are as many successes; all 262,200 events are accounted for."""
    tally, outcomes, cases = Tally(), Counter[str](), 0
    for run in read_runs(shared_data / "event_logs" / "bpic2012.xes.gz", Hints(), tally):
        cases += 1
        outcomes.update(tried.outcome.value for tried in run.attempts)
    assert (cases, outcomes["succeeded"], not tally.skipped) == (13_087, 164_506, True)
    assert outcomes.total() + tally.notes[JOINED] == 262_200


def test_the_first_real_ticket_is_read_as_its_file_shows(shared_data: Path) -> None:
    """helpdesk, Case 1: five completions from 9 October to 9 November 2012, one activity done twice."""
    run = next(read_runs(shared_data / "event_logs" / "helpdesk.xes.gz", Hints(), Tally()))
    assert [(tried.step, tried.attempt) for tried in run.attempts] == [
        ("Assign seriousness", 1),
        ("Take in charge ticket", 1),
        ("Take in charge ticket", 2),
        ("Resolve ticket", 1),
        ("Closed", 1),
    ]
    ended = [tried.ended_at for tried in run.attempts]
    # 2012-10-09T14:50:17Z, 14:51:01, 2012-10-12T15:02:56Z, 2012-10-25T11:54:26Z
    assert ended[:4] == [1349794217, 1349794261, 1350054176, 1351166066]


@pytest.mark.slow
def test_every_real_log_is_read(shared_data: Path) -> None:
    """Cases and events of each file as its tags count them; none is lost."""
    counted = {
        "helpdesk.xes.gz": (4_580, 21_348),
        "roadtraffic100traces.xes": (100, 390),
        "07_bpic2013_incidents.xes.gz": (7_554, 65_533),
    }
    for name, expected in counted.items():
        runs = list(read_runs(shared_data / "event_logs" / name, Hints(), Tally()))
        assert (len(runs), sum(len(run.attempts) for run in runs)) == expected, name
