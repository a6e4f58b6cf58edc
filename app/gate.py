"""Gates: a few at a time, and nobody is waited for long."""

from __future__ import annotations

import threading
import time

from app.retry import Clock, Deadline


class Pass:
    """The right to a place at a `Gate`."""


class Gate:
    """Lets a few in at a time, each for a short while; one object serves all threads.

    Whoever takes longer than that, or forgets to leave, loses its place, but nothing else: others go
    in beside it. So nothing that hangs can hold up the rest, and no mistake can.
    """

    def __init__(
        self,
        places: int,
        *,
        longest_stay_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        """
        Args:
            places: How many are let in at a time.
            longest_stay_s: How long each of them counts, in seconds.
            clock: Monotonic seconds.
        """
        self._places = places
        self._longest_stay_s = longest_stay_s
        self._clock = clock
        self._changed = threading.Condition()
        self._ends_s: dict[Pass, float] = {}

    def enter(self, deadline: Deadline) -> Pass:
        """Wait for a place.

        Raises:
            TimeoutError: none has become free before the deadline.
        """
        with self._changed:
            for left_s in deadline.waits_s():
                now_s = self._clock()
                self._ends_s = {one: end_s for one, end_s in self._ends_s.items() if end_s > now_s}
                if len(self._ends_s) < self._places:
                    mine = Pass()
                    self._ends_s[mine] = now_s + self._longest_stay_s
                    return mine
                self._changed.wait(min(left_s, min(self._ends_s.values()) - now_s))
        raise TimeoutError("no place has become free in time")

    def leave(self, one: Pass) -> None:
        """Make room for another one; leaving twice, or too late, does no harm."""
        with self._changed:
            if self._ends_s.pop(one, None) is not None:
                self._changed.notify()
