"""The live part: the trip's services, the advisory service and the engine as real processes on loopback.

Half way through, the engine is killed with SIGKILL while runs are in flight; a second engine on the same
journal finishes what the first began. What is reported is read from the journal and from the services' own
ledgers, not from the engine.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from sagacity_api.demo.aftermath import LiveReport, report, run_lines
from sagacity_engine import Kind, Saga, Step, saga_document
from sagacity_engine.worlds import Trip

READY_WITHIN_S = 60.0
ENDS_WITHIN_S = 120.0
SOLD_OUT = 0.008
"""The share of live inputs that a service never accepts."""
Process = subprocess.Popen[str]


class LiveFailed(Exception):
    """A process of the live part did not start or did not end; the message says which and what it said."""


@dataclass(frozen=True, slots=True)
class LiveSetting:
    """Where the live part finds its bundle and dataset, and keeps its journal."""

    folder: Path
    bundle: Path
    dataset: Path
    seed: int


def run_live(
    setting: LiveSetting, saga: Saga, trips: list[Trip], progress: Callable[[int], None]
) -> LiveReport:
    """Runs every trip as a durable saga over HTTP, with a kill half way."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    journal = setting.folder / "journal.db"
    with contextlib.ExitStack() as stack:
        ports = {
            step.service: stack.enter_context(_service(setting.seed + n, step))
            for n, step in enumerate(saga.steps)
        }
        advisor = stack.enter_context(_advisory_service(setting))
        job = setting.folder / "job.json"
        job.write_text(json.dumps(_job(saga, ports, trips)), encoding="utf-8")
        command = [sys.executable, "-m", "sagacity_api.demo.live_engine", "--job", str(job)]
        command += ["--journal", str(journal), "--advisor", advisor]
        _until(command, progress, kill_after=len(trips) // 2)
        at_kill = run_lines(journal)
        open_at_kill = {line.run_id for line in at_kill if not line.status.ended}
        ended_before = len(at_kill) - len(open_at_kill)
        _until(command, lambda ended: progress(max(ended, ended_before)), kill_after=None)
        effects: dict[str, int] = {}
        for port in ports.values():
            effects.update(_ledger(port))
    return report(saga, run_lines(journal), open_at_kill, effects)


def _job(saga: Saga, ports: dict[str, int], trips: list[Trip]) -> dict[str, Any]:
    document = saga_document(saga)
    for step in document["steps"]:
        base = f"http://127.0.0.1:{ports[step['service']]}"
        body = {"trip": "${input.trip}"}
        step["action"] = {"http": {"method": "POST", "url": f"{base}/do", "body": body}}
        if "compensation" in step:
            step["compensation"]["action"] = {"http": {"method": "POST", "url": f"{base}/undo", "body": body}}
    return {"document": document, "runs": [(trip.trip_id, dict(trip.context)) for trip in trips]}


@contextlib.contextmanager
def _service(seed: int, step: Step) -> Iterator[int]:
    sold_out = 0.0 if step.kind is Kind.RETRIABLE else SOLD_OUT  # A message is never sold out.
    command = [sys.executable, "-m", "sagacity_api.demo.live_services"]
    command += ["--seed", str(seed), "--sold-out", str(sold_out)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None, "the service's stdout is a pipe"
        line = process.stdout.readline()
        if not line:
            raise LiveFailed("one of the trip's services did not start")
        yield int(line)
    finally:
        _stop(process)


@contextlib.contextmanager
def _advisory_service(setting: LiveSetting) -> Iterator[str]:
    port = _free_port()
    log = setting.folder / "advisory.log"
    command = [sys.executable, "-m", "sagacity_api.cli.main", "serve", "--port", str(port)]
    command += ["--bundle", str(setting.bundle), "--dataset", str(setting.dataset)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(process, url, log)
            yield url
        finally:
            _stop(process)


def _wait_ready(process: Process, url: str, log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise LiveFailed(f"the advisory service did not get ready: {log.read_text(encoding='utf-8')[-500:]}")


def _until(command: list[str], progress: Callable[[int], None], kill_after: int | None) -> None:
    """Runs the engine until it ends, or kills it once `kill_after` runs have ended."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = _kill_late(process)
    assert process.stdout is not None, "the engine's stdout is a pipe"
    for line in process.stdout:
        ended = int(json.loads(line)["ended"])
        progress(ended)
        if kill_after is not None and ended >= kill_after:
            process.kill()
            break
    _, errors = process.communicate()
    watch.cancel()
    if kill_after is None and process.returncode != 0:
        raise LiveFailed(f"the engine stopped with {process.returncode}: {errors[-500:]}")
    if kill_after is not None and process.returncode != -9:
        raise LiveFailed(f"the engine ended before it could be killed: {errors[-500:]}")


def _kill_late(process: Process) -> threading.Timer:
    """A started timer that ends a process which takes far too long."""
    timer = threading.Timer(ENDS_WITHIN_S, process.kill)
    timer.daemon = True
    timer.start()
    return timer


def _ledger(port: int) -> dict[str, int]:
    effects: dict[str, int] = httpx2.get(f"http://127.0.0.1:{port}/ledger", timeout=10).json()
    return effects


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _stop(process: Process) -> None:
    """Ends the process and closes its pipes."""
    process.terminate()
    try:
        process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
