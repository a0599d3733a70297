from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.event_logs import (
    ImportedSource,
    ImportProgress,
    ImportReport,
    import_event_logs,
)
from sagacity_data.importers.foreign_runs import ForeignAttempt, ForeignRun, rows_of
from sagacity_data.importers.formats import FORMATS, Format, files_of
from sagacity_data.importers.histories import HistoriesReport, import_histories
from sagacity_data.importers.reading import Hints, JoiningReader, Reader, Tally

__all__ = [
    "FORMATS",
    "ForeignAttempt",
    "ForeignRun",
    "Format",
    "Hints",
    "HistoriesReport",
    "ImportProgress",
    "ImportRefused",
    "ImportReport",
    "ImportedSource",
    "JoiningReader",
    "Reader",
    "Tally",
    "files_of",
    "import_event_logs",
    "import_histories",
    "rows_of",
]
