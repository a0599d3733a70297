"""What the models of both causes say together: is a first attempt refused at all, and of which class is it?

Nothing is fitted here. Either the service fails, or it answers and the request is hopeless; the classes
follow: the request's part is permanent, the service's is seen as its `HealthLaw` says an ill or a well
service is seen. The figures come from the same select slice as those of the causes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sagacity_engine.errors import FailureClass
from sagacity_models.base_rates import CLASSES, BaseRates, StepRates
from sagacity_models.forecast import StepForecast
from sagacity_models.step_models import Recipe, composed
from sagacity_training.matrices import Matrices
from sagacity_training.recipes import Choice, choose
from sagacity_training.refusals import figures_of_forecasts
from sagacity_training.scores import log_losses
from sagacity_training.step_columns import SEEN
from sagacity_training.targets import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEITHER = Choice(Recipe.BASE, "no signal: neither cause of a refusal has a model", {})


def composed_targets(
    select: Matrices, base: BaseRates, service: Array, request: Array, *, fitted: bool
) -> tuple[Target, Target]:
    """The targets "refusal" and "classes", from both causes' forecasts for the rows of `select`.

    `fitted` says whether either cause has a model; without, the base rates are all there is.
    """
    return (
        _refusal(select, base, service, request, fitted=fitted),
        _classes(select, base, service, request, fitted=fitted),
    )


def _refusal(select: Matrices, base: BaseRates, service: Array, request: Array, *, fitted: bool) -> Target:
    outcomes = select.table.refused.astype("float64")
    usual = select.based(base, lambda rates: rates.refusal)
    told: Array = service + (1 - service) * request
    choice = NEITHER
    if fitted and len(outcomes):
        choice = choose(log_losses(outcomes, usual), {Recipe.CAUSES: log_losses(outcomes, told)})
    scored = {"base": usual, "causes": told} if fitted else {"base": usual}
    figures = {who: figures_of_forecasts(outcomes, each) for who, each in scored.items()}
    return Target("refusal", choice, figures if len(outcomes) else {}, outcomes, told)


def _classes(select: Matrices, base: BaseRates, service: Array, request: Array, *, fitted: bool) -> Target:
    import numpy as np

    places = np.flatnonzero(select.table.failure_class >= 0).tolist()
    told_of = select.table.where(select.table.failure_class >= 0)
    rates = [base.of_key(*pair) for pair in zip(told_of.step_keys(), told_of.services(), strict=True)]
    labels = [CLASSES.index(SEEN[code]) for code in told_of.failure_class.tolist()]
    outcomes = np.array(labels, dtype=np.int64)
    shape = len(places), len(CLASSES)
    usual = np.array([_known_shares(each.shares, each) for each in rates]).reshape(shape)
    parts = [class_shares(each, service[n], request[n]) for n, each in zip(places, rates, strict=True)]
    told = np.array(parts).reshape(shape)
    scored = {"base": usual, "causes": told} if fitted else {"base": usual}
    losses = {who: -np.log(each[np.arange(len(labels)), outcomes]) for who, each in scored.items()}
    choice = choose(losses["base"], {Recipe.CAUSES: losses["causes"]}) if fitted and labels else NEITHER
    figures = {
        who: {
            "log_loss": float(losses[who].mean()),
            "accuracy": float((each.argmax(axis=1) == outcomes).mean()),
            "n": float(len(labels)),
        }
        for who, each in scored.items()
        if labels
    }
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(counts, (outcomes, (told if fitted else usual).argmax(axis=1)), 1)
    facts = {"classes": [each.value for each in CLASSES], "confusion": counts.tolist()}
    return Target("classes", choice, figures, outcomes.astype(np.float64), told, facts)


def class_shares(rates: StepRates, service: float, request: float) -> list[float]:
    """P(class | the first attempt is refused) over `CLASSES`, as the served regimes have it."""
    refusal, hopeless = composed(float(service), float(request))
    regimes = rates.regimes(refusal, {FailureClass.PERMANENT: hopeless})
    forecast = StepForecast(regimes=regimes, undo=rates.undo)
    return _known_shares(forecast.class_shares, rates)


def _known_shares(shares: Mapping[FailureClass, float], rates: StepRates) -> list[float]:
    """Shares over `CLASSES` that sum to 1; what would be seen as unknown is spread like the base's."""
    told = [shares.get(each, 0.0) for each in CLASSES]
    usual = [rates.shares.get(each, 0.0) + 1e-4 for each in CLASSES]
    unknown = max(0.0, 1 - sum(told))
    mixed = [max(part, 1e-4) + unknown * own / sum(usual) for part, own in zip(told, usual, strict=True)]
    return [part / sum(mixed) for part in mixed]
