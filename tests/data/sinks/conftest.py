"""Rows to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sagacity_data import AttemptRow, FailureKind, LabelSource, Row, RunRow
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, FailureClass, Status

MakeRows = Callable[..., list[Row]]


@pytest.fixture
def make_rows(attempt_row: Callable[..., AttemptRow]) -> MakeRows:
    """The rows of one run: an attempt that failed, the one that did it, and the run itself."""

    def make(run_id: str = "r1", tenant: str = "", launch_at: float | None = 100.0) -> list[Row]:
        told: dict[str, Any] = {"run_id": run_id, "tenant": tenant, "launch_at": launch_at}
        failed = attempt_row(
            **told,
            outcome=AttemptOutcome.FAILED,
            failure_class=FailureClass.TRANSIENT,
            failure_kind=FailureKind.TRANSIENT,
            kind_source=LabelSource.DECLARED,
            kind_known_at=101.0,
            error_message='caf\u00e9 "busy", \U0001f6a6',
            position=None,
            context={"party": 3, "share": 0.5, "season": "h\u00f6ch", "vip": True},
            features={"rate": 0.25, "one": 1.0, "last": "none", "huge": 1e300, "tiny": -5e-324},
        )
        done = attempt_row(**told, attempt=2, direction=Direction.FORWARD, started_at=None, rank=1, stage=0)
        return [failed, done, run_row(**told)]

    return make


def run_row(**changes: Any) -> RunRow:
    told: dict[str, Any] = {
        "run_id": "r1",
        "saga": "trip",
        "definition_hash": "0" * 64,
        "launch_at": 100.0,
        "ended_at": 111.5,
        "status": Status.COMPLETED,
        "reason": "",
        "arm": "advised",
        "propensity": 0.9,
        "fallback": False,
        "advice_id": "a1",
        "model_version": "7",
        "cost": 12.5,
        "wasted_cost": None,
        "latency_s": 11.5,
        "context": {"party": 3},
        "parent": "outer",
        "input_bytes": 17,
    }
    return RunRow(**{**told, **changes})
