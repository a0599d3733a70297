from __future__ import annotations

import os
from pathlib import Path

import pytest

from sagacity_data.importers import import_event_logs
from sagacity_data.outcomes import parse_outcome_rule
from sagacity_training.cases import train_cases


@pytest.mark.slow
def test_loan_applications_beat_the_base_rate(tmp_path: Path) -> None:
    """On BPI Challenge 2012 the model reaches AUC 0.64 and a Brier score surely below the base rate's."""
    folder = os.environ.get("SAGACITY_REAL_DATA")
    if not folder:
        pytest.skip("SAGACITY_REAL_DATA names no folder with real event logs")
    log = next(Path(folder).rglob("bpic2012.xes.gz"), None)
    if log is None:
        pytest.skip(f"{folder} holds no bpic2012.xes.gz")
    rule = parse_outcome_rule(outcome_activities="O_ACCEPTED,O_DECLINED,O_CANCELLED", success="O_ACCEPTED")
    report = import_event_logs([log], tmp_path / "set", rule)
    result = train_cases(tmp_path / "set", seed=7)
    assert (report.cases, report.events) == (13_087, 262_200)
    assert result.signal
    assert result.scores.auc is not None
    assert result.scores.auc.value >= 0.64
    assert result.scores.brier_gain.low > 0
