"""The execution dataset: what happened, and what was known when."""

from sagacity_data.attempt_features import attempt_features
from sagacity_data.cost import RunCost, run_cost, state_cost
from sagacity_data.errors import DataError, DatasetRefused, HistoryAhead, RunUnfinished, SignalRefused
from sagacity_data.failure_kinds import FailureKind, LabelSource
from sagacity_data.feature_catalogue import ATTEMPT_FEATURES, FEATURE_NAMES, FEATURES, TEXT_FEATURES, Feature
from sagacity_data.features import LaunchFeatures
from sagacity_data.labels import LABEL_WINDOW_S, Label, label
from sagacity_data.leaks import Leak, LeakKind, leaks
from sagacity_data.recorder import Recorder
from sagacity_data.redaction import Redaction
from sagacity_data.replay import launches, replayed
from sagacity_data.rows import (
    SCHEMA_VERSION,
    AttemptOutcome,
    AttemptRow,
    Row,
    RunRow,
)
from sagacity_data.signals import CallEnded, CallStarted, RunClosed, RunOpened, Signal, signals
from sagacity_data.store import DatasetStore
from sagacity_data.store_description import StoreDescription
from sagacity_data.taxonomy import Taxonomy, default_taxonomy
from sagacity_data.telling import Telling
from sagacity_data.training_frame import attempts_frame, feature_columns, launch_frame

__all__ = [
    "ATTEMPT_FEATURES",
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
    "FailureKind",
    "Feature",
    "HistoryAhead",
    "Label",
    "LabelSource",
    "LaunchFeatures",
    "Leak",
    "LeakKind",
    "Recorder",
    "Redaction",
    "Row",
    "RunClosed",
    "RunCost",
    "RunOpened",
    "RunRow",
    "RunUnfinished",
    "Signal",
    "SignalRefused",
    "StoreDescription",
    "Taxonomy",
    "Telling",
    "attempt_features",
    "attempts_frame",
    "default_taxonomy",
    "feature_columns",
    "label",
    "launch_frame",
    "launches",
    "leaks",
    "replayed",
    "run_cost",
    "signals",
    "state_cost",
]
