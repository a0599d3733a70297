"""`sagacity models show` and `compare`: one version with its signature and figures, and two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity_api.cli.models_registry import STEPS, ModelOption, RegistryOption, opened
from sagacity_api.cli.output import put, put_json, table
from sagacity_api.cli.saga_commands import AsJson
from sagacity_api.exit_codes import ExitCode

if TYPE_CHECKING:
    from sagacity_models.registry import ModelVersion, Registry

Which = Annotated[str, typer.Argument(metavar="VERSION|ALIAS", help="A number, champion or challenger.")]

_FACTS = (
    "version",
    "created_at",
    "trained_until",
    "data_sha256",
    "schema_version",
    "dataset_schema_version",
    "feature_schema_sha256",
    "rows",
    "runs",
    "seed",
)
Signature = dict[str, Any]


def show(
    which: Which, *, registry: RegistryOption = None, model: ModelOption = STEPS, as_json: AsJson = False
) -> int:
    """Show a version: facts, figures, files and signature. Exits with 3 where it would be refused."""
    with opened(registry) as opened_registry:
        found = opened_registry.find(which, model=model)
        manifest, signature = _verified(opened_registry, found)
    facts = {name: manifest[name] for name in _FACTS if name in manifest}
    files = {name: each["sha256"] for name, each in sorted(manifest.get("files", {}).items())}
    if as_json:
        put_json(
            {
                "model": model,
                "version": found.version,
                "aliases": list(found.aliases),
                "better": found.better,
                "signature": signature,
                "facts": facts,
                "files": files,
                "features": manifest.get("features", []),
                "tags": dict(sorted(found.tags.items())),
                "params": dict(sorted(found.params.items())),
                "metrics": dict(sorted(found.metrics.items())),
            }
        )
    else:
        put(list(_lines(found, signature, facts, files)))
    return ExitCode.DONE if signature["valid"] else ExitCode.LOOK


def compare(
    first: Which,
    second: Which,
    *,
    registry: RegistryOption = None,
    model: ModelOption = STEPS,
    as_json: AsJson = False,
) -> int:
    """Compare the figures of two versions, task by task."""
    with opened(registry) as opened_registry:
        pair = [opened_registry.find(which, model=model) for which in (first, second)]
    tasks = _by_task(pair[0].metrics, pair[1].metrics)
    if as_json:
        put_json({"model": model, "versions": [each.version for each in pair], "tasks": tasks})
        return ExitCode.DONE
    rows = [["figure", *(f"version {each.version}" for each in pair), "difference"]]
    for task, figures in tasks.items():
        rows.append([task, "", "", ""])
        rows += [[f"  {name}", *map(_figure, values)] for name, values in figures.items()]
    put(table(rows, right=frozenset({1, 2, 3})))
    return ExitCode.DONE


def _by_task(one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, dict[str, list[float | None]]]:
    """Per task and figure: the first version's value, the second's, and what the second has more."""
    tasks: dict[str, dict[str, list[float | None]]] = {}
    for name in sorted({*one, *two}):
        task, _, figure = name.partition(".")
        values = one.get(name), two.get(name)
        more = None if values[0] is None or values[1] is None else values[1] - values[0]
        tasks.setdefault(task, {})[figure or task] = [*values, more]
    return tasks


def _verified(registry: Registry, found: ModelVersion) -> tuple[Mapping[str, Any], Signature]:
    """The manifest, empty where it cannot be trusted, and what is to be said of its signature."""
    from sagacity_models.errors import BundleRefused
    from sagacity_models.signing import key_id

    try:
        sealed = registry.sealed(found.version, model=found.model)
    except BundleRefused as refusal:
        return {}, {"valid": False, "key": None, "refusal": str(refusal)}
    return sealed.manifest, {"valid": True, "key": key_id(sealed.key), "refusal": None}


def _lines(
    found: ModelVersion, signature: Signature, facts: Mapping[str, Any], files: Mapping[str, str]
) -> Iterator[str]:
    judged = {True: "better", False: "not better", None: "not judged"}[found.better]
    yield f"{found.model} version {found.version}: {', '.join(found.aliases) or 'no alias'}, {judged}"
    if signature["valid"]:
        yield f"signed by the key {signature['key']}, which is trusted"
    else:
        yield f"not to be used: {signature['refusal']}"
    for title, told in (
        ("facts", facts),
        ("history", dict(sorted(found.tags.items()))),
        ("figures", {name: _figure(value) for name, value in sorted(found.metrics.items())}),
        ("files", files),
    ):
        if told:
            yield ""
            yield from table([[title, ""], *([f"  {name}", str(value)] for name, value in told.items())])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
