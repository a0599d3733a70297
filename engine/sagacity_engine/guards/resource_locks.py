"""Resources that no two runs hold at once, each with its line of runs that wait.

A run asks for all its keys at once. It takes them one by one in sorted order, and waits in the line of the
first that another run holds, keeping those it has. As every run climbs in the same order, none ever waits for
one that waits for it, and as every line is served in order, everybody is granted in the end, provided that
holders let go. Held in memory by one thread: the journal knows who held what (`LocksAcquired`), and after a
restart those ask first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial

from sagacity_engine.guards.turns import CallBack, Turns


class _Claim:
    """What one run asked for: it holds the first `held` of its keys and waits for the next."""

    __slots__ = ("granted", "held", "keys", "run_id")

    def __init__(self, run_id: str, keys: tuple[str, ...], granted: CallBack | None) -> None:
        self.run_id = run_id
        self.keys = keys
        self.granted = granted
        self.held = 0


class ResourceLocks:
    """The resources of one engine, by key. A run asks once, and again only after it let everything go."""

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}
        self._lines: dict[str, OrderedDict[str, _Claim]] = {}  # By key; the first holds it.
        self._turns = Turns()

    def ask(self, run_id: str, keys: Iterable[str], granted: CallBack) -> bool:
        """True when the run holds all the keys at once; else `granted` is called once, when it does.

        It is never called after `release`.
        """
        return self._climb(self._claim(run_id, keys, granted))

    def try_all(self, run_id: str, keys: Iterable[str]) -> tuple[str, ...]:
        """Takes all the keys or none; returns those that other runs hold, sorted."""
        keys = tuple(sorted(set(keys)))
        held = tuple(key for key in keys if key in self._lines)
        if not held:
            self._climb(self._claim(run_id, keys, None))
        return held

    def release(self, run_id: str) -> None:
        """The run lets go of all it holds, and waits no longer; one that never asked lets go of nothing."""
        claim = self._claims.pop(run_id, None)
        if claim is None:
            return
        if claim.held < len(claim.keys):
            del self._lines[claim.keys[claim.held]][run_id]
        ready = [each for key in claim.keys[: claim.held] if (each := self._pass_on(key)) is not None]
        for each in ready:
            self._turns.take(partial(self._grant, each))

    def holder(self, key: str) -> str | None:
        """The run that holds the key, if one does."""
        line = self._lines.get(key)
        return None if line is None else next(iter(line))

    def has_asked(self, run_id: str) -> bool:
        """Whether the run holds its keys or waits for them."""
        return run_id in self._claims

    def waiting(self, run_id: str) -> str | None:
        """The key that the run waits for; None when it holds all its keys, or never asked."""
        claim = self._claims.get(run_id)
        if claim is None or claim.held == len(claim.keys):
            return None
        return claim.keys[claim.held]

    def _claim(self, run_id: str, keys: Iterable[str], granted: CallBack | None) -> _Claim:
        assert run_id not in self._claims, "a run asks once, and again only after it let go"
        claim = self._claims[run_id] = _Claim(run_id, tuple(sorted(set(keys))), granted)
        return claim

    def _climb(self, claim: _Claim) -> bool:
        """Takes the next keys as far as they are free; whether the run holds all of them now."""
        while claim.held < len(claim.keys):
            key = claim.keys[claim.held]
            line = self._lines.get(key)
            if line is not None:
                line[claim.run_id] = claim
                return False
            self._lines[key] = OrderedDict({claim.run_id: claim})
            claim.held += 1
        return True

    def _pass_on(self, key: str) -> _Claim | None:
        """Gives a key to the next in line; that run's claim if it holds all its keys now."""
        line = self._lines[key]
        line.popitem(last=False)
        if not line:
            del self._lines[key]
            return None
        claim = next(iter(line.values()))
        claim.held += 1
        return claim if self._climb(claim) else None

    def _grant(self, claim: _Claim) -> None:
        if self._claims.get(claim.run_id) is claim and claim.granted is not None:
            claim.granted()
