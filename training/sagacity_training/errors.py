"""Everything training refuses, as one small tree."""

from __future__ import annotations


class TrainingError(Exception):
    """Base of every error this package raises."""


class NothingToLearn(TrainingError):
    """The dataset holds no attempt with a known launch and end; the message says what was looked at."""


class NotKept(TrainingError):
    """The folder of a bundle was asked for that training was not told to keep."""
