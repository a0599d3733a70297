"""The only module that reads the environment: defaults for options, all under the prefix SAGACITY_.

An option on the command line wins over its variable. A variable that cannot be used is refused, not ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

PREFIX = "SAGACITY_"


class SettingRefused(ValueError):
    """An environment variable holds a value that cannot be used; the message names both and the way out."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment may set; the field `port` is the variable SAGACITY_PORT, and so on."""

    bundle: str | None = field(
        default=None, metadata={"says": "the bundle folder for plan, predict, risk and serve"}
    )
    registry: str | None = field(default=None, metadata={"says": "the model registry's folder"})
    mlflow_uri: str | None = field(
        default=None, metadata={"says": "another tracking store for the registry, as MLflow names it"}
    )
    signing_key: str | None = field(
        default=None, metadata={"says": "the private key file that new models are signed with"}
    )
    verify_key: str | None = field(
        default=None,
        metadata={"says": "the public key files, `:` between them, that models must be signed with one of"},
    )
    bundle_age_max_days: int = field(
        default=0, metadata={"says": "the age from which a bundle is refused, 0 for none"}
    )
    dataset: str | None = field(
        default=None, metadata={"says": "the dataset that serve replays, train reads"}
    )
    host: str = field(default="127.0.0.1", metadata={"says": "the loopback address that serve binds"})
    port: int = field(default=8080, metadata={"says": "the port that serve binds"})
    url: str | None = field(default=None, metadata={"says": "the service that plan and predict ask"})
    debug: bool = field(default=False, metadata={"says": "1 shows the traceback of an unexpected error"})

    @property
    def verify_keys(self) -> tuple[str, ...]:
        """The public key files, one by one; none where any signature will do."""
        return tuple(path for path in (self.verify_key or "").split(os.pathsep) if path)

    @property
    def bundle_age_max_s(self) -> float | None:
        """The same age in seconds; None where age does not matter."""
        return self.bundle_age_max_days * 86_400.0 if self.bundle_age_max_days else None


def read_environment(variables: Mapping[str, str] | None = None) -> Environment:
    """The settings of `variables`, by default the process's; raises `SettingRefused`.

    >>> read_environment({"SAGACITY_PORT": "9000"}).port
    9000
    """
    given = os.environ if variables is None else variables
    taken: dict[str, str | int | bool] = {}
    for setting in fields(Environment):
        variable = PREFIX + setting.name.upper()
        text = given.get(variable, "")
        if text:
            taken[setting.name] = _value(variable, text, type(setting.default))
    return Environment(**taken)  # type: ignore[arg-type]  # each value was read as its field's type


def _value(variable: str, text: str, kind: type) -> str | int | bool:
    if kind is bool:
        if text not in ("0", "1"):
            raise SettingRefused(f"{variable} is {text!r}; set it to 1 or 0")
        return text == "1"
    if kind is int:
        if not text.isdecimal() or int(text[:9]) > 65_535:
            raise SettingRefused(f"{variable} is {text!r}; set it to a number from 0 to 65535")
        return int(text)
    return text
