"""How a recorder tells what events alone do not: the kind of a failure, whose run it is, a breaker's state.

Whatever is asked of the embedder's own functions may fail; then the column stays empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sagacity_data.failure_kinds import KIND_OF_CLASS, FailureKind, LabelSource
from sagacity_data.redaction import NO_REDACTION, Redaction, storable
from sagacity_data.rows import ContextValues
from sagacity_data.taxonomy import Taxonomy, default_taxonomy
from sagacity_engine import FailureClass
from sagacity_engine.events import AttemptFailed, AttemptUnknown, UnknownReason


@dataclass(frozen=True, slots=True)
class Words:
    """What is kept of an error's words, what kind of failure it was, and who says so."""

    kept: str
    kind: FailureKind | None
    source: LabelSource | None


NO_WORDS = Words("", None, None)


def tenant_in_context(context: ContextValues) -> str:
    """The context's value under `tenant`; empty where there is none."""
    return str(context.get("tenant", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What an embedder may choose about a recorder; every hook is called in the listeners' thread.

    `tenant_of` is given the context as the redaction left it. `breaker_state` is asked when an attempt
    starts, for the state of a service's breaker in words ("" where unknown).
    """

    taxonomy: Taxonomy = field(default_factory=default_taxonomy)
    redaction: Redaction = NO_REDACTION
    tenant_of: Callable[[ContextValues], str] = tenant_in_context
    breaker_state: Callable[[str], str] | None = None

    def tenant(self, context: ContextValues) -> str:
        """Whose run it is; empty where the hook fails."""
        try:
            return storable(str(self.tenant_of(context)))
        except Exception:  # noqa: BLE001  a hook is foreign code; a run is recorded in any case
            return ""

    def state_of_breaker(self, service: str) -> str:
        """The state of the service's breaker now; empty where nobody knows."""
        if self.breaker_state is None:
            return ""
        try:
            return storable(str(self.breaker_state(service)))
        except Exception:  # noqa: BLE001  (see above)
            return ""

    def words(self, event: AttemptFailed | AttemptUnknown) -> Words:
        """What is told of an attempt that did not succeed.

        The kind is read from the words as the redaction left them, with their numbers; they are kept without.
        """
        said = self.redaction.of_words(event.message)
        kind, source = _kind(event, said, self.taxonomy)
        return Words(self.taxonomy.templated(said), kind, source)


def _kind(
    event: AttemptFailed | AttemptUnknown, said: str, taxonomy: Taxonomy
) -> tuple[FailureKind | None, LabelSource | None]:
    """Nothing where the end tells nothing of the participant. A declared class is believed; the words may say
    more finely which of its kinds it was."""
    if isinstance(event, AttemptUnknown):
        if event.reason is UnknownReason.CRASHED:
            return None, None
        if event.reason is UnknownReason.LOST_REPLY:
            return taxonomy.kind_of("", said), LabelSource.TAXONOMY
        return FailureKind.SLOW, LabelSource.TAXONOMY
    told = taxonomy.kind_of(event.error_type, said)
    if event.failure_class is FailureClass.UNKNOWN:
        return told, LabelSource.TAXONOMY
    if told.failure_class is not event.failure_class:
        told = KIND_OF_CLASS[event.failure_class]
    return told, LabelSource.DECLARED
