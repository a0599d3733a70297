"""Work without the search for reference cycles, which among millions of rows takes most of the time.

Rows, labels and arrays refer to nothing that refers to them, so counting references frees them all; cycles
that other code makes meanwhile wait until afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """The collector is off within, and then as it was before."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
