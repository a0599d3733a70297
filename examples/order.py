"""An order: stock, payment as the point of no return, and shipping as a saga of its own.

Shipping books a courier and prints a label; when the label printer is broken it takes its courier back by
itself. The payment is made by then, so the order does not turn back: it needs a person. Priya reads why,
has the printer mended and retries the step; a new shipping run does the rest.

    python examples/order.py
"""

import asyncio

from sagacity_engine import Call, Engine, FailureClass, MemoryJournal, RetryPolicy, StepError, define

once = RetryPolicy(maximum_attempts=1)
BROKEN = {"printer"}


shipping = define("shipping")


@shipping.step(service="couriers", idempotent=True)
def book_courier(call: Call) -> dict[str, str]:
    """Comes for the parcel tomorrow."""
    print(f"  courier: booked for {call.input['parcel']}")
    return {"pickup": "tomorrow"}


@book_courier.compensation()
def cancel_courier(call: Call) -> None:
    """Before the courier has come it costs nothing."""
    print(f"  courier: need not come {call.output['pickup']}")


@shipping.step(service="printer", after=[book_courier], retry=once)
def print_label(call: Call) -> dict[str, str]:
    """Fails while the printer is broken."""
    if BROKEN:
        print("  label: the printer is broken")
        raise StepError("PrinterBroken", "no label can be printed", FailureClass.CASCADING)
    print(f"  label: printed, pick-up {call.outputs['book_courier']['pickup']}")
    return {"label": f"L-{call.input['parcel']}"}


@print_label.compensation()
def void_label(call: Call) -> None:
    """A label that nobody uses."""


order = define("order", locks=["order-${input.order}"])


@order.step(service="warehouse", idempotent=True)
def reserve_stock(call: Call) -> dict[str, str]:
    """Takes the goods off the shelf, in the books."""
    print(f"  stock: {call.input['item']} is reserved")
    return {"parcel": f"parcel-{call.input['order']}"}


@reserve_stock.compensation()
def release_stock(call: Call) -> None:
    """Puts them back."""
    print(f"  stock: {call.input['item']} is back on the shelf")


@order.step(service="payments", kind="pivot", after=[reserve_stock], idempotent=True, retry=once)
def pay(call: Call) -> dict[str, bool]:
    """The pivot: from here on there is only forward."""
    if call.input.get("card") == "empty":
        print("  payment: refused")
        raise StepError("InsufficientFunds", "the card is empty", FailureClass.PERMANENT)
    print("  payment: taken")
    return {"paid": True}


ship = order.sub_saga(
    shipping,
    name="ship",
    kind="retriable",
    after=[pay],
    input={"parcel": "${steps.reserve_stock.output.parcel}"},
)


@order.step(kind="retriable", after=[ship])
def tell_customer(call: Call) -> None:
    """The sub-saga's outputs are the step's output, by the names of its steps."""
    print(f"  customer: your parcel has label {call.outputs['ship']['print_label']['label']}")


async def main() -> None:
    """An order whose payment fails, and one whose shipping needs a person."""
    async with Engine(MemoryJournal(), [order.bind()]) as engine:
        print("An order with an empty card")
        first = {"order": "1", "item": "a kettle", "card": "empty"}
        result = await engine.run("order", first, run_id="order-1")
        print(f"  => {result.status}, because {result.reason}")

        print("An order while the label printer is broken")
        result = await engine.run("order", {"order": "2", "item": "a teapot"}, run_id="order-2")
        print(f"  => {result.status}: {result.step}: {result.reason}")
        BROKEN.clear()
        print("Priya has the printer mended and retries the step")
        await engine.retry("order-2", "ship", who="Priya", why="the printer is mended")
        result = await engine.result("order-2")
        print(f"  => {result.status}")


if __name__ == "__main__":
    asyncio.run(main())
