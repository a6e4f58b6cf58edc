"""The gate before the job database: whoever asks it for a caller occupies a thread of the server meanwhile.

A database that hangs would otherwise collect all threads, one request after the other, and stop what
does not need it: clips without a job, `/health`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app import turns
from app.errors import JobStoreUnavailable
from app.retry import Clock

PLACES: Final = 24
"""Threads that may be in the database, or wait for it: more than it has connections for, and fewer than the server
keeps in reserve (see `gunicorn.conf.py`)."""

PATIENCE_S: Final = 0.5
"""How long one more waits for a place while the database answers. So a burst is worked off and not refused."""

RETRY_AFTER_S: Final = 5.0


class Gate:
    """Lets a few threads pass at a time. One object serves all threads of a process."""

    def __init__(self, *, places: int = PLACES, patience_s: float = PATIENCE_S, clock: Clock = time.monotonic) -> None:
        """
        Args:
            places: Threads that may have passed and not come back, 1 or more.
            patience_s: Seconds to wait for a place, and how long whoever has one may take to be called quick.
            clock: Monotonic seconds.
        """
        self._places = places
        self._patience_s = patience_s
        self._clock = clock
        self._freed = threading.Condition()
        self._taken = 0
        self._is_slow = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Have a place for as long as the block lasts, which must not pass this gate again.

        Raises:
            JobStoreUnavailable: all places are taken. That is said at once while those who have them, or had one
                last, take long; else after `patience_s`.
        """
        turns.rest()  # this may take its time
        self._enter()
        began_s = self._clock()
        try:
            yield
        finally:
            self._leave(took_s=self._clock() - began_s)

    def _enter(self) -> None:
        with self._freed:
            if not self._freed.wait_for(self._has_place, timeout=0.0 if self._is_slow else self._patience_s):
                # Nobody has to find that out again until somebody was quick.
                self._is_slow = True
                detail = "Too many requests wait for the job database."
                raise JobStoreUnavailable(detail, retry_after_s=RETRY_AFTER_S)
            self._taken += 1

    def _has_place(self) -> bool:
        return self._taken < self._places

    def _leave(self, *, took_s: float) -> None:
        with self._freed:
            self._taken -= 1
            self._is_slow = took_s > self._patience_s
            self._freed.notify()
