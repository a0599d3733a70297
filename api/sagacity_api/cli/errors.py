"""What a command says when it does not do what was asked: one line, and an exit code."""

from __future__ import annotations

from sagacity_api.exit_codes import ExitCode


class CommandError(Exception):
    """Ends a command with `code`; the message says what, where, why and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


class BadInput(CommandError):
    """An option or a file is not usable; nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.REFUSED_INPUT)


class ExtraMissing(CommandError):
    """The command needs packages that are not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this command needs the package {package!r}; install it with: pip install 'sagacity[{extra}]'",
            ExitCode.REFUSED_INPUT,
        )
