"""A weekend in Goa: everything is booked and paid for, or nothing is.

Asha gets her weekend. For Ravi the hotel is full, so the flight that he had already is given back; where the
restaurant is full nobody minds, because a table is optional.

    python examples/trip.py
"""

import asyncio
from typing import Any

from sagacity_engine import Call, Engine, FailureClass, MemoryJournal, RetryPolicy, StepError, define

SOLD_OUT = {"Ravi": "hotel", "Meera": "table"}
"""What is sold out on the day that this guest wants to travel."""

trip = define("goa-trip", deadline_s=900)
once = RetryPolicy(maximum_attempts=1)


def book(call: Call, what: str) -> dict[str, str]:
    """What every booking service here does: it is full, or it books."""
    guest = call.input["guest"]
    if SOLD_OUT.get(guest) == what:
        print(f"  {what}: sold out")
        raise StepError("SoldOut", f"no {what} is left", FailureClass.PERMANENT)
    print(f"  {what}: booked")
    return {"id": f"{what}-{guest.lower()}"}


@trip.step(service="indigo", idempotent=True)
def book_flight(call: Call) -> dict[str, str]:
    """From Mumbai, on Friday night."""
    return book(call, "flight")


@book_flight.compensation()
def cancel_flight(call: Call) -> None:
    """Compensations must be idempotent, and succeed where there is nothing to undo."""
    print(f"  flight: {call.output['id']} is cancelled")


@trip.step(service="beach_resort", idempotent=True, retry=once)
def book_hotel(call: Call) -> dict[str, str]:
    """By the sea."""
    return book(call, "hotel")


@book_hotel.compensation()
def cancel_hotel(call: Call) -> None:
    """Gives the room back."""
    print(f"  hotel: {call.output['id']} is cancelled")


@trip.step(service="zomato", kind="read_only", optional=True, after=[book_hotel], retry=once)
def book_table(call: Call) -> dict[str, str]:
    """Nice to have: the trip goes on without it. The restaurant charges nobody who stays away."""
    return book(call, "table")


@trip.step(service="razorpay", kind="pivot", idempotent=True)
async def pay(call: Call) -> dict[str, Any]:
    """The point of no return: once it has succeeded, the trip only goes forward."""
    print(f"  payment: taken for {call.outputs['book_flight']['id']} and {call.outputs['book_hotel']['id']}")
    return {"paid": True}


async def main() -> None:
    """Three guests, one after the other."""
    async with Engine(MemoryJournal(), [trip.bind()]) as engine:
        for guest in ("Asha", "Ravi", "Meera"):
            print(f"{guest} goes to Goa")
            result = await engine.run("goa-trip", {"guest": guest}, run_id=f"trip-{guest.lower()}")
            print(f"  => {result.status}{f', because {result.reason}' if result.reason else ''}")


if __name__ == "__main__":
    asyncio.run(main())
