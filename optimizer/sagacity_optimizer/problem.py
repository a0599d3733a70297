"""One saga under one forecast, in the terms the optimizer computes with.

`Structure` is what depends on the saga alone (bit masks, kinds, the author's plan); it is kept in a bounded
cache by definition hash because a service asks about the same few definitions again and again. `Problem`
adds the forecast: the law of every compensation, which no plan can change. Step i is bit i, in the author's
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from sagacity_engine import precedence
from sagacity_engine.errors import SagaRefused
from sagacity_engine.parts import Kind
from sagacity_engine.plan import Plan, author_plan
from sagacity_engine.saga import Saga, Step
from sagacity_models.forecast import SagaForecast
from sagacity_optimizer import ideals, undo_times
from sagacity_optimizer.errors import ForecastRefused
from sagacity_optimizer.outcomes import NO_UNDO, Cuts, UndoLaw, undo_law
from sagacity_optimizer.priced import unpriced

STRUCTURES_KEPT = 128
IDEALS_KEPT = 20_000
Floats = npt.NDArray[np.float64]


class Structure:
    """What a saga's definition alone says; everything is computed once."""

    def __init__(self, saga: Saga) -> None:
        self.saga = saga
        self.names = saga.names
        self.position: Mapping[str, int] = {name: i for i, name in enumerate(saga.names)}
        self.pivot = self.position[saga.pivot.name] if saga.pivot else -1
        self.undoable = tuple(_undoable(step) for step in saga.steps)
        self.stands = tuple(
            step.kind is Kind.RETRIABLE and step.compensation is None for step in saga.steps
        )  # an effect without a compensation: an abort after it needs attention
        self.author: Plan = author_plan(saga)
        self._lattices: dict[int, ideals.Lattice | None] = {}

    @cached_property
    def before(self) -> tuple[int, ...]:
        """Per step, the mask of the steps that the saga's arcs put directly before it."""
        return tuple(sum(1 << self.position[b] for b in self.saga.arcs[name]) for name in self.names)

    @cached_property
    def before_lists(self) -> tuple[tuple[int, ...], ...]:
        """Per step, the positions of the steps that the saga's arcs put directly before it."""
        return tuple(tuple(sorted(self.position[b] for b in self.saga.arcs[name])) for name in self.names)

    @cached_property
    def ancestors(self) -> tuple[int, ...]:
        """Per step, the mask of everything that must be settled before it."""
        masks = precedence.ancestors(self.names, self.saga.arcs)
        return tuple(masks[name] for name in self.names)

    @cached_property
    def by_name_order(self) -> tuple[int, ...]:
        """Positions sorted by step name: the order in which ties are broken."""
        return tuple(sorted(range(len(self.names)), key=self.names.__getitem__))

    def lattice(self, most: int) -> ideals.Lattice | None:
        """The ideals of the saga's arcs, or None when there are more than `most`; small ones are kept."""
        if most not in self._lattices:
            found = ideals.lattice_of(self.before, self.by_name_order, self.pivot, most)
            if found is not None and found.ideals > IDEALS_KEPT:
                return found
            self._lattices[most] = found
        return self._lattices[most]


class Problem:
    """A saga, its structure, and the laws of its compensations under one forecast."""

    def __init__(self, saga: Saga, forecast: SagaForecast) -> None:
        if missing := [name for name in saga.names if name not in forecast.steps]:
            raise ForecastRefused(
                f"the forecast says nothing about step {missing[0]!r} of saga {saga.name!r}; "
                "forecast every step of the saga"
            )
        if part := unpriced(saga):
            raise SagaRefused(f"saga {saga.name!r} cannot be predicted: {part}; leave that part out to try")
        self.saga = saga
        self.forecast = forecast
        self.structure = structure_of(saga)
        self.steps: tuple[Step, ...] = saga.steps
        self.per_s = saga.policy.latency_cost_per_s
        self.cuts = Cuts()
        self.penalty = saga.policy.failure_penalty
        self.undos: tuple[UndoLaw, ...] = tuple(
            undo_law(step.compensation, forecast.steps[step.name].undo) if undoable else NO_UNDO
            for step, undoable in zip(saga.steps, self.structure.undoable, strict=True)
        )

    @cached_property
    def undo_samples(self) -> Floats:
        """Sampled durations of the compensations: a row per step, each with the exact mean."""
        return undo_times.sampled(self.steps, self.structure.undoable, self.undos, self.forecast)

    @cached_property
    def undo_paths(self) -> Floats:
        """Row j: sampled undo time of the longest dependency chain that ends in j, every effect present."""
        order = range(len(self.steps))  # the author's listing puts predecessors first
        return undo_times.longest_paths(self.undo_samples, self.structure.before_lists, order)

    @cached_property
    def presence_draws(self) -> Floats:
        """Uniform numbers beside `undo_samples` that say whether an optional step's effect is there."""
        return undo_times.presence_draws(len(self.steps))


def structure_of(saga: Saga) -> Structure:
    """The structure of `saga`, from the cache when this definition was seen before."""
    return _structure(_ByDefinition(saga))


class _ByDefinition:
    """A saga as a cache key: equal when the definitions are."""

    __slots__ = ("saga",)

    def __init__(self, saga: Saga) -> None:
        self.saga = saga

    def __hash__(self) -> int:
        return hash(self.saga.definition_hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDefinition) and self.saga.definition_hash == other.saga.definition_hash


@lru_cache(maxsize=STRUCTURES_KEPT)
def _structure(key: _ByDefinition) -> Structure:
    return Structure(key.saga)


def _undoable(step: Step) -> bool:
    """Whether the engine would run a compensation for this step."""
    return step.kind in (Kind.COMPENSATABLE, Kind.RETRIABLE) and step.compensation is not None
