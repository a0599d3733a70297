"""The documents' examples really run: what is wrong in them fails the suite."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = """\
```python
answer = 6 * 7
open_question = None
```

```python
>>> answer
42
>>> answer + 1
44
```

<!-- not run: the answer takes too long -->
```python
answer = 1 / 0
```

```console
$ sagacity --no-such-option || exit 5  # exit 5
$ test -f examples/given.txt \\
>   && touch made.txt
```

```console
$ test -f made.txt
$ sagacity --no-such-option || exit 5
```

```console
$ false this block never mentions the command line of the project
```
"""


@pytest.mark.slow
def test_blocks_run_fail_and_are_skipped(root: Path, tmp_path: Path) -> None:
    """Blocks share names and files; wrong results and exit codes fail; marked blocks are skipped."""
    shutil.copy(root / "conftest.py", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text(DOCUMENT, "utf-8")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "given.txt").touch()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "docs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 failed, 3 passed, 1 skipped" in done.stdout, done.stdout
    assert "exited 5, not 0" in done.stdout
    assert "the answer takes too long" in done.stdout
    assert not (tmp_path / "made.txt").exists()
