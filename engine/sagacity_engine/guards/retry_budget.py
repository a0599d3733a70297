"""A service's retry budget: retries may be at most a share of first attempts, plus a burst.

When a service fails for everybody, retries multiply the load that made it fail. A bucket of tokens bounds
that over all sagas: each first attempt earns a share of a token, up to a burst; each retry spends one. So
whatever the steps' retry numbers say, n first attempts lead to at most `share` x n + `burst` retries.

Tokens are counted in millionths, as whole numbers, so that the bound holds to the last retry.
"""

from __future__ import annotations

_TOKEN = 1_000_000


class RetryBudget:
    """The tokens of one service. Begins with `burst`; without a `share`, every retry is paid for.

    >>> budget = RetryBudget(share=0.5, burst=1)
    >>> budget.spend(), budget.spend()
    (True, False)
    >>> budget.earn(), budget.earn(), budget.spend()
    (None, None, True)
    """

    __slots__ = ("_earned", "_most", "_tokens")

    def __init__(self, share: float | None, burst: float) -> None:
        self._earned = None if share is None else round(share * _TOKEN)
        self._tokens = round(burst * _TOKEN)
        self._most = max(_TOKEN, self._tokens)  # A bucket too small for a token would never hold one.

    def earn(self) -> None:
        """A first attempt is made."""
        if self._earned is not None and self._tokens < self._most:
            self._tokens = min(self._most, self._tokens + self._earned)

    def spend(self) -> bool:
        """Whether a retry may be made; it is paid for then."""
        if self._earned is None:
            return True
        if self._tokens < _TOKEN:
            return False
        self._tokens -= _TOKEN
        return True

    @property
    def left(self) -> int | None:
        """Retries that could be paid for now; None when they are not counted."""
        return None if self._earned is None else self._tokens // _TOKEN
