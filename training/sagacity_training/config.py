"""The configuration of a training: one frozen value, read from a TOML or JSON file.

Every setting has a default, so no file is needed. A name that is not known, a value of the wrong type and one
out of its range are refused by name, together with what would be accepted: a typing error must not quietly
train another model than the one that was asked for.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn, get_type_hints

from sagacity_training.errors import TrainingError
from sagacity_training.judging.policy import GatePolicy, bounded
from sagacity_training.loop.watching import WatchPolicy

BYTES_MAX: Final = 1 << 20
NAMES_MAX: Final = 10_000


class ConfigRefused(TrainingError):
    """A configuration that cannot be used; names the setting and what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceConfig:
    """How history is cut, in time order. What is left after the first three shares judges the model."""

    fit: float = bounded(0.60, 0.05, 0.95, "share of the runs, the earliest, that models are fitted on")
    tune: float = bounded(0.12, 0.01, 0.5, "share of the next runs, which stop boosting and set penalties")
    calibrate: float = bounded(
        0.13, 0.01, 0.5, "share of the next runs, which calibration maps are learnt on"
    )
    embargo_s: float = bounded(
        0.0, 0.0, 1e9, "seconds before each cut whose runs are left out, beside labels that came after it"
    )
    test: float = bounded(0.20, 0.01, 0.9, "event logs: share of the cases, the latest, that judge the model")

    def __post_init__(self) -> None:
        if (held_out := 1 - self.fit - self.tune - self.calibrate) < 0.01:
            raise ConfigRefused(
                f"slices: fit, tune and calibrate leave {held_out:.3f} of the runs to judge the model with; "
                "let them add up to 0.99 at most"
            )

    @property
    def ends(self) -> tuple[float, float, float]:
        """Where each slice ends, as shares of the runs in launch order; the last ends with the history."""
        first, second = self.fit, self.fit + self.tune
        return first, round(second, 12), round(second + self.calibrate, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """The search for better settings of the learners; none if left out."""

    budget_s: float = bounded(
        0.0, 0.0, 604_800.0, "seconds each search for settings may take; 0 leaves it out"
    )
    trials_max: int = bounded(50, 1, 100_000, "settings to try at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """What the models may see."""

    ignore: tuple[str, ...] = field(
        default=(), metadata={"about": "names of features (event logs: attributes) that no model may use"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRiskConfig:
    """What is learnt of running sagas."""

    runs_max: int = bounded(
        20_000,
        0,
        200_000,
        "the latest runs, at most, that the risk of running ones is learnt from; 0 leaves it out",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """How thorough the report is."""

    draws: int = bounded(500, 20, 100_000, "resamplings behind an interval")
    decision_runs: int = bounded(200, 0, 100_000, "held-out runs whose plans are judged; 0 leaves that out")
    decision_s: float = bounded(60.0, 0.0, 86_400.0, "seconds that judging plans may take")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Everything that can be set of a training; the defaults are what is used without a file."""

    seed: int = bounded(0, 0, 2**32 - 1, "fixes every random choice; `--seed` comes first")
    slices: SliceConfig = field(default_factory=SliceConfig)
    gate: GatePolicy = field(default_factory=GatePolicy)
    search: SearchConfig = field(default_factory=SearchConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    live_risk: LiveRiskConfig = field(default_factory=LiveRiskConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    watch: WatchPolicy = field(default_factory=WatchPolicy)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> TrainingConfig:
        """The configuration in a file that ends in `.toml` or `.json`; raises `ConfigRefused`."""
        try:
            return cls.of(_document(Path(path)))
        except ConfigRefused as refusal:
            raise ConfigRefused(f"{path}: {refusal}") from None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TrainingConfig:
        """The configuration that nested mappings describe; raises `ConfigRefused`."""
        made: TrainingConfig = _made(cls, document, "")
        return made

    def as_json(self) -> dict[str, Any]:
        """Every setting, as JSON values that `of` takes back."""
        told: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return told


NOT_READ: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "attempts": ("slices.test",),
        "event_log": (
            *("slices.fit", "slices.tune", "slices.calibrate", "slices.embargo_s"),
            *(
                "search.budget_s",
                "search.trials_max",
                "live_risk.runs_max",
                "report.decision_runs",
                "report.decision_s",
            ),
            *("watch.every_s", "watch.rest_s", "watch.grown", "watch.runs", "watch.age_max_s"),
        ),
    }
)
"""Per kind of dataset, the settings that its training does not read; to set one is refused."""


def refuse_unread(config: TrainingConfig, kind: str) -> None:
    """Raises `ConfigRefused` where a setting is changed that training on this kind of dataset ignores."""
    usual = {name: value for name, value, _ in _settings(TrainingConfig(), "")}
    for name, value, _ in _settings(config, ""):
        if name in NOT_READ[kind] and value != usual[name]:
            raise ConfigRefused(
                f"{name} = {value} would change nothing in training on {_KINDS[kind]}; leave it out"
            )


_KINDS: Final = {"attempts": "runs", "event_log": "event logs"}


def settings() -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of every setting, as the documentation lists them."""
    yield from _settings(TrainingConfig(), "")


def _settings(part: Any, inside: str) -> Iterator[tuple[str, str, str]]:
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        if dataclasses.is_dataclass(value):
            yield from _settings(value, f"{inside}{each.name}.")
        else:
            default = json.dumps(list(value) if isinstance(value, tuple) else value)
            yield f"{inside}{each.name}", default, each.metadata["about"]


def _made(kind: Any, document: Any, inside: str) -> Any:
    if not isinstance(document, Mapping):
        raise ConfigRefused(
            f"{inside.rstrip('.') or 'the file'} is {_told(document)}; give a table of settings"
        )
    types, known = get_type_hints(kind), {each.name: each for each in dataclasses.fields(kind)}
    given = {}
    for name, value in document.items():
        if name not in known:
            _unknown(str(name), list(known), inside)
        metadata = known[name].metadata
        given[name] = _value(types[name], value, f"{inside}{name}", metadata)
    return kind(**given)


def _value(kind: Any, value: Any, name: str, metadata: Mapping[str, Any] = MappingProxyType({})) -> Any:
    if dataclasses.is_dataclass(kind):
        return _made(kind, value, f"{name}.")
    if kind in {int, float}:
        return _number(kind, value, name, metadata)
    return _names(value, name)


def _number(kind: type[int] | type[float], value: Any, name: str, metadata: Mapping[str, Any]) -> float:
    """A whole number is a number, but true is none."""
    low, high = metadata["low"], metadata["high"]
    takes = f"a {'whole ' if kind is int else ''}number from {low} to {high}"
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # NaN is within no range
        raise ConfigRefused(f"{name} = {_told(value)} cannot be used; give {takes}")
    return kind(value)


def _names(value: Any, name: str) -> tuple[str, ...]:
    listed = isinstance(value, (list, tuple)) and len(value) <= NAMES_MAX
    if not listed or not all(isinstance(each, str) and each for each in value):
        raise ConfigRefused(f"{name} = {_told(value)} cannot be used; give a list of names")
    return tuple(value)


def _unknown(name: str, known: list[str], inside: str) -> NoReturn:
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {inside}{near[0]}?" if near else f"; known are: {', '.join(known)}"
    raise ConfigRefused(f"there is no setting {_told(inside + name)}{hint}")


def _told(value: Any) -> str:
    """A value as it may stand in a message: on one line, and short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _document(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as problem:
        raise ConfigRefused(f"cannot be read ({problem.strerror}); give a file of settings") from None
    if len(content) > BYTES_MAX:
        raise ConfigRefused(f"holds more than {BYTES_MAX} bytes; settings need far less")
    try:
        match path.suffix.lower():
            case ".toml":
                return tomllib.loads(content.decode())
            case ".json":
                return json.loads(content, object_pairs_hook=_once)
            case other:
                raise ConfigRefused(f"ends in {other!r}; give a file that ends in .toml or .json")
    except (ValueError, RecursionError) as problem:
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ConfigRefused(f"cannot be read as settings ({told}); mend it") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(names := dict(pairs)) != len(pairs):
        raise ValueError("a setting is given twice")
    return names
