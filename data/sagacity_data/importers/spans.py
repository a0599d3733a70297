"""One span of a trace, whatever format told it: what OTLP and Jaeger files are read into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from sagacity_data.rows import Scalar

Tags = Mapping[str, Scalar]
NO_TAGS: Final[Tags] = MappingProxyType({})

CALLER_KINDS: Final = ("client", "producer")
CALLEE_KINDS: Final = ("server", "consumer")
KINDS: Final = (*CALLER_KINDS, *CALLEE_KINDS, "internal", "")
"""The kinds of spans; empty where the span does not say."""

NAMELESS: Final = "(unnamed)"
UNTOLD_SERVICE: Final = "OTLPResourceNoServiceName"
"""What Jaeger calls the service of a resource that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Times in whole microseconds since 1970 UTC, the finest that Jaeger keeps."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str = NAMELESS
    kind: str = ""  # One of `KINDS`, or a word that nobody knows.
    service: str = ""
    start_us: int | None = None
    end_us: int | None = None
    ended: bool = True  # False: it was still going on. A span that has ended may lack a readable end.
    status: str = ""  # "ok", "error", or empty where nobody set it.
    message: str = ""  # That came with the status.
    tags: Tags = field(default_factory=lambda: NO_TAGS)
    resource: Tags = field(default_factory=lambda: NO_TAGS)
    exception_type: str = ""
    exception_message: str = ""

    @property
    def order(self) -> tuple[bool, int, bool, int, str]:
        """Sorts spans by start, those without one last, alike for every format."""
        start, end = self.start_us, self.end_us
        return (start is None, start or 0, end is None, end or 0, self.span_id)
