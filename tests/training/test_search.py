"""The search tries the usual settings first, and takes nothing that does worse."""

from collections.abc import Callable
from typing import Any

from sagacity_training.config import SearchConfig
from sagacity_training.search import USUAL, TreeSettings, best_settings
from sagacity_training.train import fit_bundle

AMPLE = SearchConfig(budget_s=3_600.0, trials_max=12)


def test_no_time_means_the_usual_settings() -> None:
    """Without a budget nothing is tried."""

    def never(settings: TreeSettings) -> float:
        raise AssertionError(settings)

    assert best_settings(never, None, seed=1) == (USUAL, 0)
    assert best_settings(never, SearchConfig(), seed=1) == (USUAL, 0)


def test_the_usual_settings_come_first_and_stay_where_nothing_is_better() -> None:
    """The first settings tried are the usual ones, and they win where all others lose."""
    tried: list[TreeSettings] = []

    def loss(settings: TreeSettings) -> float:
        tried.append(settings)
        return 0.0 if settings == USUAL else 1.0

    assert best_settings(loss, AMPLE, seed=1) == (USUAL, 12)
    assert tried[0] == USUAL
    assert len(set(tried)) == 12


def test_better_settings_are_found_and_the_seed_decides_which_are_tried() -> None:
    """Settings with less loss are taken; the same seed tries the same ones in the same order."""

    def leaves(settings: TreeSettings) -> float:
        return abs(settings.num_leaves - 40)

    once, again = best_settings(leaves, AMPLE, seed=3), best_settings(leaves, AMPLE, seed=3)
    assert once == again
    assert leaves(once[0]) < leaves(USUAL)


def test_a_searched_bundle_says_what_was_found(make_history: Callable[..., Any]) -> None:
    """Training with a search tells how many settings it tried and which it took; again, it does the same."""
    history = make_history(1_200, seed=3, steps=3)
    config = SearchConfig(budget_s=3_600.0, trials_max=3)
    once, again = (
        fit_bundle(history.rows, seed=1, at=history.end, parts=False, search=config) for _ in range(2)
    )
    assert once.version == again.version
    facts = next(target.facts for target in once.targets if target.name == "service")
    assert facts["settings_tried"] == 3
    assert facts["settings"].keys() == USUAL.parameters().keys()
