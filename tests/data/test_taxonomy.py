"""What errors' types and words tell, and messages without what differs."""

from __future__ import annotations

import pytest

from sagacity_data.errors import TaxonomyRefused
from sagacity_data.failure_kinds import FailureKind
from sagacity_data.taxonomy import MESSAGE_MAX, Taxonomy, default_rules, default_taxonomy, read_rules
from sagacity_engine import FailureClass

TRANSIENT, SLOW, OVERLOAD = FailureKind.TRANSIENT, FailureKind.SLOW, FailureKind.OVERLOAD
BUSINESS, UNAVAILABLE, UNKNOWN = FailureKind.BUSINESS, FailureKind.UNAVAILABLE, FailureKind.UNKNOWN


@pytest.mark.parametrize(
    ("error_type", "message", "kind"),
    [
        ("503", "", OVERLOAD),
        ("Http429", "", OVERLOAD),
        ("404", "", BUSINESS),
        ("Http422", "", BUSINESS),
        ("504", "", SLOW),
        ("408", "", SLOW),
        ("502", "", UNAVAILABLE),
        ("500", "", UNKNOWN),
        ("UNAVAILABLE", "", UNAVAILABLE),
        ("14", "", UNAVAILABLE),
        ("RESOURCE_EXHAUSTED", "", OVERLOAD),
        ("DeadlineExceeded", "", SLOW),
        ("InvalidArgument", "", BUSINESS),
        ("grpc.ABORTED", "", TRANSIENT),
        ("States.Timeout", "", SLOW),
        ("States.TaskFailed", "", UNKNOWN),
        ("States.Permissions", "", BUSINESS),
        ("Lambda.TooManyRequestsException", "Rate Exceeded.", OVERLOAD),
        ("java.net.SocketTimeoutException", "Read timed out", SLOW),
        ("java.net.ConnectException", "Connection refused (Connection refused)", UNAVAILABLE),
        ("ConnectionResetError", "[Errno 104] Connection reset by peer", TRANSIENT),
        ("psycopg.errors.DeadlockDetected", "deadlock detected", TRANSIENT),
        ("Error", "getaddrinfo ENOTFOUND hotel.internal", UNAVAILABLE),
        ("SoldOut", "no rooms left", BUSINESS),
        ("PaymentDeclined", "insufficient funds", BUSINESS),
        ("CircuitOpen", "the breaker of 'hotel' is open", OVERLOAD),
        ("", "upstream answered HTTP 503 (maintenance)", OVERLOAD),
        ("RuntimeError", "status code: 404", BUSINESS),
        ("ConnectionReset", "", TRANSIENT),
        ("RoomNotFound", "", BUSINESS),
        ("KeyError", "'trip_id'", BUSINESS),
        ("Exception", "something went wrong", UNKNOWN),
        ("", "", UNKNOWN),
    ],
)
def test_what_errors_tell(error_type: str, message: str, kind: FailureKind) -> None:
    """Statuses, exception names and words tell the kind; what says nothing stays unknown."""
    assert default_taxonomy().kind_of(error_type, message) is kind


def test_a_bare_timeout_is_slow_and_words_are_trusted_more() -> None:
    """A timeout without telling words was slow; one whose words say more is what they say."""
    assert default_taxonomy().kind_of("", "", timed_out=True) is SLOW
    assert default_taxonomy().kind_of("", "connection refused", timed_out=True) is UNAVAILABLE


def test_every_kind_has_a_class() -> None:
    """A plan's class follows from each kind, and no class is without one."""
    assert {kind.failure_class for kind in FailureKind} == set(FailureClass)


def test_rules_of_a_user_come_first() -> None:
    """A user's rule decides before ours."""
    own = read_rules({"rules": [{"kind": "transient", "on": "type", "match": "^SoldOut$"}]})
    taxonomy = Taxonomy([*own, *default_rules()])
    assert taxonomy.kind_of("SoldOut", "") is TRANSIENT
    assert taxonomy.kind_of("Http404", "") is BUSINESS


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "a taxonomy is"),
        ({"rules": [7]}, "rule 1 is no mapping"),
        ({"rules": [{"kind": "odd", "match": "x"}]}, "kind 'odd' is none of"),
        ({"rules": [{"kind": "slow", "on": "body", "match": "x"}]}, "on 'body' is none of"),
        ({"rules": [{"kind": "slow", "match": "x"}, {"kind": "slow", "match": "("}]}, "rule 2: '('"),
        ({"rules": [{"kind": "slow", "match": "x"}] * 1_001}, "1001 rules"),
    ],
)
def test_bad_rules_are_refused(document: object, told: str) -> None:
    """A rule that cannot be used is refused by its number, with what is allowed."""
    with pytest.raises(TaxonomyRefused, match=told.replace("(", r"\(")):
        read_rules(document)


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("order 17 of 3,5 items failed", "order <n> of <n> items failed"),
        ("no reply from http://a.b/c?key=s3cret within 2.5 s", "no reply from <url> within <n> s"),
        ("run 0190f3a2-1111-7abc-8def-0123456789ab is unknown", "run <id> is unknown"),
        ("user 'Asha Rao' at 2026-01-02T03:04:05Z", "user <text> at <time>"),
        ("key AKIA1234567890ABCDEF12 denied", "key <token> denied"),
        ("two\n  lines\tof words", "two lines of words"),
        ("error at 0xdeadbeef", "error at <id>"),
        ("", ""),
    ],
)
def test_templates_leave_out_what_differs(message: str, template: str) -> None:
    """Numbers, ids, times, addresses, secrets and quoted values give way to what they are."""
    assert default_taxonomy().templated(message) == template


@pytest.mark.parametrize("piece", ["a", "1", "'", '"', "a.", "1.", "@a", "://", "-", "x=1 ", "time ", "no "])
def test_long_words_are_cut_and_take_no_time(piece: str) -> None:
    """A message of a million characters is answered from its beginning, whatever it repeats."""
    message = piece * (1_000_000 // len(piece))
    assert len(default_taxonomy().templated(message)) <= MESSAGE_MAX
    assert default_taxonomy().kind_of(message, message) in tuple(FailureKind)
