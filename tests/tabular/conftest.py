"""Attempt rows as a few words say them, and the benchmarks as modules."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sagacity_data.rows import AttemptOutcome, AttemptRow
from sagacity_engine import Direction, Kind

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BLANK = AttemptRow(
    run_id="r",
    saga="trip",
    definition_hash="h",
    step="hotel",
    service="resort",
    region="",
    kind=Kind.COMPENSATABLE,
    direction=Direction.FORWARD,
    attempt=1,
    position=0,
    steps_done=0,
    in_flight=0,
    scheduled_at=0.0,
    started_at=0.0,
    timeout_s=None,
    maximum_attempts=3,
    ended_at=1.0,
    outcome=AttemptOutcome.SUCCEEDED,
    error_type="",
    failure_class=None,
    launch_at=0.0,
    arm="author",
    propensity=1.0,
    fallback=False,
    advice_id="",
    model_version="",
    context={},
    features={},
)

MakeRow = Callable[..., AttemptRow]


@pytest.fixture(scope="session")
def attempt() -> MakeRow:
    """An attempt that started and ended at `at`, launched then too; other columns as named."""

    def make(run_id: str, at: float, **columns: Any) -> AttemptRow:
        told = {"started_at": at, "ended_at": at, "scheduled_at": at, "launch_at": at, **columns}
        return replace(BLANK, run_id=run_id, **told)

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of real histories is not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def classes() -> Iterator[ModuleType]:
    """`benchmarks/classes.py`."""
    yield from loaded("classes")


@pytest.fixture(scope="session")
def failures() -> Iterator[ModuleType]:
    """`benchmarks/failures.py`."""
    yield from loaded("failures")


def loaded(name: str) -> Iterator[ModuleType]:
    """A file of the benchmarks, which are no package, imported for as long as the tests run."""
    spec = spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
