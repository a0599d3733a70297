"""What participants really did: one line of a ledger for each effect."""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine.events import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A participant really did something, for this run, step, direction and attempt.

    `honours_keys` says whether the participant promises one effect per idempotency key.
    """

    step: str
    direction: Direction
    attempt: int
    key: str = ""
    honours_keys: bool = False
