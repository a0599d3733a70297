from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import random
from pathlib import Path

import pytest

from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.csv_logs import read_runs
from sagacity_data.importers.csv_text import BLANK_LINES_MAX, LINE_CHARACTERS_MAX
from sagacity_data.importers.foreign_runs import ForeignRun, rows_of
from sagacity_data.importers.reading import Hints, Tally
from sagacity_data.rows import AttemptOutcome
from sagacity_data.taxonomy import default_taxonomy
from sagacity_engine import Status

PLAIN = """case,activity,timestamp
c2,ship,2024-05-01T12:00:30Z
c1,book,2024-05-01T12:00:10Z
c2,book,2024-05-01T12:00:20Z
c1,pay,2024-05-01T12:00:40Z
"""
NOON_S = 1_714_564_800.0


def read(
    tmp_path: Path, content: str | bytes, tally: Tally | None = None, **columns: str
) -> list[ForeignRun]:
    path = tmp_path / "orders.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_runs(path, Hints(columns=columns), tally or Tally()))


def refusal(tmp_path: Path, content: str | bytes, **columns: str) -> ImportRefused:
    with pytest.raises(ImportRefused) as refused:
        read(tmp_path, content, None, **columns)
    assert refused.value.way_out
    return refused.value


def steps(runs: list[ForeignRun]) -> dict[str, list[tuple[str, float | None]]]:
    """Per case, the steps and their ends in seconds after noon."""
    return {
        run.run_id.partition("/")[0]: [
            (tried.step, None if tried.ended_at is None else tried.ended_at - NOON_S)
            for tried in run.attempts
        ]
        for run in runs
    }


EXPECTED = {"c1": [("book", 10), ("pay", 40)], "c2": [("book", 20), ("ship", 30)]}


def test_rows_of_a_case_may_be_anywhere_in_any_order(tmp_path: Path) -> None:
    """Rows are grouped by case and taken in the order of their times."""
    runs = read(tmp_path, PLAIN)
    assert steps(runs) == EXPECTED
    assert {run.saga for run in runs} == {"orders"}
    assert all(tried.started_at is None for run in runs for tried in run.attempts)


def test_rows_of_one_time_keep_their_order(tmp_path: Path) -> None:
    """Of equal times the file's order decides, whatever the names are."""
    rows = "".join(f"c1,{name},2024-05-01\n" for name in ("z", "b", "m", "a"))
    (run,) = read(tmp_path, f"case,activity,date\n{rows}")
    assert [tried.step for tried in run.attempts] == ["z", "b", "m", "a"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_delimiters_and_encodings_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    """Every delimiter in every encoding with a mark, compressed or not, gives the same runs."""
    text = PLAIN.replace(",", delimiter).encode(encoding)
    assert steps(read(tmp_path, text)) == EXPECTED
    assert steps(read(tmp_path, gzip.compress(text))) == EXPECTED


def test_old_western_encodings_are_read_with_a_note(tmp_path: Path) -> None:
    """What is no UTF-8 is Windows-1252, and the user is told."""
    tally = Tally()
    (run,) = read(tmp_path, "case,activity,date\n1,prüfen,2024-05-01\n".encode("latin-1"), tally)
    assert run.attempts[0].step == "prüfen"
    assert tally.notes["tables that are no UTF-8 were read as Windows-1252"] == 1


def test_quotes_may_hold_delimiters_and_lines(tmp_path: Path) -> None:
    """A quoted cell keeps commas, quotes and line ends; `sep=` before the header is obeyed."""
    (run,) = read(tmp_path, 'sep=;\r\ncase;activity;date\r\n1;"a;\n""b"", c";2024-05-01\r\n')
    assert run.attempts[0].step == 'a;\n"b", c'


@pytest.mark.parametrize(
    "header",
    [
        "case:concept:name,concept:name,time:timestamp",
        "Case ID,Activity,Complete Timestamp",
        "case_id,activity_name,event_time",
        "CaseID,Task,Date",
        "Process Instance ID,Event Name,Timestamp",
    ],
)
def test_usual_headers_need_no_options(tmp_path: Path, header: str) -> None:
    """The names that process mining tools write are known, whatever their case and dividers."""
    assert steps(read(tmp_path, PLAIN.replace("case,activity,timestamp", header))) == EXPECTED


def test_a_missing_column_is_refused_naming_the_columns_and_the_option(tmp_path: Path) -> None:
    """The refusal lists what is there and says how to name the column."""
    told = refusal(tmp_path, PLAIN.replace("activity", "was"))
    assert "no column tells the activity; its columns are case, was, timestamp" in told.reason
    assert told.way_out == "name one: --column activity=COLUMN"
    assert steps(read(tmp_path, PLAIN.replace("activity", "was"), activity="was")) == EXPECTED
    assert "has no column 'nope'" in refusal(tmp_path, PLAIN, case="nope").reason
    assert "say one of case, activity" in refusal(tmp_path, PLAIN, csae="case").way_out


def test_start_and_end_in_one_row_are_one_attempt(tmp_path: Path) -> None:
    """A row with both ends has a duration; an end before its start leaves no start, and is counted."""
    tally = Tally()
    text = (
        "case,activity,Start Timestamp,Complete Timestamp\n"
        "1,a,2024-05-01 12:00:00,2024-05-01 12:00:05\n1,b,2024-05-01 12:00:09,2024-05-01 12:00:08\n"
    )
    (run,) = read(tmp_path, text, tally)
    told = [(tried.step, tried.started_at, tried.ended_at) for tried in run.attempts]
    assert told == [("a", NOON_S, NOON_S + 5), ("b", None, NOON_S + 8)]
    assert tally.notes["attempts that end before they start have no start"] == 1
    assert (run.launch_at, run.ended_at) == (NOON_S, NOON_S + 8)


def test_lifecycles_pair_as_in_xes(tmp_path: Path) -> None:
    """A start row and a complete row are one attempt; transitions nobody knows are skipped."""
    tally = Tally()
    times = ("start", 0), ("hover", 1), ("complete", 2)
    rows = "".join(f"1,a,{word},2024-05-01 12:00:0{second}\n" for word, second in times)
    (run,) = read(tmp_path, f"case,activity,lifecycle:transition,timestamp\n{rows}", tally)
    assert [(tried.started_at, tried.ended_at) for tried in run.attempts] == [(NOON_S, NOON_S + 2)]
    assert dict(tally.skipped) == {"hover": 1}


def test_outcomes_are_read_where_the_user_names_their_column(tmp_path: Path) -> None:
    """Words for outcomes are understood; a case whose last attempt failed needs attention."""
    rows = "1,a,2024-05-01,OK\n1,b,2024-05-02,timed out\n1,b,2024-05-03,refused\n1,c,2024-05-02,odd\n"
    (run,) = read(tmp_path, f"case,activity,date,result\n{rows}", outcome="result")
    told = [(tried.step, tried.outcome.value) for tried in run.attempts]
    assert told == [("a", "succeeded"), ("b", "timed_out"), ("c", "unknown"), ("b", "failed")]
    assert (run.status, run.reason) == (Status.NEEDS_ATTENTION, "failed: b")
    (plain,) = read(tmp_path, f"case,activity,date,outcome\n{rows}")
    assert {tried.outcome for tried in plain.attempts} == {AttemptOutcome.SUCCEEDED}


def test_context_is_what_the_columns_say_at_the_first_row(tmp_path: Path) -> None:
    """`case:` columns but dates, or those named; decimal commas are read where commas divide nothing."""
    text = (
        "case;activity;date;case:amount;case:end;note;zip\n"
        "1;a;2024-05-01;3,5;2024-06-01;true;01234\n1;b;2024-05-02;9;2024-06-01;false;5\n"
    )
    (run,) = read(tmp_path, text)
    assert run.context == {"amount": 3.5}
    (run,) = read(tmp_path, text, context="note, zip")
    assert run.context == {"note": True, "zip": "01234"}


def test_ragged_rows_and_double_headers_are_counted(tmp_path: Path) -> None:
    """Short rows that lack something needed go, others stay; of two columns of one name the first counts."""
    tally = Tally()
    text = "case,activity,date,x,x\n1,a,2024-05-01\n1,b\n,c,2024-05-01,,\n1,,2024-05-02,1,2,3\n\n"
    (run,) = read(tmp_path, text, tally)
    assert [tried.step for tried in run.attempts] == ["a", "(unnamed)"]
    assert tally.notes["rows have more or fewer columns than the header"] == 3
    assert tally.notes["rows without a case, or cut short, were left out"] == 2
    assert tally.notes["of several columns of one name the first was read"] == 1


def test_bad_times_give_order_only(tmp_path: Path) -> None:
    """A time that does not fit the file's format is none; the row keeps its place."""
    rows = "".join(f"1,a{n},2024-05-01 12:00:{n:02}\n" for n in range(20))
    (run,) = read(tmp_path, f"case,activity,timestamp\n{rows}1,odd,soon\n")
    assert (run.attempts[-1].step, run.attempts[-1].ended_at) == ("odd", None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n\n", "is empty"),
        ("case,activity,timestamp\n", "holds no time"),
        ("case,activity,timestamp\n,a,2024-05-01\n", "holds no event"),
        (PLAIN + '"c1,book,2024\n', "is no table"),
        (PLAIN + '"a"b,c,d\n', "is no table"),
        (PLAIN + "c1,bo\0ok,2024-05-01\n", "NUL"),
        (PLAIN.encode("utf-16-le"), "NUL"),
        (codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le")[:-1], "is not utf-16"),
        (PLAIN + "x" * (LINE_CHARACTERS_MAX + 1), "a line of more than"),
        (PLAIN + '"' + "x\n" * LINE_CHARACTERS_MAX, "is no table|a row of more than"),
        (PLAIN + "\n" * (BLANK_LINES_MAX + 2), "blank lines"),
        ("," * 20_000 + "\n", "columns"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "gzip"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    """Each way a table can be wrong has a message of its own."""
    with pytest.raises(ImportRefused, match=said):
        read(tmp_path, content)


def test_the_bounds_do_not_hang_on_a_setting_of_the_whole_process(tmp_path: Path) -> None:
    """Somebody else may have lifted csv's own limit of a field: a row is bounded nevertheless."""
    before = csv.field_size_limit(10**9)
    try:
        told = refusal(tmp_path, PLAIN + '"' + "x\n" * LINE_CHARACTERS_MAX)
    finally:
        csv.field_size_limit(before)
    assert "a row of more than" in told.reason


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    """A table that unpacks to hundreds of times its size is given up."""
    bomb = gzip.compress(PLAIN.encode() + b"c1,book,2024-05-01T12:00:10Z\n" * 4_000_000, 6)
    assert "unpacks to more than 250 times" in refusal(tmp_path, bomb).reason


def test_damaged_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """Cut off anywhere or with bytes changed, compressed or not: rows or a refusal, nothing else."""
    draw, read_whole = random.Random(13), 0
    plain = (PLAIN + 'c3,"a ""quoted"" one",2024-05-01T12:01:00Z\n').encode()
    for whole in (plain, gzip.compress(plain, mtime=0), PLAIN.encode("utf-16")):
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            for content in (bytes(damaged), whole[: draw.randrange(len(whole))]):
                with contextlib.suppress(ImportRefused):
                    for run in read(tmp_path, content):
                        read_whole += len(rows_of(run, "csv", default_taxonomy()))
    assert read_whole > 200


def test_real_receipts_are_read_as_their_file_shows(shared_data: Path) -> None:
    """1,434 cases and 8,577 events; case-10011 was received on 11 October 2011 at 13:45:40.276 +02:00."""
    runs = {run.run_id.partition("/")[0]: run for run in _real(shared_data, "receipt.csv")}
    assert (len(runs), sum(len(run.attempts) for run in runs.values())) == (1_434, 8_577)
    first = runs["case-10011"]
    assert [(tried.step, tried.attempt, tried.ended_at) for tried in first.attempts[:2]] == [
        ("Confirmation of receipt", 1, 1318333540.276),
        ("T02 Check confirmation of receipt", 1, 1318400785.398),
    ]
    assert first.context == {
        "channel": "Internet",
        "department": "General",
        "group": "Group 2",
        "responsible": "Resource21",
    }


def test_real_sepsis_cases_are_read_as_their_file_shows(shared_data: Path) -> None:
    """782 cases and 13,120 events between semicolons; case A was registered on 22 October 2014 at 9:15:41."""
    runs = {run.run_id.partition("/")[0]: run for run in _real(shared_data, "sepsis_cases_1.csv.gz")}
    assert (len(runs), sum(len(run.attempts) for run in runs.values())) == (782, 13_120)
    first = runs["A"].attempts
    assert [(tried.step, tried.ended_at) for tried in first[:2]] == [
        ("ER Registration", 1413969341),
        ("Leucocytes", 1413970020),
    ]
    assert runs["A"].context == {}


def _real(shared_data: Path, name: str) -> list[ForeignRun]:
    return list(read_runs(shared_data / "event_logs" / name, Hints(), Tally()))
