"""Where recorded rows go."""

from sagacity_data.sinks.buffer import Buffer, buffered_rows, forget_buffered
from sagacity_data.sinks.catching_up import CaughtUp, JournalFollower, catch_up
from sagacity_data.sinks.compaction import CompactionPolicy, DatasetSink, compact
from sagacity_data.sinks.listener import RecordingCounts, RecordingListener, RecordingPolicy
from sagacity_data.sinks.port import MemorySink, RowRefused, RowSink
from sagacity_data.sinks.postgres import PostgresSink
from sagacity_data.sinks.process import FollowedCounts, RecordingProcess

__all__ = [
    "Buffer",
    "CaughtUp",
    "CompactionPolicy",
    "DatasetSink",
    "FollowedCounts",
    "JournalFollower",
    "MemorySink",
    "PostgresSink",
    "RecordingCounts",
    "RecordingListener",
    "RecordingPolicy",
    "RecordingProcess",
    "RowRefused",
    "RowSink",
    "buffered_rows",
    "catch_up",
    "compact",
    "forget_buffered",
]
