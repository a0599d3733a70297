"""The kill points' own modules are found from the checkout's root, wherever the suite runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
