"""Try a bundle in a process of its own, within limits, before this process reads it.

LightGBM takes its text on trust: one that was damaged or made up can end the process (SIGSEGV), ask for all
memory, or never return. So a child process reads the texts and forecasts the golden rows first. It gets the
very texts that were verified and will be used, not the folder, which somebody could change meanwhile. A
crash, a time-out, too much memory or a wrong number is a refusal in one line; this process goes on as it was.

The child may use so much memory and processor time and no more, writes nothing but its one line of answer,
dumps no core, and is given no environment but what it takes to start. It is no sandbox: who signed the bundle
is what says whether its texts may be read at all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import IO, Final

from sagacity_models.bundle_files import SealedFolder
from sagacity_models.manifest import refuse

CHILD: Final = "sagacity_models.probe_child"
ANSWER_BYTES_MAX: Final = 4096
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TMPDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLimits:
    """What the child may take: seconds from start to answer, bytes of address space, processor seconds."""

    timeout_s: float = 30.0
    memory_bytes: int = 1536 * 1024 * 1024
    processor_s: int = 20


def probe_texts(sealed: SealedFolder, limits: ProbeLimits) -> None:
    """Have a child read and use these texts; raises `BundleRefused` unless its forecasts are those stored."""
    trees = any(name.endswith(".lgb.txt") for name in sealed.texts)
    with _asked(sealed, limits) as question, tempfile.TemporaryFile() as answer:
        with _started(question, answer) as child:
            if trees:
                import_module("lightgbm")  # This process will need it, and takes as long as the child.
            _await(child, sealed, limits)
        answer.seek(0)
        told = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace").strip()
    if child.returncode < 0:
        refuse(sealed.folder, f"crashed the process that tried it ({_signal(-child.returncode)})")
    if told != "sound":
        refuse(sealed.folder, _line(told) or f"ended the process that tried it (code {child.returncode})")


@contextmanager
def _asked(sealed: SealedFolder, limits: ProbeLimits) -> Iterator[IO[bytes]]:
    """The question as a file without a name: a pipe would make both sides wait for each other."""
    with tempfile.TemporaryFile() as question:
        asked = {
            "folder": str(sealed.folder),
            "manifest": sealed.manifest,
            "texts": sealed.texts,
            "memory_bytes": limits.memory_bytes,
            "processor_s": limits.processor_s,
        }
        question.write(json.dumps(asked).encode())
        question.seek(0)
        yield question


@contextmanager
def _started(question: IO[bytes], answer: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    # -B: limited in what it may write, the child must not try to keep compiled modules.
    command = [sys.executable, "-B", "-P", "-m", CHILD]
    with subprocess.Popen(  # noqa: S603  our own module, no shell
        command, stdin=question, stdout=answer, stderr=subprocess.DEVNULL, env=_environment(os.environ)
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


def _await(child: subprocess.Popen[bytes], sealed: SealedFolder, limits: ProbeLimits) -> None:
    until = time.monotonic() + limits.timeout_s
    try:
        child.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        refuse(sealed.folder, f"was not read within {limits.timeout_s:g} s by the process that tried it")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    kept = {name: ours[name] for name in _KEPT if name in ours}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _line(told: str) -> str:
    return " ".join(told.split())[:300]
