"""How a command ends: the one table of exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell, a script or CI may conclude from a command that has ended."""

    DONE = 0  # Everything asked for was done.
    FAILED = 1  # It was asked rightly and could not be done.
    REFUSED_INPUT = 2  # The options or a file are not usable, or an extra is not installed; nothing was done.
    LOOK = 3  # Done, but something wants attention: some files refused, a model not promoted.
    UNREACHABLE = 4  # A service could not be reached.
    GUARDRAIL = 5  # Asked for something that a guardrail forbids.
    INTERRUPTED = 130  # Stopped by the user (Ctrl-C), as shells report it.


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed",
    ExitCode.REFUSED_INPUT: "usage, bad input or a missing extra",
    ExitCode.LOOK: "done, but look",
    ExitCode.UNREACHABLE: "a service could not be reached",
    ExitCode.GUARDRAIL: "refused by a guardrail",
    ExitCode.INTERRUPTED: "interrupted",
}
"""Each code in words, as the help prints it."""
