"""Parts that need an extra say which one, and how to get it, when they are built: never when imported."""

from __future__ import annotations

from importlib import import_module


class ExtraMissing(ModuleNotFoundError):
    """What was asked for needs a package that is not installed; the message names its extra."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package {package!r}; install it with: pip install 'sagacity[{extra}]'",
            name=package,
        )


def require(what: str, package: str, extra: str) -> None:
    """Raises `ExtraMissing` unless `package` can be imported."""
    try:
        import_module(package)
    except ModuleNotFoundError as missing:
        if not package.startswith(missing.name or package):
            raise  # The package is there, and lacks something of its own.
        raise ExtraMissing(what, package, extra) from None
