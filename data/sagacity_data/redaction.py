"""What of a run may reach the dataset at all.

Inputs and outputs never do: rows have no column for them. What does is the caller's context, the words of
errors and the reasons of runs, and each goes through a `Redaction` before anything else is done with it: what
is dropped here is in no row, in no feature and in no state of the feature fold. A redaction that fails drops
what it was asked about: nobody's mistake puts a secret on a disk.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sagacity_data.rows import ContextValues, Scalar

RedactScalar = Callable[[str, Scalar], Scalar | None]
"""What stands in the place of a context value, by its key; None drops it."""

RedactWords = Callable[[str], str]
"""What stands in the place of an error's words, or of the reason a run ended for."""

DIGEST_CHARS: Final = 16


def _as_it_is(key: str, value: Scalar) -> Scalar | None:
    del key
    return value


def _as_they_are(words: str) -> str:
    return words


@dataclass(frozen=True, slots=True)
class Redaction:
    """The two hooks; each is called in the listeners' thread and must not take long."""

    context: RedactScalar = _as_it_is
    words: RedactWords = _as_they_are

    def of_context(self, context: Mapping[str, Any]) -> ContextValues:
        """The context as the dataset has it, and as features must be asked for.

        Those are texts, truth values and finite numbers that the hook let through.

        >>> Redaction(dropping("email")).of_context({"email": "ann@example.org", "party": 3, "seats": [1]})
        {'party': 3}
        """
        kept: dict[str, Scalar] = {}
        for key, value in context.items():
            told = self._told(key, value) if _is_scalar(value) else None
            if told is not None and _is_scalar(told):
                kept[storable(key)] = storable(told) if isinstance(told, str) else told
        return kept

    def of_words(self, words: str) -> str:
        """The words as the dataset has them; none where the hook fails."""
        if not words:
            return ""
        try:
            return _text(self.words(words))
        except Exception:  # noqa: BLE001  a hook is foreign code; what it cannot judge is not kept
            return ""

    def _told(self, key: str, value: Scalar) -> Scalar | None:
        try:
            return self.context(key, value)
        except Exception:  # noqa: BLE001  (see above)
            return None


NO_REDACTION: Final = Redaction()


def keeping(*keys: str) -> RedactScalar:
    """A hook that drops every key but these: what is not named yet is not kept either."""
    return lambda key, value: value if key in keys else None


def dropping(*keys: str) -> RedactScalar:
    """A hook that drops these keys."""
    return lambda key, value: None if key in keys else value


def pseudonyms(secret: bytes, *keys: str) -> RedactScalar:
    """A hook that puts a keyed digest in the place of these keys' values: equal ones stay equal.

    Whoever has the secret can find a value again by trying; without it nobody can. Raises `ValueError` for a
    secret shorter than 16 bytes.
    """
    if len(secret) < 16:
        raise ValueError(f"the secret has {len(secret)} bytes; give at least 16 random ones")

    def hook(key: str, value: Scalar) -> Scalar:
        if key not in keys:
            return value
        return hmac.new(secret, f"{key}\0{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[
            :DIGEST_CHARS
        ]

    return hook


def no_words(words: str) -> str:
    """A hook that keeps no words at all."""
    del words
    return ""


def storable(text: str) -> str:
    """The text with what not every store can hold replaced: half characters, and the character 0.

    >>> storable("caf\\x00e")
    'caf\\ufffde'
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _text(told: object) -> str:
    """What a hook answered, which need not be what its type says."""
    return storable(told) if isinstance(told, str) else ""


def _is_scalar(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and _is_finite(value))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number beyond every float.
        return False
