"""Names of states as names of steps: letters, digits, `_`, `-` and `.`, each one once."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Final

NAME_MAX: Final = 120


def step_names(states: Iterable[str]) -> dict[str, str]:
    """A step's name for each state's.

    >>> step_names(["Book Room", "Book-Room!", "Book_Room"])
    {'Book Room': 'Book_Room', 'Book-Room!': 'Book-Room', 'Book_Room': 'Book_Room_2'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for state in states:
        names[state] = unused(usable(state, "step"), taken)
        taken.add(names[state])
    return names


def usable(name: str, otherwise: str) -> str:
    """The name in characters that a document allows, or `otherwise` if nothing is left of it."""
    clean = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("_.-").rstrip("_")[:NAME_MAX]
    return clean or otherwise


def unused(name: str, taken: Container[str]) -> str:
    """The name, with a number if it is taken."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
