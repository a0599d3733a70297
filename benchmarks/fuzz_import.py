"""Spoils files of every format in many ways and reads them: no importer may crash, hang or eat the memory.

    python benchmarks/fuzz_import.py [--mutations 10000] [--seed 1] [--json] [--format FORMAT] [--only NUMBER]

The mutations are shared out evenly among the formats. What is spoilt are small documents of our own, and real
files from ../shared/data where that folder is present. Every spoilt file is read in a process whose memory
and time are limited. A crash is anything but a run or a refusal in one line: an exception, a process that
died, a file that took too long, or rows that break what a reader promises (a text that is none, two attempts
of one number, times that run backwards). Each crash is printed with what brings it back; with any, the
program ends with 1. `--only` does one mutation again and keeps its file. Linux only.
"""

import argparse
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
MEMORY_BYTES = 2 * 1024**3
SECONDS = 30.0
BOMB_BYTES = 300_000_000
CRASHES_SHOWN = 20


@dataclass(slots=True)
class Figures:
    """What came of the mutations of one format."""

    mutations: int = 0
    came_to: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    worst_s: float = 0.0
    worst_way: str = ""
    first_bytes: int = 0  # The worker's memory when the first own document had been read.
    most_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """The figures of one format."""
        return {
            "mutations": self.mutations,
            "read": self.came_to["read"],
            "refused": self.came_to["refused"],
            "crashes": len(self.crashes),
            "seconds_max": round(self.worst_s, 2),
            "slowest": self.worst_way,
            "memory_mb_max": round((self.most_bytes - self.first_bytes) / 1e6),
        }


class Worker:
    """The process that reads; a new one takes the place of one that died."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> dict[str, Any]:
        """What came of reading the file."""
        process = self._living()
        assert process.stdin is not None, "it is piped"
        assert process.stdout is not None, "it is piped"
        with contextlib.suppress(BrokenPipeError):  # What died is found out below.
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 2 * SECONDS)
        answer = process.stdout.readline() if ready else ""
        if answer:
            return dict(json.loads(answer))
        self.close()
        died = f"the process died ({process.returncode})" if ready else "the process hung"
        return {"said": died, "seconds": 0.0 if ready else 2 * SECONDS, "bytes": 0}

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None

    def _living(self) -> "subprocess.Popen[str]":
        if self._process is None:
            limits = (str(MEMORY_BYTES), str(SECONDS))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.import_fuzz.worker", self._name, *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return self._process


def fuzz(name: str, seed: int, numbers: range, folder: Path) -> Figures:
    """Does these mutations of a format's files."""
    from benchmarks.import_fuzz.mutations import mutated
    from benchmarks.import_fuzz.seeds import own_seeds, real_seeds

    own, real = own_seeds(name), real_seeds(name, SHARED)
    figures, worker, path = Figures(), Worker(name), folder / name
    try:
        path.write_bytes(own[0])
        first = worker.read(path)
        figures.first_bytes = first["bytes"]
        for number in numbers:
            rng = Random(f"{seed}:{name}:{number}")
            way, content = mutated(name, rng.choice(rng.choice((own, real or own))), rng, BOMB_BYTES)
            path.write_bytes(content)
            _note(figures, worker.read(path), way, f"--format {name} --seed {seed} --only {number}")
    finally:
        worker.close()
    return figures


def _note(figures: Figures, told: dict[str, Any], way: str, again: str) -> None:
    figures.mutations += 1
    figures.most_bytes = max(figures.most_bytes, told["bytes"])
    if told["seconds"] > figures.worst_s:
        figures.worst_s, figures.worst_way = told["seconds"], f"{way} ({again})"
    if told["said"] in ("read", "refused"):
        figures.came_to[told["said"]] += 1
    else:
        figures.crashes.append(f"{told['said']} after {way}; {again}")


def lines(name: str, figures: Figures) -> list[str]:
    """The figures of one format for a reader."""
    told = figures.as_json()
    shown = ", ".join(f"{key} {told[key]}" for key in ("mutations", "read", "refused", "crashes"))
    return [
        f"{name:14} {shown}, slowest {told['seconds_max']} s, at most {told['memory_mb_max']} MB more",
        *(f"    crash: {crash}" for crash in figures.crashes[:CRASHES_SHOWN]),
    ]


def main() -> int:
    """Prints the figures; 1 when anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", default=None, help="only this one")
    parser.add_argument("--only", type=int, default=None, help="only the mutation of this number")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from sagacity_data.importers import FORMATS

    names = [asked.format] if asked.format else list(FORMATS)
    share = -(-asked.mutations // len(names))
    numbers = range(share) if asked.only is None else range(asked.only, asked.only + 1)
    found: dict[str, Figures] = {}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-import-"))
    try:
        for name in names:
            found[name] = fuzz(name, asked.seed, numbers, folder)
            if not asked.json:
                print("\n".join(lines(name, found[name])), flush=True)
    finally:
        if asked.only is None:
            shutil.rmtree(folder)
    return _tell(found, folder if asked.only is not None else None, as_json=asked.json)


def _tell(found: dict[str, Figures], kept: Path | None, *, as_json: bool) -> int:
    crashes = [crash for figures in found.values() for crash in figures.crashes]
    mutations = sum(figures.mutations for figures in found.values())
    if as_json:
        formats = {name: figures.as_json() for name, figures in found.items()}
        told = {"mutations": mutations, "crashes": len(crashes), "formats": formats, "crashed": crashes}
        print(json.dumps(told, indent=2))
    else:
        print(f"{mutations} mutations, {len(crashes)} crashes")
    if kept is not None:
        print(f"kept in {kept}", file=sys.stderr)
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
