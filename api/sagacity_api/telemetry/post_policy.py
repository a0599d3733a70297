"""The limits of a poster, in one value: nothing that it does is without one."""

from __future__ import annotations

from dataclasses import dataclass

from sagacity_engine import SagaRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPolicy:
    """The limits of a poster: sizes in events and bytes, times in seconds.

    A batch goes out when it has `batch_events_max` events or `batch_bytes_max` bytes, or `linger_s` after its
    first event. Each request has `deadline_s`; a batch has `tries_max` of them, with up to `backoff_s`,
    doubled each time up to `backoff_max_s`, in between. After `failures_max` failures in a row the service is
    left alone for `cool_down_s`. Raises `SagaRefused` for a number out of range.
    """

    queue_events_max: int = 10_000
    queue_bytes_max: int = 32 << 20
    batch_events_max: int = 500
    batch_bytes_max: int = 512 << 10
    linger_s: float = 1.0
    deadline_s: float = 5.0
    tries_max: int = 5
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    failures_max: int = 5
    cool_down_s: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            number = getattr(self, name)
            if name.endswith("_s") and not 0 <= number <= 86_400:
                raise SagaRefused(f"{name} is {number!r}; it must be between 0 and a day")
            if not name.endswith("_s") and number < 1:
                raise SagaRefused(f"{name} is {number!r}; it must be at least 1")
        if self.deadline_s == 0:
            raise SagaRefused("deadline_s is 0; a request needs some time")


POST_POLICY = PostPolicy()
