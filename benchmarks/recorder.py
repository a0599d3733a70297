"""What recording the dataset costs the engine: sagas per second with and without, in turns, on one core.

    python benchmarks/recorder.py [--json] [--rounds 5] [--seconds 2] [--concurrent 64]

Five trivial asynchronous steps, a SQLite journal, so many sagas at a time; every figure comes from a process
of its own, pinned to one core, and the ways take turns so that a noisy minute hits all of them. The ways:

    alone          nobody listens
    idle listener  a listener that does nothing: what the engine's telling costs by itself
    listener       a `RecordingListener` into the dataset's buffer, no features
    with features  the same, with the launch features folded live and kept in every row
    process        a `RecordingProcess` beside the engine, which may use the other cores: the live recorder
    polite         a `JournalFollower` on the engine's own core at the lowest priority (nice 19)

The rate is of what the engine ended while it was measured. What was not yet recorded then is recorded
afterwards: `late` is the share of rows, `behind` the seconds that took; a way whose dataset lacks a row in
the end fails. `cpu us` is processor time of the engine's process per saga, recording to the end included: a
busy machine moves it less than the rate. The bar: recording may cost less than a tenth of the rate; a missed
one is said, and is no failure of this program. Trivial steps are the worst case: what recording takes is the
same for steps that take long.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

WAYS = ("alone", "idle listener", "listener", "with features", "process", "polite")
BAR = 0.9
WARM_S = 0.5
PATIENT_S = 300.0
STEPS = 5


def main() -> None:
    """Measures in turns and prints; or, as a child, does one of its parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds; a figure is their median")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each way is measured in a round")
    parser.add_argument("--concurrent", type=int, default=64, help="sagas at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        logging.disable(logging.CRITICAL)
        part, folder, *rest = given.child
        if part == "follow":
            follow(Path(folder), int(rest[0]))
        else:
            print(json.dumps(asyncio.run(measured(rest[0], Path(folder), given.seconds, given.concurrent))))
        return
    cores = sorted(os.sched_getaffinity(0))
    figures: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(given.rounds):
        for way in (*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]):
            if way == "process" and len(cores) == 1:
                continue
            figures[way].append(one_round(way, cores, given))
            print(
                f"round {number + 1}: {way}: {figures[way][-1]['per_s']:,.0f}/s", file=sys.stderr, flush=True
            )
    report(figures, as_json=given.json)


def one_round(way: str, cores: list[int], given: argparse.Namespace) -> dict[str, float]:
    """One way, measured in processes and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="recorder-benchmark-") as folder, ExitStack() as stack:
        follower = None
        if way == "polite":
            follower = stack.enter_context(
                subprocess.Popen(child("follow", folder, str(cores[-1])), text=True)
            )
        engine = child("engine", folder, way, seconds=given.seconds, concurrent=given.concurrent)
        done = subprocess.run(engine, check=True, capture_output=True, text=True, timeout=PATIENT_S)
        figures: dict[str, float] = json.loads(done.stdout)
        if follower is not None:
            began = time.time()
            already = rows_in(folder)
            (Path(folder) / "stop").touch()
            if follower.wait(PATIENT_S):
                sys.exit("the follower failed")
            total = figures["sagas_in_all"] * (STEPS + 1)
            figures["behind_s"], figures["late"] = time.time() - began, 1 - already / total
        if way not in ("alone", "idle listener") and rows_in(folder) != figures["sagas_in_all"] * (STEPS + 1):
            sys.exit(
                f"{way}: {rows_in(folder)} rows of {figures['sagas_in_all']:.0f} sagas are in the dataset"
            )
        return figures


def child(*part: str, **options: object) -> list[str]:
    """The command of a child process."""
    settings = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, __file__, *settings, "--child", *part]


def rows_in(folder: str) -> int:
    """Rows that the dataset has by now."""
    from sagacity_data import AttemptRow, DatasetStore, RunRow

    store = DatasetStore(Path(folder) / "dataset")
    batches = chain(store.scan(AttemptRow, ["run_id"]), store.scan(RunRow, ["run_id"]))
    return sum(batch.num_rows for batch in batches)


async def measured(way: str, folder: Path, seconds: float, concurrent: int) -> dict[str, float]:
    """The engine's rate under one way of recording."""
    from sagacity_data import LaunchFeatures, Recorder
    from sagacity_data.sinks import CompactionPolicy, DatasetSink, RecordingListener, RecordingProcess
    from sagacity_engine import Engine, SqliteJournal

    beside = RecordingProcess(folder / "runs.db", folder / "dataset")
    if way == "process":
        beside.start()  # Before this process keeps to one core: its child need not.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    recording = None
    listeners: list[Any] = []
    if way == "idle listener":
        listeners = [ignore]
    elif way in ("listener", "with features"):
        sink = DatasetSink(folder / "dataset", CompactionPolicy(rows=None, age_s=None))
        recording = RecordingListener(sink, Recorder(LaunchFeatures() if way == "with features" else None))
        listeners = [recording]
    ran = 0
    async with Engine(SqliteJournal(folder / "runs.db"), [five_steps()], listeners=listeners) as engine:

        async def client(until: float) -> None:
            nonlocal ran
            while time.perf_counter() < until:
                await engine.run("five", {"number": ran})
                ran += 1

        async def drive(for_s: float) -> float:
            began = time.perf_counter()
            await asyncio.gather(*(client(began + for_s) for _ in range(concurrent)))
            return time.perf_counter() - began

        await drive(WARM_S)
        engine.listeners.drain(PATIENT_S)
        if recording is not None:
            recording.flush(PATIENT_S)
        before, cpu = ran, time.process_time()
        took_s = await drive(seconds)
        sagas = ran - before
        late = 0.0
        began = time.perf_counter()
        if recording is not None:
            late = 1 - recording.counts().written / (ran * (STEPS + 1))
        elif way == "process":
            late = 1 - beside.counts().rows / (ran * (STEPS + 1))
        engine.listeners.drain(PATIENT_S)
        if recording is not None:
            recording.close(PATIENT_S)
        cpu_s = time.process_time() - cpu
    beside.close(PATIENT_S)
    behind_s = time.perf_counter() - began
    return {
        "per_s": sagas / took_s,
        "sagas_in_all": ran,
        "cpu_us_per_saga": 1e6 * cpu_s / sagas,
        "late": late,
        "behind_s": behind_s,
    }


def ignore(*told: object) -> None:
    """A listener that does nothing."""
    del told


def five_steps() -> Any:
    """The saga: five steps that do nothing, one after the other."""
    from sagacity_engine import Call, RetryPolicy, define

    saga = define("five")

    async def act(call: Call) -> None:
        del call

    for number in range(1, STEPS + 1):
        saga.step(name=f"step_{number}", retry=RetryPolicy(maximum_attempts=1), compensate=act)(act)
    return saga.bind()


def follow(folder: Path, core: int) -> None:
    """Follows the journal until it is told to stop, then to its end."""
    os.sched_setaffinity(0, {core})
    os.nice(19)
    from sagacity_data.sinks import CompactionPolicy, DatasetSink, JournalFollower
    from sagacity_engine import JournalRefused, SqliteJournal

    journal = SqliteJournal(folder / "runs.db", read_only=True)
    while not journal.opened:  # The engine has yet to make it.
        try:
            journal.open()
        except JournalRefused:
            time.sleep(0.02)
    sink = DatasetSink(folder / "dataset", CompactionPolicy(rows=None, age_s=None))

    def stopped(pause_s: float) -> bool:
        time.sleep(pause_s)
        return (folder / "stop").exists()

    JournalFollower(journal, sink, ()).follow(stopped, pause_s=0.2)
    sink.close()
    journal.close()


def report(figures: dict[str, list[dict[str, float]]], *, as_json: bool) -> None:
    """Prints the medians, each as a share of the rate of an engine alone."""
    medians = {
        way: {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        for way, rounds in figures.items()
        if rounds
    }
    alone = medians["alone"]["per_s"]
    for way, told in medians.items():
        rates = [each["per_s"] for each in figures[way]]
        told["spread"] = (max(rates) - min(rates)) / told["per_s"]
        told["ratio"] = told["per_s"] / alone
        told["cpu_ratio"] = medians["alone"]["cpu_us_per_saga"] / told["cpu_us_per_saga"]
    if as_json:
        print(json.dumps({"bar": BAR, "ways": medians}, indent=2))
        return
    heads = ("sagas/s", "spread", "ratio", "cpu us", "ratio", "late", "behind s", "under 10 %")
    print(f"{'':14}" + "".join(f"{head:>11}" for head in heads))
    for way, told in medians.items():
        verdict = "" if way in ("alone", "idle listener") else ("yes" if told["ratio"] > BAR else "no")
        cells = (
            f"{told['per_s']:,.0f}",
            f"{told['spread']:.1%}",
            f"{told['ratio']:.3f}",
            f"{told['cpu_us_per_saga']:.0f}",
            f"{told['cpu_ratio']:.3f}",
            f"{told['late']:.1%}",
            f"{told['behind_s']:.2f}",
            verdict,
        )
        print(f"{way:14}" + "".join(f"{cell:>11}" for cell in cells))


if __name__ == "__main__":
    main()
