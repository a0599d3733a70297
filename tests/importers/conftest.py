"""Where real histories lie on a developer's machine; the project itself holds none of them."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of real histories is not on this machine")
    return SHARED
