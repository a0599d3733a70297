"""The child process of `probe`: reads a bundle's texts, forecasts its golden rows, says one line and ends.

It is short-lived and starts often, so it imports little: LightGBM brings scikit-learn, pandas and more if
they are there, which a booster does not need, and which take four times as long as all the rest.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sagacity_models.bundle import assembled
from sagacity_models.errors import BundleRefused
from sagacity_models.golden import GOLDEN, refusal_of

NOT_NEEDED: Final = ("cffi", "dask", "graphviz", "matplotlib", "pandas", "polars", "pyarrow", "sklearn")
"""What LightGBM imports if it can, and does without if not."""
WRITTEN_BYTES_MAX: Final = 4096


def answered(asked: dict[str, Any]) -> str:
    """`sound`, or what is wrong with the bundle that the question holds."""
    folder, texts = Path(asked["folder"]), asked["texts"]
    if any(name.endswith(".lgb.txt") for name in texts):
        _import_lightgbm()
    # Only now: whatever is imported later would be imported within these limits.
    _limit(resource.RLIMIT_FSIZE, WRITTEN_BYTES_MAX)
    _limit(resource.RLIMIT_AS, asked["memory_bytes"])
    _limit(resource.RLIMIT_CPU, asked["processor_s"])
    try:
        bundle = assembled(folder, asked["manifest"], texts)
        return refusal_of(bundle, texts[GOLDEN]) or "sound"
    except BundleRefused as refusal:
        return _without_place(str(refusal), folder)
    except MemoryError:
        return "needs more memory than the process that tried it may use"
    except Exception as problem:  # noqa: BLE001  whatever it is, the bundle cannot be used
        return f"cannot forecast its golden rows ({type(problem).__name__}: {str(problem)[:200]})"


def _import_lightgbm() -> None:
    for name in NOT_NEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # how Python notes "there is no such"
    import_module("lightgbm")


def _limit(kind: int, most: int) -> None:
    """Lower a limit for good; one that was lower already stays."""
    _, ceiling = resource.getrlimit(kind)
    limit = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
    resource.setrlimit(kind, (limit, limit))


def _without_place(refusal: str, folder: Path) -> str:
    """What is wrong alone: the parent says where, and what to do."""
    told = refusal.removeprefix(f"the bundle in {folder} ")
    return told.rpartition("; ")[0] or told


if __name__ == "__main__":
    _limit(resource.RLIMIT_CORE, 0)
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library prints must not end up in the answer.
    print(answered(json.load(sys.stdin)), file=answer, flush=True)
    os._exit(0)  # Nothing is left to be tidied up, and tidying takes time.
