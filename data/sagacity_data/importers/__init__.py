from sagacity_data.event_log import ImportRefused
from sagacity_data.importers.event_logs import (
    ImportedSource,
    ImportProgress,
    ImportReport,
    import_event_logs,
)

__all__ = ["ImportProgress", "ImportRefused", "ImportReport", "ImportedSource", "import_event_logs"]
