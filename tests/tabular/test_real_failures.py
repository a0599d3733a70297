"""Real failure classes, told on groups of experiments that training has not seen."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def test_groups_are_linked_through_others(failures: ModuleType) -> None:
    """Counts 0, 2 and 4 link at distance 2 and not at 1; 9 stands alone."""
    counts = np.array([[0], [9], [4], [2]])
    near, apart = failures.groups_of(counts, 2), failures.groups_of(counts, 1)
    assert near[0] == near[2] == near[3] != near[1]
    assert len(set(apart.tolist())) == 4


@pytest.mark.parametrize("distance", [0, 2])
def test_no_group_straddles_a_split(failures: ModuleType, shared_data: Path, distance: int) -> None:
    """Every row is in training or test once, and no test row has a near one in training."""
    _, counts, labels = failures.experiments(shared_data / "failures/openstack/DEPL")
    train, test = failures.split(labels, failures.groups_of(counts, distance), 0)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(labels)))
    assert set(labels[test].tolist()) == set(range(len(failures.CLASSES)))
    gaps = [np.abs(counts[train] - counts[row]).sum(axis=1).min() for row in test]
    assert min(gaps) > distance


@pytest.mark.slow
def test_real_classes_are_told(failures: ModuleType, shared_data: Path) -> None:
    """Macro-F1 of at least 0.90 over two duplicate-aware splits."""
    found = failures.figures(shared_data / "failures/openstack/DEPL", splits=2)
    assert found.macro_f1 >= 0.90
