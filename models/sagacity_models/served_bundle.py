"""The bundle that a service answers with, and how it is exchanged while the service goes on.

`refresh` follows the pointer of a bundle directory: a new version is verified, probed in a child process,
read and only then swapped in, by one assignment. A bundle that is refused, for whatever reason, leaves the
one in use where it is; that is counted and said in a line, and nothing is raised. `current` only looks: it is
for the request path, `refresh` for a thread beside it.

A version that was refused is not tried again before the pointer is written anew or `retry_s` have passed, so
that a bad bundle costs a child process now and then, not at every look.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sagacity_models.bundle import Bundle, opened, too_old
from sagacity_models.bundle_directory import BundleDirectory
from sagacity_models.errors import BundleRefused
from sagacity_models.probe import ProbeLimits
from sagacity_models.signing import TrustedKeys

RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class ServedState:
    """What can be told of a served bundle: its version ("" for none yet), swaps, refusals, the latest one."""

    version: str
    swaps: int
    refusals: int
    refusal: str


class ServedBundle:
    """Follows the pointer in `directory`. Without `verify` any signature is accepted (see `signing`).

    `clock` tells seconds since 1970; a bundle older than `age_max_s` is not swapped in. Safe for several
    threads.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        verify: TrustedKeys | None = None,
        age_max_s: float | None = None,
        clock: Callable[[], float] = time.time,
        limits: ProbeLimits | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._directory = BundleDirectory(directory)
        self._verify = verify
        self._age_max_s = age_max_s
        self._clock = clock
        self._limits = limits or ProbeLimits()
        self._retry_s = retry_s
        self._bundle: Bundle | None = None
        self._swaps = 0
        self._refusals = 0
        self._refusal = ""
        self._refused: tuple[object, float] | None = None
        self._one_at_a_time = threading.Lock()

    def current(self) -> Bundle | None:
        """The bundle in use; None until the first one was accepted. Never waits, never raises."""
        return self._bundle

    @property
    def state(self) -> ServedState:
        """How it stands."""
        bundle = self._bundle
        return ServedState(bundle.version if bundle else "", self._swaps, self._refusals, self._refusal)

    def outdated(self) -> bool:
        """Whether the bundle in use is older than it may be; it stays in use until there is another."""
        bundle = self._bundle
        if bundle is None or self._age_max_s is None:
            return False
        told = {**bundle.facts, "created_at": bundle.created_at}
        return bool(too_old(told, self._age_max_s, self._clock()))

    def refresh(self) -> bool:
        """Follow the pointer; True where another bundle is in use now. Never raises.

        Returns False at once where another thread is at it.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            return False
        try:
            return self._followed()
        finally:
            self._one_at_a_time.release()

    def _followed(self) -> bool:
        mark = self._mark()
        if self._refused is not None:
            last, until = self._refused
            if mark == last and self._clock() < until:
                return False
        try:
            bundle = self._opened()
        except BundleRefused as refusal:
            self._note(mark, str(refusal))
            return False
        except Exception as problem:  # noqa: BLE001  a full disk, no more processes: the old one stays
            self._note(
                mark, f"no bundle could be tried ({type(problem).__name__}: {problem}); see the machine"
            )
            return False
        self._refused = None
        if bundle is None:
            return False
        self._bundle = bundle
        self._swaps += 1
        return True

    def _opened(self) -> Bundle | None:
        """The bundle that the pointer names; None where that is in use already."""
        version = self._directory.current()
        if self._bundle is not None and version == self._bundle.version:
            return None
        sealed = self._directory.read(version, self._verify)
        now = None if self._age_max_s is None else self._clock()
        return opened(sealed, age_max_s=self._age_max_s, now=now, probe=self._limits)

    def _mark(self) -> object:
        """What changes when the pointer is written."""
        try:
            status = self._directory.pointer.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _note(self, mark: object, refusal: str) -> None:
        self._refused = (mark, self._clock() + self._retry_s)
        self._refusals += 1
        self._refusal = " ".join(refusal.split())
