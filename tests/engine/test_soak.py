"""Ten seconds of real engines killed with SIGKILL, stopped and crowded; then the books are compared."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the soak stops and kills processes as Linux does")
def test_engines_killed_at_random_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    """Over kills and takeovers nothing acknowledged is lost, no key acts twice, and every run ends."""
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), "--seconds", "10", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {line.rsplit(maxsplit=1)[0]: line.rsplit(maxsplit=1)[1] for line in done.stdout.splitlines()}
    assert int(figures["engines killed"]) >= 3
    assert figures["breaches"] == "0"
