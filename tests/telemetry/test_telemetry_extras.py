"""Without its extra each part says which one it needs; importing them needs none."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sagacity_api.telemetry import EventPoster, ExtraMissing, Readings, RunMetrics, RunTracer


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("opentelemetry.trace", "otel", RunTracer),
        ("prometheus_client", "server", lambda: RunMetrics(None)),  # type: ignore[arg-type]  # refused before
        ("prometheus_client", "server", lambda: Readings(None)),  # type: ignore[arg-type]  # refused before
        ("httpx2", "http", lambda: EventPoster("http://127.0.0.1:9")),
    ],
)
def test_a_missing_extra_is_named(
    package: str, extra: str, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building a part without its package names the package and how to install it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing, match=rf"{package}.*pip install 'sagacity\[{extra}\]'") as missing:
        make()
    assert missing.value.name == package


def test_a_package_that_is_broken_inside_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is there, and lacks something of its own, is not called missing."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client.registry", None)
    with pytest.raises(ModuleNotFoundError) as problem:
        RunMetrics(None)  # type: ignore[arg-type]  # refused before
    assert not isinstance(problem.value, ExtraMissing)


@pytest.mark.slow
def test_importing_needs_no_extra() -> None:
    """Importing the package brings none of what its parts need."""
    script = (
        "import sys, sagacity_api.telemetry\n"
        "print({'opentelemetry', 'prometheus_client', 'httpx2'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
