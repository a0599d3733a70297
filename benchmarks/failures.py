"""Classes of failure in real fault-injection experiments on OpenStack, told from counts of API events.

    python benchmarks/failures.py [--folder ../shared/data/failures/openstack/DEPL] [--splits 10] [--json]

1,076 experiments of the DEPL campaign: how often each of 104 kinds of event was seen, and which of six
classes the failure was ("no failure" among them). Many experiments repeat one another, so a split by rows
would test what was trained on. Here experiments are linked whose counts differ by at most `distance` in sum
over all events (L1), and everything that is linked, directly or through others, is one group; a group is in
training or in the test, whole.

| distance | groups |
|---|---|
| 0 | experiments with equal counts |
| 2 | also those that differ by two events, or by one event in place of another |

Linking at 2 chains: the largest group has 301 rows of several classes, so that split asks for more than new
duplicates: for kinds of runs of which nothing alike was seen. Each split is seeded and takes a quarter of
the groups of every class (a group's class is its commonest) for the test. `learn` fits, tunes, calibrates
and selects inside the training groups only, in eight folds of groups, for the experiments have no time.

The interval is that of the mean over splits (1.96 standard errors); splits share rows, so it tells how far a
repetition with other seeds would move, not how far other data would.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagacity_training.failure_classes import macro_f1
from sagacity_training.learners import learn
from sagacity_training.learners_config import LearnerConfig
from sagacity_training.learners_table import RowFacts

FOLDER = Path(__file__).resolve().parents[2] / "shared/data/failures/openstack/DEPL"
CLASSES = ("instance", "volume", "ssh", "cleanup", "network", "none")
TEST_SHARE = 0.25
DISTANCES = (0, 2)
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One split's figures."""

    seed: int
    n_train: int
    n_test: int
    macro_f1: float
    accuracy: float
    chosen: str


@dataclass(frozen=True)
class Figures:
    """All splits at one distance: the mean macro-F1, its interval, and the lowest split."""

    distance: int
    groups: int
    largest: int
    macro_f1: float
    low: float
    high: float
    lowest: float
    f1_of_class: dict[str, float]
    splits: list[Split]


def experiments(folder: Path = FOLDER) -> tuple[list[str], Counts, Counts]:
    """The events' names, the counts (experiments x events) and the classes, from 0."""
    lines = (folder / "SEQ.tsv").read_text("utf-8").splitlines()
    names = lines[0].split("\t")
    counts = np.array([[int(float(cell)) for cell in line.split("\t")] for line in lines[1:]])
    labels = np.array([int(line) for line in (folder / "Failure_Labels.txt").read_text("utf-8").split()])
    if counts.shape != (len(labels), len(names)):
        raise ValueError(f"{folder}: {counts.shape} counts for {len(labels)} labels and {len(names)} events")
    return names, counts, labels - 1


def groups_of(counts: Counts, distance: int) -> Counts:
    """One number per row: rows are alike that are linked by steps of at most `distance` (L1)."""
    group = np.arange(len(counts))
    for row in range(len(counts)):
        near = np.abs(counts[row + 1 :] - counts[row]).sum(axis=1) <= distance
        for linked in np.unique(group[row + 1 :][near]):
            group[group == linked] = group[row]
    return group


def split(labels: Counts, groups: Counts, seed: int) -> tuple[Counts, Counts]:
    """The rows of training, in a drawn order that keeps groups together, and those of the test."""
    rng = np.random.default_rng(seed)
    class_of = {group: Counter(labels[groups == group]).most_common(1)[0][0] for group in np.unique(groups)}
    test: set[int] = set()
    for number in range(len(CLASSES)):
        own = [group for group, common in class_of.items() if common == number]
        test.update(rng.permutation(own)[: round(TEST_SHARE * len(own))])
    order = {group: place for place, group in enumerate(rng.permutation(list(class_of)))}
    rows = np.array(sorted(range(len(labels)), key=lambda row: (order[groups[row]], row)))
    held = np.isin(groups[rows], list(test))
    return rows[~held], rows[held]


def figures(folder: Path = FOLDER, distance: int = 0, splits: int = 10) -> Figures:
    """Macro-F1 over seeded splits of groups that are `distance` apart."""
    names, counts, labels = experiments(folder)
    groups = groups_of(counts, distance)
    found: list[Split] = []
    pairs: list[tuple[Counts, Counts]] = []
    for seed in range(splits):
        train, test = split(labels, groups, seed)
        columns = {name: counts[train, place].astype(float).tolist() for place, name in enumerate(names)}
        told = learn(
            columns,
            labels[train],
            np.arange(len(train), dtype=float),
            classes=CLASSES,
            seed=seed,
            task="openstack",
            facts=RowFacts(cases=groups[train]),
            config=LearnerConfig(folds=8),
        )
        rows = [dict(zip(names, map(float, counts[row]), strict=True)) for row in test]
        predicted = np.array(told.forecaster.probabilities(rows)).argmax(axis=1)
        pairs.append((labels[test], predicted))
        found.append(
            Split(
                seed,
                len(train),
                len(test),
                macro_f1(labels[test].tolist(), predicted.tolist()),
                float((predicted == labels[test]).mean()),
                told.forecaster.recipe.value,
            )
        )
    scores = np.array([each.macro_f1 for each in found])
    margin = 1.96 * float(scores.std(ddof=1)) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
    sizes = Counter(groups.tolist())
    return Figures(
        distance,
        len(sizes),
        max(sizes.values()),
        float(scores.mean()),
        float(scores.mean()) - margin,
        float(scores.mean()) + margin,
        float(scores.min()),
        _by_class(pairs),
        found,
    )


def _by_class(pairs: list[tuple[Counts, Counts]]) -> dict[str, float]:
    """F1 of each class over all splits together."""
    true, told = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return {
        name: float(2 * ((true == n) & (told == n)).sum() / ((true == n).sum() + (told == n).sum()))
        for n, name in enumerate(CLASSES)
    }


def main() -> None:
    """Prints one line a distance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    for distance in DISTANCES:
        found = figures(told.folder, distance, told.splits)
        if told.json:
            written: dict[str, Any] = asdict(found)
            print(json.dumps(written))
            continue
        print(
            f"distance {distance}: {found.groups} groups, the largest of {found.largest} rows; macro-F1 "
            f"{found.macro_f1:.3f} [{found.low:.3f}, {found.high:.3f}] over {len(found.splits)} splits, "
            f"lowest {found.lowest:.3f}; chosen {dict(Counter(each.chosen for each in found.splits))}; "
            f"F1 by class { ({name: round(score, 3) for name, score in found.f1_of_class.items()}) }",
            flush=True,
        )


if __name__ == "__main__":
    main()
