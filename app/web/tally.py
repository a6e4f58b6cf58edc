"""Tally: who has asked how often, counted by the library `limits`, in Redis or in this process.

Flask-Limiter, which is built on the same library, adds three to four times as much to a request that is counted
(measured side by side in one process). Part of that are the library's own counters in memory, which start a thread each
hundredth of a second to look for what has expired; so those here are ours.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from limits import RateLimitItem, parse_many
from limits.storage import RedisStorage, Storage

from app.breaker import REDIS_TIMEOUT_S, redis_options
from app.retry import Clock

_log = structlog.get_logger(__name__)

_PREFIX: Final = "studio:limits"
_SWEEP_AGAIN_S: Final = 1.0

_REDIS_CONNECTIONS: Final = 16
_ASK_AGAIN_S: Final = 5.0
_WARN_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a request stands with the limit that is nearest to being used up.

    Attributes:
        limit: Requests in a window.
        window_s: Its length, in seconds.
        remaining: Requests that are left in it.
        reset_s: Whole seconds until it ends, at least 1.
        is_exceeded: Whether this request is one too many.
    """

    limit: int
    window_s: int
    remaining: int
    reset_s: int
    is_exceeded: bool


Limits = tuple[RateLimitItem, ...]


def parsed(limits: str | None) -> Limits:
    """Return the limits that a setting names, e.g. `2/second, 30/minute`; the shortest window first."""
    return tuple(sorted(parse_many(limits))) if limits else ()


class Tally:
    """Counts requests. While Redis is away, a request now and then looks for it, and all are counted here."""

    def __init__(self, redis_url: str | None, *, clock: Clock = time.monotonic, shared: Storage | None = None) -> None:
        """
        Args:
            redis_url: Where to count; None counts in this process.
            clock: Monotonic time in seconds.
            shared: Where to count instead, in tests.
        """
        self._own = Counters()
        self._shared = _redis(redis_url) if redis_url else shared
        self._clock = clock
        self._lock = threading.Lock()
        self._is_away = False
        self._ask_at_s = -math.inf
        self._warn_at_s = -math.inf

    def count(self, limits: Sequence[RateLimitItem], *, asker: str, scope: str, amount: int = 1) -> Standing:
        """Count a request, and return how it stands.

        Args:
            limits: What it counts for, at least one; those behind one that it exceeds do not see it.
            asker: Who asks.
            scope: What for; each has counters of its own.
            amount: How much it counts.
        """
        found = []
        for limit in limits:
            found.append(self._hit(limit, limit.key_for(_PREFIX, asker, scope), amount))
            if found[-1].is_exceeded:
                break
        return min(found, key=lambda each: (not each.is_exceeded, each.remaining, -each.reset_s))

    def holds(self, counters: int) -> bool:
        """Tell whether this process itself counts with that many counters."""
        return len(self._own) >= counters and self._own.sweep() >= counters

    def _hit(self, limit: RateLimitItem, key: str, amount: int) -> Standing:
        if self._shared is not None and self._may_ask():
            try:
                standing = _hit(self._shared, limit, key, amount)
            except self._shared.base_exceptions as error:
                self._leave_alone(error)
            else:
                self._is_away = False
                return standing
        return _hit(self._own, limit, key, amount)

    def _may_ask(self) -> bool:
        if not self._is_away:
            return True
        with self._lock:
            # One request looks whether it is back; the others do not wait together with it.
            may_ask = self._clock() >= self._ask_at_s
            if may_ask:
                self._ask_at_s = self._clock() + _ASK_AGAIN_S
        return may_ask

    def _leave_alone(self, error: Exception) -> None:
        with self._lock:
            now_s = self._clock()
            self._is_away, self._ask_at_s = True, now_s + _ASK_AGAIN_S
            is_due = now_s >= self._warn_at_s
            if is_due:
                self._warn_at_s = now_s + _WARN_AGAIN_S
        if is_due:
            _log.warning("redis is away, this process counts requests alone", error=repr(error))


def _hit(storage: Storage, limit: RateLimitItem, key: str, amount: int) -> Standing:
    count = storage.incr(key, limit.get_expiry(), amount)
    reset_s = max(math.ceil(storage.get_expiry(key) - time.time()), 1)
    return Standing(limit.amount, limit.get_expiry(), max(limit.amount - count, 0), reset_s, count > limit.amount)


def _redis(url: str) -> Storage:
    """Return counters in Redis, which is given up soon when it does not answer: a request cannot wait for it."""
    from redis import BlockingConnectionPool

    pool = BlockingConnectionPool.from_url(
        url, max_connections=_REDIS_CONNECTIONS, timeout=REDIS_TIMEOUT_S, **redis_options()
    )
    return RedisStorage(url, connection_pool=pool)


class Counters(Storage):
    """Counts in this process, each for as long as its window lasts."""

    STORAGE_SCHEME = None

    def __init__(self, *, clock: Clock = time.time) -> None:
        """
        Args:
            clock: Unix time in seconds.
        """
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: dict[str, tuple[int, float]] = {}
        """How many by key, and until when."""
        self._swept_at_s = -math.inf

    def __len__(self) -> int:
        return len(self._counted)

    def sweep(self) -> int:
        """Forget what has expired, though not each time, and return how many counters are left."""
        now_s = self._clock()
        with self._lock:
            if now_s - self._swept_at_s >= _SWEEP_AGAIN_S:
                self._swept_at_s = now_s
                self._counted = {key: each for key, each in self._counted.items() if each[1] > now_s}
        return len(self)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now_s = self._clock()
        with self._lock:
            count, until_s = self._counted.get(key, (0, 0.0))
            if until_s <= now_s:
                count, until_s = 0, now_s + expiry
            self._counted[key] = count + amount, until_s
        return count + amount

    def get(self, key: str) -> int:
        count, until_s = self._counted.get(key, (0, 0.0))
        return count if until_s > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        _, until_s = self._counted.get(key, (0, 0.0))
        return max(until_s, self._clock())

    def clear(self, key: str) -> None:
        self._counted.pop(key, None)

    def reset(self) -> int:
        with self._lock:
            count, self._counted = len(self._counted), {}
        return count

    def check(self) -> bool:
        return True

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()
