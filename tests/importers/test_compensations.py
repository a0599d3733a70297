"""Which names undo which."""

import pytest

from sagacity_data.importers.compensations import UndoNames, undone_by


def by_name(step: str, *others: str) -> str | None:
    return undone_by(step, others, said={}, linked={})


TRIP = ("BookFlight", "ReserveHotel", "ChargeCard", "SendTickets")
ORDER = ("create_order", "reserve_inventory", "charge_payment", "book_shipment")

UNDOES = [
    # (the name, the steps attempted beside it, the one it undoes)
    ("CancelFlight", TRIP, "BookFlight"),
    ("cancel_flight", TRIP, "BookFlight"),
    ("cancel-flight", TRIP, "BookFlight"),
    ("Cancel Flight", TRIP, "BookFlight"),
    ("flight.cancel", TRIP, "BookFlight"),
    ("CANCEL_FLIGHT", TRIP, "BookFlight"),
    ("CancelFlightActivity", TRIP, "BookFlight"),
    ("UnbookFlight", TRIP, "BookFlight"),
    ("UnBookFlight", TRIP, "BookFlight"),
    ("UndoBookFlight", TRIP, "BookFlight"),
    ("BookFlight_compensate", TRIP, "BookFlight"),
    ("BookFlight Rollback", TRIP, "BookFlight"),
    ("compensate-book-flight", TRIP, "BookFlight"),
    ("CompensationBookFlight", TRIP, "BookFlight"),
    ("RollBackFlightBooking", TRIP, "BookFlight"),
    ("revertFlight", TRIP, "BookFlight"),
    ("Cancel-Hotel-Reservation", TRIP, "ReserveHotel"),
    ("HotelCancellation", TRIP, "ReserveHotel"),
    ("ReleaseHotel", TRIP, "ReserveHotel"),
    ("RefundCard", TRIP, "ChargeCard"),
    ("Refund", TRIP, "ChargeCard"),
    ("ProcessRefund", TRIP, "ChargeCard"),
    ("RefundPayment", TRIP, "ChargeCard"),
    ("delete_order", ORDER, "create_order"),
    ("CancelOrder", ORDER, "create_order"),
    ("release_inventory", ORDER, "reserve_inventory"),
    ("unreserve_inventory", ORDER, "reserve_inventory"),
    ("restock_inventory", ORDER, "reserve_inventory"),
    ("refund_payment", ORDER, "charge_payment"),
    ("reverse_payment", ORDER, "charge_payment"),
    ("payment_refund", ORDER, "charge_payment"),
    ("cancel_shipment", ORDER, "book_shipment"),
    ("release_inventory", ("check_inventory", "reserve_inventory"), "reserve_inventory"),
    ("RefundPayment", ("ProcessCardPayment", "ShipOrder"), "ProcessCardPayment"),
    ("CancelRentalReservation", ("ReserveFlight", "ReserveCarRental"), "ReserveCarRental"),
    ("ReleaseHold", ("HoldFunds",), "HoldFunds"),
    ("ReleaseHold", ("PlaceHold",), "PlaceHold"),
    ("unhold", ("hold_funds",), "hold_funds"),
    ("VoidAuthorization", ("AuthorizePayment",), "AuthorizePayment"),
    ("Refund", ("Withdraw", "Deposit"), "Withdraw"),
    ("credit_back_account", ("debit_account", "notify"), "debit_account"),
    ("RemoveItemFromCart", ("AddItemToCart", "AddItemToList"), "AddItemToCart"),
    ("ReleaseSeatForChild", ("HoldSeatForAdult", "HoldSeatForChild"), "HoldSeatForChild"),
    ("ReleaseSeat", ("HoldSeatForGuest",), "HoldSeatForGuest"),
    ("DeallocateVM", ("AllocateVM",), "AllocateVM"),
    ("deregister_user", ("register_user",), "register_user"),
    ("withdraw application", ("submit application",), "submit application"),
    ("undo_step_1", ("step_1", "step_2"), "step_1"),
    ("UndoStep2", ("Step1", "Step2"), "Step2"),
    ("undo-x", ("x", "y"), "x"),
    ("UndoCheckStock", ("CheckStock",), "CheckStock"),
    (
        "shop.PaymentService/Refund",
        ("shop.PaymentService/Charge", "shop.Cart/Charge"),
        "shop.PaymentService/Charge",
    ),
    ("shop.Shipping/CancelShipment", ("shop.Shipping/ShipOrder",), "shop.Shipping/ShipOrder"),
    ("com.acme.Undo#cancelHotel", ("com.acme.Work#bookHotel",), "com.acme.Work#bookHotel"),
    ("hotels.cancelBooking", ("hotels.createBooking", "flights.createBooking"), "hotels.createBooking"),
    ("DELETE /orders/{id}", ("POST /orders", "GET /orders/{id}"), "POST /orders"),
    ("POST /payments/refund", ("POST /payments/charge", "POST /orders"), "POST /payments/charge"),
]

WORK_OF_ITS_OWN = [
    # (the name, the steps attempted beside it)
    ("BookFlight", ("CancelFlight",)),  # work, whatever else is there
    ("CancelOrder", ("ApproveOrder",)),  # approving is not taken back by cancelling
    ("CancelOrder", ("ValidateOrder", "GetOrder", "NotifyOrder")),
    ("CancelOrder", ()),  # nothing else was attempted
    ("CancelOrder", ("CancelOrder",)),  # not its own undo
    ("CancelFlight", ("BookHotel",)),  # about something else
    ("CancelBooking", ("BookFlight", "BookHotel")),  # either
    ("CancelOrder", ("CreateOrder", "SubmitOrder")),  # either
    ("RefundPayment", ("ProcessCardPayment", "ProcessVoucherPayment")),  # either
    ("Refund", ("ChargeCard", "ChargeFee")),  # either
    ("Refund", ("ProcessOrder", "ShipOrder")),  # nothing that was paid
    ("Rollback", ("BookFlight",)),  # everything, or who knows
    ("Cancel", ("BookFlight",)),
    ("CancelOldSubscription", ("CreateSubscription",)),  # an upgrade
    ("ReleaseSeatForChild", ("HoldSeatForAdult",)),
    ("CancelOrder", ("CreateOrderInvoice",)),  # an invoice is no order
    ("SendCancellation", ("SendEmail",)),
    ("SendCancellationEmail", ("SendEmail", "BookFlight")),
    ("CancellationEmail", ("SendEmail",)),
    ("RefundPolicyCheck", ("CheckPolicy",)),
    ("RefundNotification", ("SendNotification",)),
    ("Order Cancelled", ("Order Created",)),  # a state that was reached
    ("O_CANCELLED", ("O_CREATED", "O_SENT")),
    ("CreditAccount", ("DebitAccount",)),  # a transfer
    ("DepositMoney", ("WithdrawMoney",)),
    ("ReleaseLock", ("AcquireLock",)),  # both ways when all is well
    ("Unlock", ("Lock",)),
    ("CloseAccount", ("OpenAccount",)),
    ("StopTimer", ("StartTimer",)),
    ("DeleteItem", ("PutItem",)),
    ("RejectOrder", ("CreateOrder",)),
    ("ReturnResult", ("ComputeResult",)),
    ("update", ("create",)),
    ("underwrite", ("write",)),
    ("", ("BookFlight",)),
    ("___", ("x",)),
    ("cancel" * 100, ("book",)),
]


@pytest.mark.parametrize(("name", "others", "undone"), UNDOES)
def test_a_name_that_says_so_undoes_the_step_it_names(
    name: str, others: tuple[str, ...], undone: str
) -> None:
    """Affixes, opposite verbs and the nouns made of them are understood in every way of writing names."""
    assert by_name(name, *others) == undone
    assert by_name(name, *reversed(others), name) == undone


@pytest.mark.parametrize(("name", "others"), WORK_OF_ITS_OWN)
def test_a_name_that_only_sounds_like_it_undoes_nothing(name: str, others: tuple[str, ...]) -> None:
    """Doubt means None: no opposite verb, another object, several candidates, a state that was reached."""
    assert by_name(name, *others) is None


def test_a_step_that_was_not_attempted_is_not_undone_by_name() -> None:
    """The same name undoes a step in one run and nothing in another."""
    assert by_name("CancelFlight", "BookFlight") == "BookFlight"
    assert by_name("CancelFlight", "BookHotel") is None


def test_the_user_is_believed_before_links_and_links_before_names() -> None:
    """A mapping wins over a link, a link over the name, and neither needs a name that tells."""
    others, linked = ("BookFlight", "BookHotel", "BookCar"), {"CancelFlight": "BookHotel", "tidy": "BookCar"}
    assert undone_by("CancelFlight", others, said={"CancelFlight": "BookCar"}, linked=linked) == "BookCar"
    assert undone_by("CancelFlight", others, said={}, linked=linked) == "BookHotel"
    assert undone_by("tidy", others, said={}, linked=linked) == "BookCar"


def test_a_step_said_to_undo_itself_is_asked_by_its_name() -> None:
    """A mapping of a step to itself says nothing."""
    said = {"CancelFlight": "CancelFlight"}
    assert undone_by("CancelFlight", ("BookFlight",), said=said, linked={}) == "BookFlight"


def test_names_may_be_added_between_questions() -> None:
    """What was attempted later counts from then on, and a name added twice counts once."""
    names = UndoNames(["BookHotel"])
    assert names.undone_by("CancelFlight") is None
    names.add("BookFlight")
    names.add("BookFlight")
    assert names.undone_by("CancelFlight") == "BookFlight"
    names.add("ReserveFlight")
    assert names.undone_by("CancelFlight") is None


def test_thousands_of_steps_that_end_alike_are_not_told_apart() -> None:
    """Names are looked up, not compared with each other; a crowd of equal ends gives no answer."""
    names = UndoNames(f"Reserve{one}{two}Seat" for one in "ABCDEFGH" for two in "abcdefgh" * 20)
    names.add("HoldRow7")
    many = UndoNames(f"book_room_{number}" for number in range(5_000))
    assert names.undone_by("ReleaseSeat") is None
    assert names.undone_by("ReleaseRow7") == "HoldRow7"
    assert [many.undone_by(f"cancel_room_{number}") for number in (0, 4_999)] == [
        "book_room_0",
        "book_room_4999",
    ]
