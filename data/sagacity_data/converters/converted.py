"""What converting a foreign definition gives: our saga, its document, and what was decided on the way.

A conversion never guesses in silence. What another engine says that a saga can say is carried over; what it
says differently becomes a note in words; what no saga can say is refused with the place and the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagacity_data.errors import DataError
from sagacity_engine import Saga


@dataclass(frozen=True, slots=True)
class Converted:
    """A checked saga, the same as a document, and notes for the owner to read before relying on it.

    No step has an action: which function or request stands behind a step is bound later.
    """

    saga: Saga
    document: dict[str, Any]
    notes: tuple[str, ...]


class ConvertRefused(DataError):
    """A definition cannot become a saga. Says which definition, where in it, why, and what to do about it."""

    def __init__(self, name: str, place: str, reason: str, way_out: str) -> None:
        self.name = name
        self.place = place
        self.reason = reason
        self.way_out = way_out
        where = f"{name}, {place}" if place else name
        super().__init__(f"{where}: {reason}; {way_out}")
