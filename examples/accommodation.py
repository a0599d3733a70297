"""A stay that the host has to approve: approved, refused, or never answered.

The room is locked from the request to the end of the run, so that two guests never wait for the same host.
What silence means is the saga's to say: here the same stay is offered twice, once with silence as a refusal
and once ("instant booking") with silence as an approval.

    python examples/accommodation.py
"""

import asyncio

from sagacity_engine import BoundSaga, Call, Engine, MemoryJournal, OnExpiry, RunRefused, define

PATIENCE_S = 0.5
"""How long a host may think about it; hours, in earnest."""


def stay(name: str, on_expiry: OnExpiry) -> BoundSaga:
    """The stay, with what the host's silence counts as."""
    saga = define(name, locks=["room-${input.room}"])

    @saga.step(service="calendar", idempotent=True)
    def hold_room(call: Call) -> dict[str, str]:
        """Blocks the nights in the calendar."""
        print(f"  room {call.input['room']}: held for {call.input['guest']}")
        return {"room": call.input["room"]}

    @hold_room.compensation()
    def release_room(call: Call) -> None:
        """Frees the nights again."""
        print(f"  room {call.input['room']}: free again")

    host = saga.approval(
        "host_agrees", signal="host", expires_after_s=PATIENCE_S, on_expiry=on_expiry, after=[hold_room]
    )

    @saga.step(kind="pivot", service="payments", after=[host], idempotent=True)
    def charge(call: Call) -> None:
        """Only once the host, or the host's silence, has agreed."""
        agreed = call.outputs["host_agrees"]
        by = "silence" if agreed["expired"] else agreed["who"]
        print(f"  payment: {call.input['guest']} is charged, approved by {by}")

    return saga.bind()


async def request(engine: Engine, saga: str, guest: str, room: str, *, answer: bool | None) -> None:
    """One guest's request, and what the host does about it; None is no answer at all."""
    print(f"{guest} asks for room {room} ({saga})")
    run_id = await engine.start(saga, {"guest": guest, "room": room}, run_id=f"{saga}-{guest.lower()}")
    if answer is not None:
        await engine.signal(run_id, "host", approve=answer, who="Dona Maria", payload={"note": "after 2 pm"})
    result = await engine.result(run_id)
    print(f"  => {result.status}{f', because {result.reason}' if result.reason else ''}")


async def main() -> None:
    """Every way in which a host can answer, and both meanings of silence."""
    sagas = [stay("stay", OnExpiry.REJECT), stay("instant-stay", OnExpiry.APPROVE)]
    async with Engine(MemoryJournal(), sagas) as engine:
        await request(engine, "stay", "Asha", "12", answer=True)
        await request(engine, "stay", "Ravi", "12", answer=False)
        await request(engine, "stay", "Meera", "12", answer=None)
        await request(engine, "instant-stay", "Kabir", "14", answer=None)
        await request(engine, "instant-stay", "Nisha", "14", answer=False)
        try:
            await engine.signal("stay-asha", "host", approve=False, who="Dona Maria")
        except RunRefused as refusal:
            print(f"Dona Maria changes her mind: {refusal}")


if __name__ == "__main__":
    asyncio.run(main())
