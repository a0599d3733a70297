"""The whole demo at a small scale, as a script would run it."""

import json
from pathlib import Path

import pytest

from sagacity_api.demo import Scale, run_demo
from sagacity_engine import SqliteJournal

LIVE = 24
FIGURES = {"success_rate", "mean_cost", "wasted_cost", "latency_s_p95", "n"}


@pytest.mark.slow
def test_the_last_line_is_the_promised_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Stdout is one JSON line with exactly the promised keys, every saga ended, shortfalls go to stderr."""
    code = run_demo(
        into=tmp_path / "demo", seed=3, as_json=True, scale=Scale(logged=500, fresh=120, live=LIVE)
    )
    out, err = capfd.readouterr()
    told = json.loads(out.splitlines()[-1])
    assert len(out.splitlines()) == 1
    assert told.keys() == {
        "policies",
        "gap_closed_author",
        "gap_closed_static",
        "advised_minus_author",
        "advised_minus_static",
        "live",
    }
    assert told["policies"].keys() == {"author", "static", "advised", "informed", "oracle"}
    for figures in told["policies"].values():
        assert figures.keys() == FIGURES
        assert figures["n"] == 120
    for name in ("advised_minus_author", "advised_minus_static"):
        assert told[name].keys() == {"mean", "low", "high"}
        assert told[name]["low"] <= told[name]["mean"] <= told[name]["high"]
    for name in ("gap_closed_author", "gap_closed_static"):
        assert told[name] is None or isinstance(told[name], float)
    live = told["live"]
    assert live.keys() == {
        "sagas",
        "advised",
        "completed",
        "compensated",
        "needs_attention",
        "in_flight_at_kill_and_ended",
    }
    assert live["sagas"] == LIVE
    assert live["completed"] + live["compensated"] + live["needs_attention"] == LIVE
    journal = SqliteJournal(tmp_path / "demo" / "live" / "journal.db")
    journal.open()
    assert all(run.status.ended for run in journal.runs(limit=100))
    journal.close()
    lines = err.splitlines()
    assert (code == 3) == bool(lines)
    assert all(line.startswith("FELL SHORT: ") for line in lines)
