"""Everything the execution dataset refuses, as one small tree."""

from __future__ import annotations


class DataError(Exception):
    """Base of every error about rows, features, labels and their store."""


class DatasetRefused(DataError):
    """A folder or file cannot be read or written as our dataset; the message names it and the way out."""


class HistoryAhead(DataError):
    """Features were asked for at a time of which the history already knows the future."""


class SignalRefused(DataError):
    """A signal's time is no finite number, or a snapshot is not ours: it cannot become history."""


class RunUnfinished(DataError):
    """The cost of a run was asked for from a history that holds no launch or no end."""


class TaxonomyRefused(DataError):
    """A rule of an error taxonomy cannot be used; the message names the rule and the way out."""
