"""A participant in a process of its own: it honours keys, keeps a ledger, and is never killed.

It listens on a Unix socket. Each connection brings one call as a line of JSON and takes one answer. What a
call does is done whether or not its caller is still there to hear of it.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from sagacity_engine import Call, Direction, StepError
from sagacity_engine.testing.simulation.participants import Participants, Sort
from sagacity_engine.testing.simulation.witness import Witness

FOR_GOOD = 1 << 30


class Ledger:
    """Answers calls; `what` is act, undo, ask or dump."""

    def __init__(self) -> None:
        self.faults: list[str] = []  # What this program itself did wrong.
        # A probe's answer is final, so that no call of an engine that was stopped can belie it later.
        self._participants = Participants(Witness(), time.time, lambda *_: FOR_GOOD)

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the caller is told."""
        what = message.pop("what")
        if what == "dump":
            ledger = self._participants.ledger
            held = {run_id: [asdict(each) for each in effects] for run_id, effects in ledger.items()}
            return {"held": held, "faults": self.faults}
        call = Call(**{**message, "direction": Direction(message["direction"])})
        try:
            match what:
                case "act":
                    return {"output": self._participants.act(call, Sort.KEYED)}
                case "undo":
                    self._participants.undo(call, Sort.KEYED)
                    return {"output": None}
                case _:
                    found = self._participants.answer(call, Sort.KEYED)
                    return {"answer": found.answer.value, "output": found.output}
        except StepError as refusal:
            return {"refused": refusal.error_type}


async def main(path: str) -> None:
    """Listens until it is ended."""
    ledger = Ledger()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        try:
            if line.endswith(b"\n"):
                writer.write(json.dumps(ledger.answer(json.loads(line))).encode() + b"\n")
        except Exception as problem:  # noqa: BLE001  the verdict will tell; nobody else listens
            ledger.faults.append(f"{type(problem).__name__}: {problem}")
        writer.close()

    async with await asyncio.start_unix_server(serve, path, limit=1 << 26):
        print("listening", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
