"""The registry in a process of its own, started early, so that training does not wait for MLflow.

MLflow takes four seconds to import, and a new database three more to lay out; a second process does both
while the first one learns. The first line says which registry it is (not the command line, which anybody may
read: an address may hold a password). Then it answers one JSON line per JSON line: {"call": name, "given":
{...}} with {"answer": ...} or {"refused": "one line"}. Whatever MLflow prints or logs ends there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sagacity_models.errors import RegistryRefused
from sagacity_models.registry import Logged, Registry


class RegistryProcess:
    """A `Registry` behind a pipe, with the same methods for writing. Use it as a context manager."""

    def __init__(self, registry: Registry) -> None:
        self._folder = registry.folder
        command = [sys.executable, "-P", "-m", __name__]
        self._process = subprocess.Popen(  # noqa: S603  our own module, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._tell(_settings(registry))

    def log(
        self,
        experiment: str,
        *,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Path],
        model: str = "",
        model_artifact: str = "",
        better: bool | None = None,
        reasons: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Logged:
        """As `Registry.log`."""
        answer = self._ask(
            "log",
            experiment=experiment,
            params={name: str(value) for name, value in params.items()},
            metrics=dict(metrics),
            artifacts={name: str(path) for name, path in artifacts.items()},
            model=model,
            model_artifact=model_artifact,
            better=better,
            reasons=list(reasons),
            tags=dict(tags or {}),
        )
        return Logged(answer["run_id"], answer["version"], Path(answer["folder"]))

    def promote(
        self, version: str, *, model: str, alias: str, reason: str = "", by: str = "training"
    ) -> None:
        """As `Registry.promote`."""
        self._ask("promote", version=version, model=model, alias=alias, reason=reason, by=by)

    def version(self, alias: str, *, model: str) -> str | None:
        """As `Registry.version`."""
        answer: str | None = self._ask("version", alias=alias, model=model)
        return answer

    def bundle_folder(self, alias: str, *, model: str) -> Path:
        """As `Registry.bundle_folder`."""
        return Path(self._ask("bundle_folder", alias=alias, model=model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is not None:
            self._process.kill()
        self._process.communicate()

    def _tell(self, line: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # it was asked for as a pipe
        with suppress(BrokenPipeError):  # The process ended early, which the next answer shows.
            stdin.write(json.dumps(line) + "\n")
            stdin.flush()

    def _ask(self, call: str, **given: Any) -> Any:
        stdout = self._process.stdout
        assert stdout is not None  # it was asked for as a pipe
        self._tell({"call": call, "given": given})
        told = stdout.readline()
        if not told:
            raise RegistryRefused(
                f"the process that writes to the registry in {self._folder} ended early; "
                "check that the extra 'train' is installed and that there is memory left"
            )
        answer = json.loads(told)
        if "refused" in answer:
            raise RegistryRefused(answer["refused"])
        return answer["answer"]


def _settings(registry: Registry) -> dict[str, Any]:
    keys = registry.keys
    return {
        "folder": str(registry.folder),
        "uri": registry.uri,
        "signing_key": None if keys.signing is None else str(keys.signing),
        "verify_keys": [str(path) for path in keys.verifying],
    }


def answer_calls() -> None:
    """Answer calls from the standard input until it ends; the database is laid out before the first."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What anybody prints must not end up between the answers.
    registry = Registry(**json.loads(sys.stdin.readline()))
    with suppress(RegistryRefused):  # The first call meets the same refusal, and can tell it to somebody.
        registry.version()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            told = {"answer": _answered(registry, asked["call"], asked["given"])}
        except RegistryRefused as refusal:
            told = {"refused": str(refusal)}
        print(json.dumps(told), file=answers, flush=True)


def _answered(registry: Registry, call: str, given: dict[str, Any]) -> Any:
    match call:
        case "log":
            given["artifacts"] = {name: Path(path) for name, path in given["artifacts"].items()}
            logged = registry.log(**given)
            return {"run_id": logged.run_id, "version": logged.version, "folder": str(logged.folder)}
        case "promote":
            return registry.promote(**given)
        case "version":
            return registry.version(**given)
        case "bundle_folder":
            return str(registry.bundle_folder(**given))
        case _:
            raise RegistryRefused(f"{call!r} is no call of the registry")


if __name__ == "__main__":
    answer_calls()
