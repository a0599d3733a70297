"""The spans of one trace as trees: what is whose child, and what nobody's child in the file is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sagacity_data.importers.reading import Tally
from sagacity_data.importers.spans import CALLEE_KINDS, CALLER_KINDS, Span

_BELOW: Final = "/callee"
"""Ends the key of a callee's span that has its caller's id, as in Zipkin's way of tracing."""


class SpanTree:
    """One trace. A key is a span's id, but for callees that share their caller's."""

    def __init__(self, trace: Iterable[Span], tally: Tally) -> None:
        self.spans: dict[str, Span] = {}
        self._tally = tally
        for span in trace:
            self._add(span)
        self._children: dict[str, list[str]] = {}
        for key, span in self.spans.items():
            self._children.setdefault(self._parent(key, span), []).append(key)
        for keys in self._children.values():
            keys.sort(key=lambda key: self.spans[key].order)

    def roots(self) -> list[str]:
        """The keys of the spans that have no parent here, and of the earliest span of every circle."""
        parents = {key: self._parent(key, span) for key, span in self.spans.items()}
        roots = [key for key in self.spans if parents[key] not in self.spans]
        self._count(
            "spans whose parent is not in the file became runs", sum(bool(parents[key]) for key in roots)
        )
        roots.sort(key=lambda key: self.spans[key].order)
        reached: set[str] = set()
        for root in roots:
            self._reach(root, reached)
        for key in sorted(self.spans.keys() - reached, key=lambda key: self.spans[key].order):
            if key not in reached:
                self._count("circles of spans were opened at their earliest span", 1)
                roots.append(key)
                self._reach(key, reached)
        return roots

    def children(self, key: str) -> list[str]:
        """The keys of a span's children, in the order of their starts."""
        return [child for child in self._children.get(key, ()) if child != key]

    def callee(self, key: str) -> Span | None:
        """The span in which the service called did what a caller's span asked for."""
        if self.spans[key].kind in CALLEE_KINDS:
            return None
        below = (self.spans[child] for child in self.children(key))
        return next((span for span in below if span.kind in CALLEE_KINDS), None)

    def _add(self, span: Span) -> None:
        key, known = span.span_id, self.spans.get(span.span_id)
        if known is not None and _halves(known, span):
            caller, callee = (known, span) if known.kind in CALLER_KINDS else (span, known)
            self.spans[key] = caller
            key, span = key + _BELOW, replace(callee, parent_id=key)
            known = self.spans.get(key)
        if known is None:
            self.spans[key] = span
            return
        self._count("spans were told again, and counted once", 1)
        if span.ended and not known.ended:
            self.spans[key] = span

    def _parent(self, key: str, span: Span) -> str:
        if span.parent_id == key:
            return ""
        if key.endswith(_BELOW):
            return span.parent_id
        below = span.parent_id + _BELOW
        return below if below in self.spans else span.parent_id

    def _reach(self, root: str, reached: set[str]) -> None:
        waiting = deque([root])
        while waiting:
            key = waiting.popleft()
            if key not in reached:
                reached.add(key)
                waiting.extend(self._children.get(key, ()))

    def _count(self, note: str, times: int) -> None:
        if times:
            self._tally.notes[note] += times


def _halves(one: Span, other: Span) -> bool:
    """Whether two spans of one id are the two sides of one call."""
    return (one.kind in CALLER_KINDS and other.kind in CALLEE_KINDS) or (
        one.kind in CALLEE_KINDS and other.kind in CALLER_KINDS
    )
