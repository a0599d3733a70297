"""Verbs as step names use them: which name the same effect, which have none, and which undo which others.

Two kinds of word undo something. Those that say nothing else, such as `undo` or `compensate`, undo what is
named beside them. Ordinary verbs, such as `cancel` or `release`, undo only what one of their opposites did:
an order that was approved is not taken back by cancelling it, one that was placed is.

Pairs that a run goes through both ways when all is well are left out on purpose: lock and unlock, open and
close, start and stop, put and delete, debit and credit. Whoever uses them as compensations says so.
"""

from __future__ import annotations

from typing import Final


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


SENSES: Final = {
    "reserve": "book",
    "charge": "pay",
    "bill": "pay",
    "debit": "pay",
    "deliver": "ship",
    "dispatch": "ship",
    "rent": "hire",
    "buy": "purchase",
    "enrol": "enroll",
    "authorise": "authorize",
    "provision": "allocate",
    "setup": "create",
}
"""Verbs that name the same effect; the right one stands for both."""

_MAKING: Final = _listed(
    "create add insert place submit request schedule arrange register issue make prepare generate "
    "put post save store record initiate start begin launch open publish init draft plan propose "
    "apply upload"
)
_DOING: Final = _listed("process do execute perform handle complete")
_TAKING: Final = _listed(
    "book hold allocate block claim take earmark assign hire lease rent lend borrow withdraw pick"
)
_PAYING: Final = _listed("pay capture purchase collect withdraw deposit transfer settle")
_SHIPPING: Final = _listed("ship send mail forward handover")
_GRANTING: Final = _listed("grant issue authorize assign enable activate invite")
_JOINING: Final = _listed("subscribe enroll attach associate link connect install deploy mount")
_REDUCING: Final = _listed("deduct decrement decrease reduce subtract consume update pick")

INERT: Final = _listed(
    "check validate verify get fetch read query list find lookup load notify log inspect calculate "
    "compute evaluate decide wait approve reject confirm review search report email alert test"
)
"""Verbs without an effect that could be taken back; a name that undoes one of them has to quote it whole."""

_ANNULLING: Final = (
    _MAKING | _TAKING | _DOING | frozenset({"pay", "ship", "purchase", "authorize"}) | _JOINING
)
_REFUNDING: Final = _PAYING | _DOING | {"take", "make", "place"}

UNDOES: Final[dict[str, frozenset[str] | None]] = {
    # None: the word says nothing but "undo", so it goes with every verb that has an effect.
    **dict.fromkeys(("undo", "revert", "rollback", "compensate", "unwind", "reverse"), None),
    **dict.fromkeys(("cancel", "annul", "abort", "rescind"), _ANNULLING | {"ship", "invite"}),
    **dict.fromkeys(("refund", "reimburse", "repay", "chargeback"), _REFUNDING),
    "void": _REFUNDING | _MAKING | {"authorize"},
    **dict.fromkeys(("release", "free", "relinquish"), _TAKING | {"place", "authorize", "request"}),
    **dict.fromkeys(("delete", "remove", "discard", "erase"), (_MAKING | _JOINING | {"assign"}) - {"put"}),
    "terminate": frozenset({"start", "begin", "launch", "create", "allocate"}),
    "withdraw": _listed("submit apply request propose offer publish"),
    **dict.fromkeys(("recall", "retract"), _SHIPPING | {"publish", "post", "submit"}),
    "return": _SHIPPING | {"hire", "borrow", "take", "lend", "pick", "purchase", "lease"},
    **dict.fromkeys(("revoke", "invalidate"), _GRANTING | {"create", "generate", "publish"}),
    "restore": _REDUCING,
    "restock": _REDUCING | {"book", "allocate", "ship"},
    "deallocate": frozenset({"allocate"}),
    "deprovision": frozenset({"allocate"}),
    "deregister": frozenset({"register"}),
    "deactivate": frozenset({"activate"}),
    "disable": frozenset({"enable"}),
    "detach": frozenset({"attach"}),
    "disassociate": frozenset({"associate"}),
    "disconnect": frozenset({"connect"}),
    "decommission": frozenset({"allocate", "create", "deploy"}),
}
"""Which verbs each word of undoing takes back."""

NOTHING: Final[frozenset[str]] = frozenset()
ALONE: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("refund", "reimburse", "repay", "chargeback"), frozenset({"pay", "capture", "purchase", "withdraw"})
    ),
    **dict.fromkeys(("deallocate", "deprovision"), frozenset({"allocate"})),
    "deregister": frozenset({"register"}),
}
"""What words of undoing take back that name nothing else; so does every `un...` made of a verb."""

VERBS: Final = (
    _MAKING
    | _DOING
    | _TAKING
    | _PAYING
    | _SHIPPING
    | _GRANTING
    | _JOINING
    | _REDUCING
    | INERT
    | set(SENSES)
    | set(UNDOES)
    | {"offer"}
)
UNDONE_BY_UN: Final = _TAKING | _MAKING | _JOINING | _GRANTING | _SHIPPING | {"reserve", "pay", "provision"}
NOUNS: Final = {
    "reservation": "book",
    "payment": "pay",
    "shipment": "ship",
    "delivery": "ship",
    "allocation": "allocate",
    "creation": "create",
    "authorization": "authorize",
    "authorisation": "authorize",
    "registration": "register",
    "subscription": "subscribe",
    "enrollment": "enroll",
    "enrolment": "enroll",
    "cancellation": "cancel",
    "cancelation": "cancel",
    "cancelled": "cancel",
    "cancelling": "cancel",
    "reversal": "reverse",
    "deletion": "delete",
    "removal": "remove",
    "compensation": "compensate",
    "compensator": "compensate",
    "deallocation": "deallocate",
    "deregistration": "deregister",
    "revocation": "revoke",
    "reimbursement": "reimburse",
    "repayment": "repay",
    "rollbacks": "rollback",
    "undone": "undo",
    "undoes": "undo",
    "held": "hold",
    "taken": "take",
    "placement": "place",
    "deduction": "deduct",
    "assignment": "assign",
    "validation": "validate",
    "verification": "verify",
    "confirmation": "confirm",
    "notification": "notify",
    "approval": "approve",
    "withdrawal": "withdraw",
}
PAIRS: Final = {
    ("roll", "back"): "rollback",
    ("rolled", "back"): "rollback",
    ("rolling", "back"): "rollback",
    ("back", "out"): "undo",
    ("un", "do"): "undo",
    ("charge", "back"): "chargeback",
    ("pay", "back"): "repay",
    ("credit", "back"): "refund",
    ("give", "back"): "return",
    ("put", "back"): "return",
    ("send", "back"): "return",
    ("set", "up"): "create",
    ("hand", "over"): "handover",
}
NOISE: Final = _listed(
    "activity activities task tasks step steps state handler function fn lambda method operation "
    "workflow the a an my async sync impl"
)
PREPOSITIONS: Final = _listed("for of to from in into on at with by via per")
WRAPPING: Final = _listed(
    "do try call invoke execute run perform trigger process handle issue make initiate request send "
    "create start begin apply"
)
"""Verbs that may stand before another one and add nothing: `ProcessRefund`, `TryCancelFlight`."""

HEADINGS: Final = frozenset({"compensation", "compensator", "cancelling", "rollbacks"})
"""Nouns that are put before the name of the step undone: `CompensationBookRoom`."""
