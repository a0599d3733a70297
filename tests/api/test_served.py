"""The real command in real processes: serving a bundle, ending well, and failing in one line."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sagacity_api.client import AsyncClient, Client, HttpAdvisor, ServiceRefused
from sagacity_engine import Launch, author_plan, check, read_saga
from sagacity_engine.advisor import ask

SAGACITY = [sys.executable, "-m", "sagacity_api.cli.main"]
ENDS_WITHIN_S = 60


@contextmanager
def serving(*options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`sagacity serve` on a free port, and its address once it is ready."""
    command = [*SAGACITY, "serve", "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("ready: http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.removeprefix("ready: ").strip()
    finally:
        process.kill()
        process.communicate()


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SAGACITY, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
        **options,
    )


@pytest.mark.slow
def test_a_served_bundle_answers_everyone(bundle: Path, trip: dict[str, Any], trip_file: Path) -> None:
    """SDK, advisor and command line get the same legal advice from a real service; SIGTERM ends it with 0."""
    saga = read_saga(trip)
    with serving("--bundle", bundle) as (process, url):
        with Client(url) as client:
            advice = client.optimize(saga, {"season": "dry"}, at=1e9, run_id="r-1")
            prediction = client.predict(saga, {"season": "dry"}, at=1e9, plan=advice.plan)
            with pytest.raises(ServiceRefused, match="plan-refused"):
                client.predict(read_saga({"saga": "x", "steps": [{"name": "a"}]}), plan=advice.plan)
        assert check(advice.plan, saga) == ()
        assert advice.plan != author_plan(saga)
        assert prediction.expected == advice.advised
        assert advice.model.kind == "base_rates"

        async def asynchronously() -> None:
            async with AsyncClient(url) as client:
                again = await client.optimize(saga, {"season": "dry"}, at=1e9, run_id="r-1")
                assert (await client.predict(saga, at=1e9)).expected == advice.author
            assert (again.plan, again.advice_id) == (advice.plan, advice.advice_id)
            launch = Launch(run_id="r-1", context={"season": "dry"}, at=1e9)
            async with HttpAdvisor(url, deadline_s=30) as advisor:
                assert (await ask(advisor, saga, launch, budget_s=60)).plan == advice.plan

        asyncio.run(asynchronously())
        done = run("plan", trip_file, "--url", url, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["model"]["version"] == advice.model.version
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=ENDS_WITHIN_S)
        assert process.returncode == 0
        messages = [json.loads(json.loads(line)["message"]) for line in logged.splitlines()]
        assert [message["status"] for message in messages[:3]] == [200, 200, 422]
        assert "dry" not in logged


@pytest.mark.slow
def test_what_cannot_be_served_ends_the_service(bundle: Path, tmp_path: Path) -> None:
    """A damaged bundle, a folder that is no dataset, and a taken port end the command with one line."""
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "base_rates.json").write_text("{}", encoding="utf-8")
    for options in (["--bundle", damaged], ["--bundle", bundle, "--dataset", tmp_path]):
        done = run("serve", "--port", 0, *options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith("sagacity: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--bundle", bundle, "--port", taken.getsockname()[1])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--port" in done.stderr


@pytest.mark.slow
def test_processes_end_as_documented(trip_file: Path, tmp_path: Path) -> None:
    """Exit codes reach the shell; a reader that goes away, and no home, are no reason for a traceback."""
    assert run("check", trip_file).returncode == 0
    assert run("check", tmp_path / "none").returncode == 2
    assert run("plan", trip_file, "--url", "http://127.0.0.1:9").returncode == 4
    assert run("serve", "--bundle", tmp_path, "--host", "0.0.0.0").returncode == 5
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*SAGACITY, "schema"], stdout=writing, stderr=subprocess.PIPE, timeout=ENDS_WITHIN_S, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    plain = run("check", trip_file, env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert "\x1b" not in plain.stdout
