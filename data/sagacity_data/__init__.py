"""The execution dataset: what happened, and what was known when."""

from sagacity_data.cost import RunCost, run_cost, state_cost
from sagacity_data.errors import DataError, DatasetRefused, HistoryAhead, RunUnfinished, SignalRefused
from sagacity_data.feature_catalogue import FEATURE_NAMES, FEATURES, TEXT_FEATURES, Feature
from sagacity_data.features import LaunchFeatures
from sagacity_data.labels import LABEL_WINDOW_S, Label, LabelSource, label
from sagacity_data.recorder import Recorder
from sagacity_data.replay import replayed
from sagacity_data.rows import SCHEMA_VERSION, AttemptOutcome, AttemptRow, Row, RunRow
from sagacity_data.signals import CallEnded, CallStarted, RunClosed, RunOpened, Signal, signals
from sagacity_data.store import DatasetStore, StoreDescription
from sagacity_data.training_frame import attempts_frame, feature_columns, launch_frame

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "LABEL_WINDOW_S",
    "SCHEMA_VERSION",
    "TEXT_FEATURES",
    "AttemptOutcome",
    "AttemptRow",
    "CallEnded",
    "CallStarted",
    "DataError",
    "DatasetRefused",
    "DatasetStore",
    "Feature",
    "HistoryAhead",
    "Label",
    "LabelSource",
    "LaunchFeatures",
    "Recorder",
    "Row",
    "RunClosed",
    "RunCost",
    "RunOpened",
    "RunRow",
    "RunUnfinished",
    "Signal",
    "SignalRefused",
    "StoreDescription",
    "attempts_frame",
    "feature_columns",
    "label",
    "launch_frame",
    "replayed",
    "run_cost",
    "signals",
    "state_cost",
]
