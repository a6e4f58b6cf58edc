"""Attempts, deadlines and waits. Pure: clock, sleep and jitter are arguments.

A `Deadline` is an absolute point in monotonic time that is handed down through every
call, so that nobody starts a wait longer than what is left.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from app.errors import Cancelled, EngineError, UpstreamTimeout

T = TypeVar("T")
Clock = Callable[[], float]
Sleep = Callable[[float], None]

SHORTEST_ATTEMPT_S = 1.0
"""An attempt that could get less time than this is not worth its wait."""

JITTER = 0.25
"""A wait is lengthened by up to this share, so that clients that failed together do not return together."""

REPEATS_PER_REQUEST = 0.09
MOST_REPEATS_SAVED = 10.0
"""What a `RetryBudget` takes in with each request, and how much of that it keeps. Over any 1,000 requests in a row
that makes 10 + 90 repeats at most: an upstream that is down gets no more than 1.1 calls for each request."""

CANCEL_NOTICED_S = 0.25
"""Longest wait that begins without another look at `Deadline.cancelled`: what waits for a socket or a
lock cannot wait for an event as well."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time by which something must be over.

    Attributes:
        at_s: The point, as `clock` tells time.
        clock: Monotonic seconds.
        cancelled: Once it is set, time is up at once; None where nobody can cancel.
    """

    at_s: float
    clock: Clock = time.monotonic
    cancelled: threading.Event | None = None

    @classmethod
    def after(
        cls, timeout_s: float, *, clock: Clock = time.monotonic, cancelled: threading.Event | None = None
    ) -> Deadline:
        """Return the deadline that lies `timeout_s` seconds from now."""
        return cls(clock() + timeout_s, clock, cancelled)

    def within(self, timeout_s: float) -> Deadline:
        """Return this deadline, or the one `timeout_s` seconds from now if that is earlier."""
        return replace(self, at_s=min(self.at_s, self.clock() + timeout_s))

    def remaining_s(self) -> float:
        """Return the seconds that are left, never less than zero."""
        return 0.0 if self.is_cancelled else max(self.at_s - self.clock(), 0.0)

    @property
    def is_cancelled(self) -> bool:
        return self.cancelled is not None and self.cancelled.is_set()

    @property
    def expired(self) -> bool:
        return self.is_cancelled or self.at_s <= self.clock()

    def waits_s(self, timeout_s: float = math.inf) -> Iterator[float]:
        """Yield how long to wait next, in seconds, until `timeout_s` from now or this deadline has come.

        A wait that can be cancelled is cut into pieces:

            if not any(lock.acquire(timeout=wait_s) for wait_s in deadline.waits_s()):
                raise deadline.error("The lock is still taken.")
        """
        until = self.within(timeout_s)
        while (left_s := until.remaining_s()) > 0:
            yield left_s if self.cancelled is None else min(left_s, CANCEL_NOTICED_S)

    def error(self, detail: str, *, log_text: str = "") -> EngineError:
        """Return why nothing can be waited for any more: `Cancelled`, or `UpstreamTimeout` with `detail`."""
        return Cancelled(log_text=log_text) if self.is_cancelled else UpstreamTimeout(detail, log_text=log_text)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an engine is asked for one piece, and for how long.

    Attributes:
        attempts: Calls at most, the first one included; at least 1.
        timeout_s: Longest single attempt, in seconds.
        backoff_s: Wait between two attempts, in seconds, before jitter.
    """

    attempts: int
    timeout_s: float
    backoff_s: float


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that did not succeed, told to whoever listens before the next one starts."""

    number: int
    error: EngineError
    elapsed_s: float
    next_wait_s: float | None
    """Seconds until the next attempt; `None` when there is none."""


class RetryBudget:
    """Keeps repeats from adding to the load of an upstream that is going down: a bucket of tokens for all threads.

    Each request pays a share of a token in, each repeat takes a whole one out. As long as failures are few there is
    always one; when nearly all requests fail, few of them are repeated. It starts full, so that the first failures
    may be repeated.

    A budget belongs to one process. Where there are several, each keeps to its own share of the requests, and so
    nothing need be shared; only what is saved at the start is there once for each.
    """

    def __init__(self, *, share: float = REPEATS_PER_REQUEST, capacity: float = MOST_REPEATS_SAVED) -> None:
        """
        Args:
            share: Tokens that each request pays in, 0 to 1.
            capacity: Tokens that are kept at most, and at the start; at least 1, or nothing is ever repeated.
        """
        self._share = share
        self._capacity = capacity
        self._tokens = capacity
        self._lock = threading.Lock()

    @property
    def tokens(self) -> float:
        """How many repeats could be paid for now."""
        return self._tokens

    def pay_in(self) -> None:
        """Note that a request has come."""
        with self._lock:
            self._tokens = min(self._tokens + self._share, self._capacity)

    def take(self) -> bool:
        """Pay for a repeat, and return whether there was a token for it."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def always() -> bool:
    """Be the `may_repeat` of whoever has no reason against a repeat."""
    return True


def run_attempts(
    attempt: Callable[[int, Deadline], T],
    *,
    policy: RetryPolicy,
    deadline: Deadline,
    on_failure: Callable[[FailedAttempt], None],
    may_repeat: Callable[[], bool] = always,
    sleep: Sleep = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """Call `attempt(number, deadline_of_this_attempt)` until it succeeds or retrying makes no sense.

    Repeated are errors whose `repeat` is true. A `retry_after_s` longer than the backoff is
    obeyed when it fits into the deadline; when it does not, the error goes out at once.
    Cancelling ends a wait too; it is nobody's failure and is not told to `on_failure`.

    Args:
        attempt: Makes one; an error whose `attempts` is 0 says that nobody was asked, and does not count as one.
        policy: How often, for how long, how far apart.
        deadline: When to give up.
        on_failure: Told of each failure, before the wait that follows it.
        may_repeat: Asked last, when all else speaks for a repeat, which then follows for certain unless it is
            cancelled; on a no the error goes out at once. `RetryBudget.take` is one.
        sleep: How to wait, seconds.
        jitter: 0 to 1, by how much of `JITTER` a wait is lengthened.

    Raises:
        EngineError: the last attempt's error, with `attempts` set.
        Cancelled: the deadline was cancelled.
    """

    number = 0
    while True:
        number += 1
        started_s = deadline.clock()
        try:
            return attempt(number, deadline.within(policy.timeout_s))
        except EngineError as error:
            error.attempts = number - 1 if error.attempts == 0 else number
            if isinstance(error, Cancelled):
                raise
            backoff_s = policy.backoff_s * (1 + JITTER * jitter())
            wait_s = max(backoff_s, error.retry_after_s or 0.0)
            is_worthwhile = error.repeat and number < policy.attempts
            has_time = wait_s + SHORTEST_ATTEMPT_S <= deadline.remaining_s()
            is_repeated = is_worthwhile and has_time and may_repeat()
            elapsed_s = deadline.clock() - started_s
            on_failure(FailedAttempt(number, error, elapsed_s, wait_s if is_repeated else None))
            if not is_repeated:
                raise
        for piece_s in deadline.waits_s(wait_s):
            sleep(piece_s)
        if deadline.is_cancelled:
            cancelled = Cancelled()
            cancelled.attempts = number
            raise cancelled


_RATE_LIMIT_ITEM = re.compile(r"(?:^|;)\s*([rt])\s*=\s*(\d{1,9})")


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return how many seconds the headers ask us to wait, or None when they do not say.

    Understood are `Retry-After` in both forms (seconds, HTTP date) and the Hub's
    `RateLimit: "api";r=0;t=55`, where `t` counts when nothing remains (`r=0`).

    Source: RFC 9110 §10.2.3; huggingface.co/docs/hub/rate-limits, read 2026-08.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value):
        return float(value)
    if value:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max((at - (now or datetime.now(UTC))).total_seconds(), 0.0)
    limits = dict(_RATE_LIMIT_ITEM.findall(headers.get("RateLimit", "")))
    if limits.get("r") == "0" and "t" in limits:
        return float(limits["t"])
    return None
