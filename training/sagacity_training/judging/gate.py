"""Whether a new model may replace the present one: only with evidence, and evidence is paid for.

A model is promoted if, on rows nothing behind it was fitted on,

1. at least one of its tasks has a forecaster that beats the base rate *and* the champion in log loss, by a
   one-sided bound over blocks of time (`blocks`), with enough rows and enough of the rarer outcome,
2. every task with a forecaster and enough rows to tell is calibrated (ECE, bins of equal mass),
3. no part of any task is badly worse (`slices`), and
4. the labels do not look flipped (`flipped`).

The level of the bound is what the model's error budget has left for this look (`ledger`), shared by the
tasks that are compared and by the candidates that were compared on the same rows before. So a model that is
no better than the base rate or the champion is promoted, over all gatings of one stretch of history, with a
chance of at most `alpha`. Everything refused is refused with the figure and the bound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagacity_training.judging.blocks import Blocks, Bounded
from sagacity_training.judging.flipped import flips_of
from sagacity_training.judging.judged import Judged
from sagacity_training.judging.ledger import Gating, Ledger
from sagacity_training.judging.policy import GatePolicy
from sagacity_training.judging.reliability import calibration_error
from sagacity_training.judging.slices import WHOLE, SliceFigures, slices_of
from sagacity_training.scores import log_losses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says. `spent` is the ledger to keep; `gating` is None where nothing was compared.

    `stands_in` says that the model is the base rates and there is no champion: it is not promoted, but it is
    an honest first one to forecast with until there is a better.
    """

    promoted: bool
    signal: bool
    stands_in: bool
    reasons: tuple[str, ...]
    gating: Gating | None
    spent: Ledger
    slices: tuple[tuple[str, SliceFigures], ...]

    def as_json(self) -> dict[str, Any]:
        """As JSON values, without the ledger."""
        level = None if self.gating is None else {"number": self.gating.number, "level": self.gating.level}
        return {
            "promoted": self.promoted,
            "signal": self.signal,
            "stands_in": self.stands_in,
            "reasons": list(self.reasons),
            "gating": level,
        }


def gate(judged: Sequence[Judged], policy: GatePolicy, spent: Ledger, *, champion: bool = False) -> Verdict:
    """Whether a model of these tasks may be promoted. `champion` says whether there is a present one.

    There also is one where any task has its forecasts. A champion that forecasts none of a task's rows
    cannot be compared with, so that task alone does not promote. Tasks that are advisory have no say.
    """
    judged = [each for each in judged if not each.advisory]
    present = champion or any(each.champion is not None for each in judged)
    parts = tuple((each.task, part) for each in judged for part in slices_of(each, policy))
    with_signal = [each for each in judged if each.has_signal]
    if not with_signal:
        reasons = _without_signal(judged, present=present)
        return Verdict(
            promoted=False, signal=False, stands_in=not present, reasons=reasons, gating=None, spent=spent,
            slices=parts,
        )  # fmt: skip
    refusals = [refusal for each in with_signal if (refusal := _too_little(each, policy, present=present))]
    compared = [each for each in with_signal if not _too_little(each, policy, present=present)]
    gating, wins = None, list[str]()
    if compared:
        gating, spent = _look(compared, policy, spent)
        for each in compared:
            won, words = _compare(each, policy, gating, len(compared))
            (wins if won else refusals).append(words)
    against = [*_uncalibrated(with_signal, policy), *_harmed(parts), *_flipped(judged, policy)]
    return Verdict(
        promoted=bool(wins) and not against,
        signal=True,
        stands_in=False,
        reasons=(*wins, *against, *refusals),
        gating=gating,
        spent=spent,
        slices=parts,
    )


def _without_signal(judged: Sequence[Judged], *, present: bool) -> tuple[str, ...]:
    found = [f"{each.task}: {each.reason}" for each in judged] or ["nothing could be judged"]
    kept = (
        "no signal found: the champion stays"
        if present
        else "no signal found: not promoted as a model; the base rates stand in, as there is no champion yet"
    )
    return (kept, *found)


def _too_little(judged: Judged, policy: GatePolicy, *, present: bool) -> str:
    """Why a task cannot promote whatever it says; empty where it can."""
    if present and judged.champion is None:
        return (
            f"{judged.task}: the champion forecasts none of these rows, so nothing shows that this is better"
        )
    rows = _comparable(judged)
    whom = (
        "held-out rows" if judged.champion is None else "held-out rows that the champion had not learnt from"
    )
    if (count := int(rows.sum())) < policy.test_rows_min:
        return (
            f"{judged.task}: {count} {whom}, fewer than {policy.test_rows_min}; record more, then train again"
        )
    events = int(judged.outcomes[rows].sum())
    if (rarer := min(events, count - events)) < policy.test_events_min:
        return (
            f"{judged.task}: the rarer outcome occurs in {rarer} of {count} {whom}, fewer than "
            f"{policy.test_events_min}; record more, then train again"
        )
    return ""


def _comparable(judged: Judged) -> NDArray[np.bool_]:
    import numpy as np

    if judged.champion is None:
        return np.ones(len(judged), dtype=bool)
    return np.isfinite(judged.champion)


def _look(compared: Sequence[Judged], policy: GatePolicy, spent: Ledger) -> tuple[Gating, Ledger]:
    begin = min(float(each.at[0]) for each in compared)
    end = max(float(each.at[-1]) for each in compared)
    digest = hashlib.sha256()
    for each in compared:
        digest.update(f"{each.task} {len(each)} {each.candidates}".encode())
        for values in (each.outcomes, *each.forecasters().values()):
            digest.update(values.tobytes())
    return spent.look(begin, end, digest.hexdigest()[:32], policy.alpha)


def _compare(judged: Judged, policy: GatePolicy, gating: Gating, tasks: int) -> tuple[bool, str]:
    """Whether the task's forecaster surely beats everybody, and the comparison in words."""
    level = gating.level / tasks / max(1, judged.candidates)
    told = judged.forecasters()
    losses = {name: log_losses(judged.outcomes, forecasts) for name, forecasts in told.items()}
    rows = _comparable(judged)
    blocks = Blocks(judged.cases, policy.blocks)
    won, words = True, []
    for name, known in (("base", None), ("champion", rows)):
        if name not in losses:
            continue
        gain = blocks.bounded(losses[name] - losses["chosen"], level, rows=known)
        won = won and gain.lower > 0
        words.append(_gain_in_words(name, gain))
    verb = "surely better" if won else "not surely better"
    return won, (
        f"{judged.task}: {judged.chosen} is {verb}: {'; '.join(words)} ({len(judged)} held-out rows, "
        f"one-sided bound at {level:.2%}, look {gating.number} at this stretch of history)"
    )


def _gain_in_words(name: str, gain: Bounded) -> str:
    whom = "the base rate" if name == "base" else "the champion"
    side = "below" if gain.mean >= 0 else "above"
    if gain.lower == -float("inf"):
        return f"log loss {abs(gain.mean):.4f} a row {side} {whom}'s, on too few cases for a bound"
    return f"log loss {abs(gain.mean):.4f} a row {side} {whom}'s, gain at least {gain.lower:.4f}"


def _uncalibrated(judged: Sequence[Judged], policy: GatePolicy) -> list[str]:
    return [
        f"{each.task}: calibration error {error:.4f} is above {policy.ece_max:g}"
        for each in judged
        if len(each) >= policy.test_rows_min
        and (error := calibration_error(each.outcomes, each.forecasts)) > policy.ece_max
    ]


def _harmed(parts: Sequence[tuple[str, SliceFigures]]) -> list[str]:
    return [
        f"{task}: {_part_in_words(part)} is badly worse: log loss {part.log_loss:.4f} a row, "
        f"{_owner(part.reference)} {part.log_loss_reference:.4f}, worse by at least {part.harm_lower:.4f}"
        for task, part in parts
        if part.harmed
    ]


def _part_in_words(part: SliceFigures) -> str:
    return "it as a whole" if part.group == WHOLE else f"{part.group} {part.label!r} ({part.rows} rows)"


def _owner(reference: str) -> str:
    return "the base rate's" if reference == "base" else "the champion's"


def _flipped(judged: Sequence[Judged], policy: GatePolicy) -> list[str]:
    return [
        f"{each.task}: labels look flipped: rates rose by {flips.share:.1%} (standard error "
        f"{flips.standard_error:.1%}) alike wherever the champion forecasts; check them, and promote by hand "
        "if they are right"
        for each in judged
        if (flips := flips_of(each, policy)) is not None
    ]
