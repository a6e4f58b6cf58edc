"""Events: the changes of one job as Server-Sent Events, as they happen and from wherever a reader left off.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-08.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from app.errors import Gone, JobStoreUnavailable, NotFound, Overloaded
from app.jobs.job import Change, Job
from app.retry import Clock, Deadline

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "text/event-stream"

SHARE: Final = 2
"""One caller has at most one in this many of the streams, so that nobody takes those of all others. It is no less than
half because one key may be that of a whole site."""

SMALLEST_SHARE: Final = 4
"""Streams that one caller may have however few there are."""

RETRY_AFTER_S: Final = 5.0
"""What `Retry-After` says when there is no place."""


class Changing(Protocol):
    """Where jobs and their changes are found; `Jobs` is one."""

    def get(self, id: str) -> Job: ...
    def changes(self, id: str, after: int) -> Sequence[Change]: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stream passes its time, in seconds.

    Attributes:
        poll_s: Between two looks at the job.
        heartbeat_s: Longest silence: proxies cut a connection that says nothing, and a reader who has left is
            noticed only when something is sent.
        lifetime_s: Longest stream, after which the reader comes back: a thread is not anybody's for good.
        retry_s: How long a reader waits before coming back.
    """

    poll_s: float = 0.5
    heartbeat_s: float = 10.0
    lifetime_s: float = 300.0
    retry_s: float = 2.0


class Streams:
    """The open streams of this process. They are few, because each occupies one of the server's threads."""

    def __init__(self, *, limit: int, pace: Pace | None = None, clock: Clock = time.monotonic) -> None:
        self._pace = pace or Pace()
        self._clock = clock
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._limit = limit
        self._share = min(limit, max(limit // SHARE, SMALLEST_SHARE))
        self._stopping = threading.Event()

    @property
    def open(self) -> int:
        """Streams that are open."""
        with self._lock:
            return self._open.total()

    @property
    def limit(self) -> int:
        """Streams that may be open."""
        return self._limit

    def enter(self, who: str) -> None:
        """Take a place; whoever does so calls `leave` once.

        Args:
            who: The caller, as `callers.who` tells one from another.

        Raises:
            Overloaded: all places are taken, or all that one caller may have.
        """
        with self._lock:
            if self._open.total() >= self._limit:
                raise Overloaded(
                    "Too many event streams are open; ask for the job's status instead.", retry_after_s=RETRY_AFTER_S
                )
            if self._open[who] >= self._share:
                raise Overloaded(
                    f"You have {self._share} event streams open, which is the share of one caller; "
                    "close one, or ask for the job's status instead.",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._open[who] += 1

    def leave(self, who: str) -> None:
        """Give the caller's place back."""
        with self._lock:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]  # callers come and go for as long as the process lives

    def stop(self) -> None:
        """End all streams, now and later: the process is about to go, and readers find another one."""
        self._stopping.set()

    def events(self, jobs: Changing, job: Job, *, after: int, describe: Callable[[Job], str]) -> Iterator[str]:
        """Return the changes of the job with a number above `after`, each as an event, until it is over.

        Args:
            jobs: Where to look for changes.
            job: The job.
            after: Number of the last change that the reader knows, 0 for none.
            describe: Turns a job into one line of JSON.
        """
        # The request is over for Flask, its context variables with it, before the first event is asked for.
        log = _log.bind(**structlog.contextvars.get_contextvars())
        return self._events(jobs, job, after, describe, log)

    def _events(
        self,
        jobs: Changing,
        job: Job,
        after: int,
        describe: Callable[[Job], str],
        log: structlog.stdlib.BoundLogger,
    ) -> Iterator[str]:
        is_away = False
        until, heard = Deadline.after(self._pace.lifetime_s, clock=self._clock), self._clock()
        yield f"retry: {self._pace.retry_s * 1000:.0f}\n\n"
        while not until.expired and not self._stopping.is_set():
            is_due = self._clock() - heard >= self._pace.heartbeat_s
            changes: Sequence[Change] = ()
            try:
                changes = jobs.changes(job.id, after)
                if changes or is_due:  # without changes, this notices that the job was deleted
                    job = jobs.get(job.id)
                is_away = False
            except JobStoreUnavailable:
                # A look that fails says nothing about the job; and a browser that is sent away now does not return.
                if not is_away:  # said once, and not at each look until it is back
                    log.warning("changes cannot be read", job=job.id)
                is_away = True
                changes = ()  # told later, with the job as it is by then
            except (NotFound, Gone):
                yield _end("gone")
                return
            for change in changes:
                yield f"id: {change.number}\nevent: status\ndata: {describe(job.as_of(change))}\n\n"
                after = change.number
            if changes and job.is_final and after >= job.change:
                yield _end(job.status)
                return
            if is_due and not changes:
                # Moving up in the queue is no change of a job, and this no event that a reader could go on from.
                yield f"event: status\ndata: {describe(job)}\n\n" if job.status == "queued" else ": still here\n\n"
            if changes or is_due:
                heard = self._clock()
            self._stopping.wait(min(self._pace.poll_s, until.remaining_s()))


def _end(status: str) -> str:
    """Return the event after which nothing comes: a reader need not come back."""
    return f"event: end\ndata: {json.dumps({'status': status})}\n\n"
