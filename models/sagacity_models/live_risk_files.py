"""The files that hold live risk inside a bundle: their names, and what is checked when they are read.

`LiveRisk` tells its parts as named texts with folders in their names; a bundle is flat, and calls every text
of LightGBM `*.lgb.txt`, because those are what may end a process. So the names are a table, and any other
name is refused. Trees are checked as those of other parts are: finite leaves, one output, as many columns as
the features have.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sagacity_models.boosted import BoostedModel
from sagacity_models.case_outcome import CaseModelRefused
from sagacity_models.live_risk import LiveRisk

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "live_risk.json": "live_risk.json",
        "rates.json": "live_risk.rates.json",
        "outcome/case_model.json": "live_risk.outcome.json",
        "outcome/logistic.json": "live_risk.outcome.logistic.json",
        "outcome/lightgbm.txt": "live_risk.outcome.lgb.txt",
        "remaining/remaining.json": "live_risk.remaining.json",
        "remaining/remaining.lgb.txt": "live_risk.remaining.lgb.txt",
        "remaining_good/remaining.json": "live_risk.remaining_good.json",
        "remaining_good/remaining.lgb.txt": "live_risk.remaining_good.lgb.txt",
    }
)
"""The bundle's file of each text of `LiveRisk.texts`."""

_TEXTS: Final = {file: name for name, file in NAMES.items()}


def files_of(risk: LiveRisk) -> dict[str, str]:
    """The texts by the names that they have in a bundle."""
    return {NAMES[name]: text for name, text in risk.texts().items()}


def read_files(files: Mapping[str, str]) -> LiveRisk:
    """The live risk that `files_of` wrote. Raises `ValueError`, or what nonsense raises."""
    if strange := sorted(files.keys() - _TEXTS.keys()):
        raise ValueError(f"no part of live risk reads {strange[0]}")
    try:
        risk = LiveRisk.from_texts({_TEXTS[file]: text for file, text in files.items()})
    except CaseModelRefused as refusal:
        raise ValueError(str(refusal)) from None
    for file, text in files.items():
        if file.endswith(".lgb.txt"):
            _check_trees(file, text, risk.outcome.layout.width)
    return risk


def _check_trees(file: str, text: str, columns: int) -> None:
    trees = BoostedModel(text)
    if (trees.columns, trees.outputs) != (columns, 1):
        raise ValueError(f"{file} has trees of {trees.columns} columns and {trees.outputs} outputs")
