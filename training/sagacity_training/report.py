"""What training found, for a reader: every figure beside the base rate's, and why each recipe was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from sagacity_training.targets import Target

_TITLES = {
    "refusal": "refused at the first attempt",
    "classes": "class of a refusal",
    "service": "refused because the service failed",
    "request": "refused because the request is hopeless",
    "durations": "duration of success (natural logarithm)",
}


def report(targets: Sequence[Target], rows: int, runs: int) -> str:
    """The figures of each target as plain text, and where they come from."""
    lines = [
        f"{rows} attempted steps of {runs} runs; figures on the latest 15 % of runs, used for nothing else"
    ]
    for target in targets:
        lines += ["", f"{_TITLES[target.name]}: {target.choice.recipe}", f"  {target.choice.reason}"]
        if target.scores:
            lines += _table(target)
    return "\n".join(lines)


def figures_of(targets: Sequence[Target]) -> dict[str, float]:
    """Every figure under a name such as `refusal.base.log_loss`."""
    return {
        f"{target.name}.{who}.{figure}": value
        for target in targets
        for who, scores in target.scores.items()
        for figure, value in scores.items()
    }


def _table(target: Target) -> list[str]:
    names = list(next(iter(target.scores.values())))
    width = max(map(len, names))
    columns = list(target.scores)
    head = "  " + " " * width + "".join(f"{column:>12}" for column in columns)
    return [head, *("  " + f"{name:<{width}}" + _cells(target, name) for name in names)]


def _cells(target: Target, name: str) -> str:
    values = [target.scores[who].get(name) for who in target.scores]
    return "".join(f"{'-' if value is None else _plain(value):>12}" for value in values)


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4f}"
