"""The barrier: makes a participant's steps safe to be called twice, late or in vain."""

from sagacity_engine.barrier.barrier import Barrier
from sagacity_engine.barrier.entries import Once, Outcome, Undo
from sagacity_engine.barrier.postgres import PostgresBarrier
from sagacity_engine.barrier.refusals import BarrierMisused, Hanging
from sagacity_engine.barrier.sqlite import SqliteBarrier
from sagacity_engine.barrier.table import SCHEMA

__all__ = [
    "SCHEMA",
    "Barrier",
    "BarrierMisused",
    "Hanging",
    "Once",
    "Outcome",
    "PostgresBarrier",
    "SqliteBarrier",
    "Undo",
]
