"""What can go wrong between a caller and the service, as one small tree.

Two branches: `ServiceRefused` says that *we asked wrongly* and asking again will not help; every other says
that the service, or the way to it, misbehaved.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of every error this package raises."""


class ServiceRefused(ClientError):
    """The service understood and refused (4xx): the document, plan or options are at fault."""

    def __init__(self, status: int, problem: str, detail: str, request_id: str = "") -> None:
        super().__init__(f"the service refused ({status} {problem}): {detail}")
        self.status = status
        self.problem = problem
        self.detail = detail
        self.request_id = request_id


class ServiceFailed(ClientError):
    """The service answered that it cannot answer (429, 5xx): overloaded, not ready, or broken."""

    def __init__(self, status: int, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"the service failed ({status}): {detail}")
        self.status = status
        self.retry_after_s = retry_after_s


class ServiceUnreachable(ClientError):
    """No connection, or it broke before the reply was whole."""


class ServiceTooSlow(ClientError):
    """No whole reply within the deadline."""


class ReplyRefused(ClientError):
    """A reply that will not be used: too large, redirected, not JSON, or not of the promised shape."""


class AdviceRefused(ClientError):
    """Well-formed advice that must not be followed: an illegal plan, or one that has expired."""


class BreakerOpen(ClientError):
    """Not asked at all: the service failed too often in a row and is being left alone for a while."""
