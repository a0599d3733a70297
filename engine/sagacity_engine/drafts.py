"""Making frozen values fast.

A frozen dataclass fills its fields in one by one through `object.__setattr__`, which takes four times as long
as filling a value that is not frozen. What is made for every attempt of every step is filled in as a draft
with the same slots, and becomes the frozen value by its last move: of the same class, as equal, as frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """A function that makes what calling the frozen, slotted dataclass makes, from the same arguments.

    A field whose default is made anew for each value must be given.

    >>> @dataclasses.dataclass(frozen=True, slots=True)
    ... class Seat:
    ...     row: int
    ...     letter: str = "A"
    >>> maker(Seat)(12) == Seat(12)
    True
    """
    assert isinstance(kind, type), "a dataclass is a class"
    assert dataclasses.is_dataclass(kind), "only a dataclass says what it holds"
    assert not hasattr(kind, "__post_init__"), "a class that checks its values makes them itself"
    fields = dataclasses.fields(kind)
    names = [field.name for field in fields]
    defaults = tuple(field.default for field in fields if field.default is not dataclasses.MISSING)
    last = fields[len(fields) - len(defaults) :]
    assert defaults == tuple(field.default for field in last), "what need not be given comes last"
    scope: dict[str, Any] = {
        "new": object.__new__,
        "Draft": type("Draft", (), {"__slots__": names}),
        "Kind": kind,
    }
    exec(_TEXT.format(", ".join(names), "; ".join(f"draft.{name} = {name}" for name in names)), scope)  # noqa: S102  the names of fields, as dataclasses do it
    scope["make"].__defaults__ = defaults
    return cast(Callable[P, T], scope["make"])


_TEXT = """\
def make({}):
    draft = new(Draft)
    {}
    draft.__class__ = Kind
    return draft
"""
