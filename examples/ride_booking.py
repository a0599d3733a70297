"""A ride: a driver who declines, a card that is refused, and a reply that is lost on the way.

The fare is held on a card, or from the wallet in its place when the card is refused. Then comes a savepoint:
when the driver who was matched declines, the run goes back there and matches the next one, while the fare
stays held. The driver's app is asked (probed) when its reply is lost.

    python examples/ride_booking.py
"""

import asyncio

from sagacity_engine import (
    Answer,
    Call,
    Engine,
    FailureClass,
    Found,
    MemoryJournal,
    OnFailure,
    OutcomeUnknown,
    RetryPolicy,
    StepError,
    Strategy,
    define,
)

ride = define("ride", deadline_s=600, rollbacks_max=2, locks=["rider-${input.rider}"])
once = RetryPolicy(maximum_attempts=1)
back = OnFailure(permanent=Strategy.ROLLBACK_TO_SAVEPOINT)


class City:
    """The participants: who is driving tonight, and what each app remembers by idempotency key."""

    def __init__(self) -> None:
        self.drivers = ["Imran", "Lakshmi"]
        self.assigned: dict[str, str] = {}


CITY = City()


@ride.step(kind="read_only")
def quote(call: Call) -> dict[str, int]:
    """What the ride costs."""
    print(f"  fare for {call.input['rider']}: 240 rupees")
    return {"rupees": 240}


@ride.step(service="cards", after=[quote], retry=once)
def hold_on_card(call: Call) -> dict[str, str]:
    """Needs no more than a card that is not refused."""
    if call.input["card"] == "expired":
        print("  card: refused")
        raise StepError("CardRefused", "the card has expired", FailureClass.PERMANENT)
    print(f"  card: {call.outputs['quote']['rupees']} held")
    return {"held": "card"}


@hold_on_card.compensation()
def release_card(call: Call) -> None:
    """Lets the money go."""
    print(f"  card: {'released' if call.output else 'nothing to release'}")


@ride.step(service="wallet", alternative_to=hold_on_card)
def hold_from_wallet(call: Call) -> dict[str, str]:
    """Runs only in place of the card; what it returns is then the output of `hold_on_card`."""
    print(f"  wallet: {call.outputs['quote']['rupees']} held instead")
    return {"held": "wallet"}


@hold_from_wallet.compensation()
def release_wallet(call: Call) -> None:
    """Lets the money go."""
    print(f"  wallet: {call.outputs['quote']['rupees']} released")


@ride.step(kind="read_only", savepoint=True, after=[hold_on_card])
def fare_is_held(call: Call) -> None:
    """The savepoint: what came before it stays when the run goes back, what comes after is taken back."""


@ride.step(service="dispatch", after=[fare_is_held], retry=once)
def match_driver(call: Call) -> dict[str, str]:
    """The nearest driver who has not declined yet."""
    if not CITY.drivers:
        raise StepError("NobodyDrives", "no driver is near", FailureClass.PERMANENT)
    print(f"  dispatch: asks {CITY.drivers[0]} for {call.input['rider']}")
    return {"driver": CITY.drivers[0]}


@match_driver.compensation()
def unmatch_driver(call: Call) -> None:
    """Goes on with the next driver."""
    CITY.drivers.remove(call.output["driver"])
    print(f"  dispatch: lets {call.output['driver']} go")


@ride.step(service="driver_app", after=[match_driver], idempotent=True, on_failure=back, retry=once)
def driver_accepts(call: Call) -> dict[str, str]:
    """Imran always declines; Lakshmi accepts, but her phone loses the network before it can say so."""
    driver = call.outputs["match_driver"]["driver"]
    if driver == "Imran":
        print("  driver: Imran declines")
        raise StepError("Declined", "the driver declined", FailureClass.PERMANENT)
    CITY.assigned[call.idempotency_key] = driver
    print(f"  driver: {driver} accepts, and the reply is lost")
    raise OutcomeUnknown("the connection broke")


@driver_accepts.compensation()
def driver_is_free_again(call: Call) -> None:
    """By the key of the action that it undoes, so that a lost reply leaves nobody waiting."""
    CITY.assigned.pop(call.undoes, None)


@driver_accepts.probe()
def did_the_driver_accept(call: Call) -> Found:
    """Asked before anybody gives up: the engine would rather know than undo."""
    driver = CITY.assigned.get(call.undoes)
    print(f"  driver: asked again, {driver or 'nobody'} had accepted")
    if driver is None:
        return Found(Answer.DID_NOT_HAPPEN)
    return Found(Answer.HAPPENED, {"driver": driver})


@ride.step(kind="pivot", after=[driver_accepts], idempotent=True)
def start_ride(call: Call) -> None:
    """From here on there is only forward."""
    paid_by = call.outputs["hold_on_card"]["held"]
    print(f"  ride: starts with {call.outputs['driver_accepts']['driver']}, paid by {paid_by}")


async def main() -> None:
    """One rider whose card is refused, while the first driver declines."""
    async with Engine(MemoryJournal(), [ride.bind()]) as engine:
        print("Kabir wants a ride")
        result = await engine.run("ride", {"rider": "Kabir", "card": "expired"}, run_id="ride-1")
        print(f"  => {result.status}")
        CITY.drivers = ["Imran"]
        print("Nisha wants a ride, and only Imran drives tonight")
        result = await engine.run("ride", {"rider": "Nisha", "card": "good"}, run_id="ride-2")
        print(f"  => {result.status}, because {result.reason}")


if __name__ == "__main__":
    asyncio.run(main())
