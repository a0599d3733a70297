"""The search for better settings of boosted trees, if the owner gives it time: which trees suit this history?

Settings are tried on the fit slice and told apart by the tune slice; the choice among recipes, and every
figure, come from later slices, so a search that only found noise changes nothing that is reported. The usual
settings are tried first: nothing worse than them on the tune slice is chosen. The same seed proposes the same
settings in the same order (Optuna's tree-structured Parzen estimator); how many are tried before the time is
over depends on the machine, so who needs the same bundle everywhere bounds the trials instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sagacity_training.config import SearchConfig

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSettings:
    """What is searched for; the defaults are the usual ones. The names are LightGBM's."""

    learning_rate: float = 0.06
    num_leaves: int = 8
    min_data_in_leaf: int = 60
    lambda_l2: float = 5.0
    feature_fraction: float = 0.6

    def parameters(self) -> dict[str, float]:
        """The settings by name."""
        return asdict(self)


USUAL: Final = TreeSettings()


def best_settings(
    loss: Callable[[TreeSettings], float], config: SearchConfig | None, *, seed: int
) -> tuple[TreeSettings, int]:
    """The settings of least loss among those tried, and how many were; the usual ones if there is no time.

    At most `trials_max` are tried, and no further one begins after `budget_s`; the usual ones always are.
    """
    if config is None or config.budget_s <= 0:
        return USUAL, 0
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(USUAL.parameters())
    study.optimize(lambda trial: loss(_proposed(trial)), n_trials=config.trials_max, timeout=config.budget_s)
    return TreeSettings(**study.best_params), len(study.trials)


def _proposed(trial: optuna.Trial) -> TreeSettings:
    return TreeSettings(
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        num_leaves=trial.suggest_int("num_leaves", 4, 64, log=True),
        min_data_in_leaf=trial.suggest_int("min_data_in_leaf", 20, 500, log=True),
        lambda_l2=trial.suggest_float("lambda_l2", 0.1, 50.0, log=True),
        feature_fraction=trial.suggest_float("feature_fraction", 0.3, 1.0),
    )
