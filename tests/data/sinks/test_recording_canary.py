"""No payload and nothing that was redacted reaches the dataset, whichever way it might go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sagacity_data import DatasetStore, LaunchFeatures, Recorder
from sagacity_data.redaction import Redaction, dropping, keeping, no_words, pseudonyms
from sagacity_data.sinks import CompactionPolicy, DatasetSink, RecordingListener, compact
from sagacity_data.telling import Telling
from sagacity_engine import Engine, FailureClass, MemoryJournal, RetryPolicy, StepError, define

SECRET = "Canary4711"


def leaky() -> Any:
    """A saga whose input, outputs, errors and undo all carry the secret."""
    saga = define("leaky")

    async def book(call: Any) -> Any:
        return {"seat": SECRET, "given": call.input}

    async def undo(call: Any) -> None:
        if call.attempt == 1:
            raise StepError("Busy", f"cannot undo {SECRET} now", FailureClass.TRANSIENT)

    async def pay(call: Any) -> None:
        raise StepError(
            "NoFunds", f"card {SECRET} of {call.input['who']} has no funds", FailureClass.PERMANENT
        )

    swift = RetryPolicy(maximum_attempts=3, initial_interval_s=0.01)
    saga.step(name="book", retry=swift, compensate=undo)(book)
    saga.step(name="pay", retry=swift, compensate=undo)(pay)
    return saga.bind()


def recorded(folder: Path, redaction: Redaction, features: LaunchFeatures) -> DatasetStore:
    sink = DatasetSink(folder, CompactionPolicy(rows=None, age_s=None))
    listener = RecordingListener(sink, Recorder(features, Telling(redaction=redaction)))

    async def main() -> None:
        async with Engine(MemoryJournal(), [leaky()], listeners=[listener]) as engine:
            context = {"tenant": "t1", "email": SECRET, "season": "high"}
            await engine.run("leaky", {"who": SECRET, "deep": [{"er": SECRET}]}, context=context)

    asyncio.run(main())
    listener.close()
    return DatasetStore(folder)


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("moved", [False, True])
def test_the_secret_is_in_no_file(tmp_path: Path, moved: bool) -> None:
    """A secret in input, outputs, error words, the run's reason and the context is in no byte of the dataset,
    in the buffer or in the files, nor in the state of the features."""
    features = LaunchFeatures()
    hooks = Redaction(context=dropping("email"), words=lambda words: words.replace(SECRET, "***"))
    store = recorded(tmp_path, hooks, features)
    if moved:
        compact(tmp_path)
    rows = store.read()
    assert len(rows) == 7  # One booking, three tries to pay, two to undo, the run.
    assert {row.error_message for row in store.read_attempts()} >= {"card *** of *** has no funds"}
    assert store.read_runs()[0].reason == "step 'pay' failed: NoFunds: card *** of *** has no funds"
    assert {row.tenant for row in rows} == {"t1"}
    assert all(row.context == {"tenant": "t1", "season": "high"} for row in rows)
    assert all("context.email" not in row.features for row in store.read_attempts())
    assert SECRET not in repr(rows)
    assert SECRET.encode() not in bytes_in(tmp_path)
    assert SECRET not in json.dumps(features.snapshot())


def test_words_need_not_be_kept_at_all(tmp_path: Path) -> None:
    """With `no_words` and `keeping` no error has words, no run a reason, and only named keys are there."""
    store = recorded(tmp_path, Redaction(context=keeping("tenant"), words=no_words), LaunchFeatures())
    assert {row.error_message for row in store.read_attempts()} == {""}
    assert store.read_runs()[0].reason == ""
    assert all(row.context == {"tenant": "t1"} for row in store.read())
    assert SECRET.encode() not in bytes_in(tmp_path)


def test_a_hook_that_fails_keeps_nothing(tmp_path: Path) -> None:
    """A redaction that raises, or answers with something else, drops what it was asked about."""

    def failing(*given: Any) -> Any:
        raise KeyError(given)

    store = recorded(tmp_path, Redaction(failing, failing), LaunchFeatures())
    assert all(row.context == {} and row.tenant == "" for row in store.read())
    assert SECRET.encode() not in bytes_in(tmp_path)
    odd: Any = lambda *given: given  # noqa: E731  a hook of the wrong kind
    assert Redaction(odd, odd).of_context({"email": SECRET}) == {}
    assert Redaction(odd, odd).of_words(SECRET) == ""


def test_pseudonyms_keep_equal_values_equal() -> None:
    """The same value under one key and secret has one digest; under other keys and secrets it has others."""
    hook, other = pseudonyms(b"k" * 16, "email", "name"), pseudonyms(b"l" * 16, "email")
    ann = hook("email", "ann")
    assert isinstance(ann, str)
    assert ann == hook("email", "ann")
    assert len({ann, hook("email", "bob"), hook("name", "ann"), other("email", "ann"), "ann"}) == 5
    assert hook("season", "high") == "high"
    with pytest.raises(ValueError, match="at least 16"):
        pseudonyms(b"short", "email")


def test_scalars_alone_are_context() -> None:
    """Lists, mappings, nothing, and numbers that are not finite are left out, whatever the hook says."""
    given = {
        "a": "x",
        "b": 1,
        "c": 2.5,
        "d": False,
        "e": [1],
        "f": {},
        "g": None,
        "h": float("inf"),
        "i": 10**400,
    }
    assert Redaction().of_context(given) == {"a": "x", "b": 1, "c": 2.5, "d": False}
