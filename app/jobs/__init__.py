"""Jobs: pieces that are made in the background and asked about by id.

`Jobs` is what the web and the command line know of them. Submitting writes the job and hands it to
the executors in one transaction, so that a job that was acknowledged exists, whatever dies next.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from app.errors import Gone, IdempotencyConflict, IdempotencyMismatch, NotFound, Overloaded, ResultLost
from app.jobs.job import Change, Job, JobRequest, Result, Status
from app.retry import Deadline, Sleep

if TYPE_CHECKING:
    from app.jobs.records import Enqueue, Records
    from app.store import FileStore

_log = structlog.get_logger(__name__)

RETRY_WHEN_FULL_S: Final = 10.0
"""What `Retry-After` says when the queue is full."""

SWEEP_LIMIT: Final = 200
"""Jobs that one sweep deletes at most for each reason; the next one goes on."""

STRAYS_EVERY_S: Final = 3_600.0
"""How often the store is looked through for files without a job: clouds charge for listing."""

FILE_URL_S: Final = 300.0
"""How long an address in a cloud's store works; a player may begin late, a link that is passed on should end."""

_FIRST_POLL_S: Final = 0.1
_LONGEST_POLL_S: Final = 0.5
_SUBMISSIONS: Final = 3
_STRAYS_ASKED: Final = 500
_ID_CHARS: Final = 32
_ID: Final = re.compile(rf"[0-9a-f]{{{_ID_CHARS}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a request.

    Attributes:
        job: The job that makes the piece, or has made it.
        replayed: Whether an earlier request with the same idempotency key submitted it.
    """

    job: Job
    replayed: bool


class Jobs:
    """All jobs of the service. One object serves all threads.

    Every method raises `JobStoreUnavailable` when the database cannot be used right now.
    """

    def __init__(
        self,
        records: Records,
        store: FileStore,
        *,
        enqueue: Enqueue,
        engine: str,
        max_attempts: int,
        max_queued: int,
        max_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = time.sleep,
    ) -> None:
        """
        Args:
            records: What is known about jobs.
            store: Where finished files are.
            enqueue: Hands a job to the executors, within the transaction that writes it.
            engine: Name of the engine that will make the pieces.
            max_attempts: Attempts that a job may take.
            max_queued: Jobs that may wait; one more is refused.
            max_bytes: What the finished files may take together.
            ttl_s: Seconds that a job is kept.
            clock: What time it is, in Unix seconds.
            sleep: How to wait, seconds; replaced in tests.
        """
        self._records = records
        self._store = store
        self._enqueue = enqueue
        self._engine = engine
        self._max_attempts = max_attempts
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._sleep = sleep
        self._strays_due_s = 0.0

    def submit(
        self,
        request: JobRequest,
        *,
        owner: str,
        request_id: str,
        idempotency_key: str | None = None,
        digest: str = "",
    ) -> Submission:
        """Take a job on. When this returns it survives whatever happens to this process.

        Args:
            request: What is asked for.
            owner: Name of the caller's API key, "" when there are none.
            request_id: Of the HTTP request.
            idempotency_key: With the same key (of the same owner) the first job is returned again.
            digest: Of what the caller sent, to tell whether a key is used for something else.

        Raises:
            IdempotencyMismatch: the key was used for something else.
            IdempotencyConflict: the key's job disappears while it is looked at; ask again.
            Overloaded: too many jobs are waiting.
        """
        for _ in range(_SUBMISSIONS):
            known = idempotency_key and self._records.by_key(owner, idempotency_key)
            if known:
                job, known_digest = known
                if known_digest != digest:
                    raise IdempotencyMismatch
                return Submission(job, replayed=True)
            job = Job.queued(
                request,
                owner=owner,
                engine=self._engine,
                max_attempts=self._max_attempts,
                request_id=request_id,
                now_s=self._clock(),
                ttl_s=self._ttl_s,
            )
            if self._take_on(job, idempotency_key, digest):
                return Submission(self._records.get(job.id) or job, replayed=False)
        raise IdempotencyConflict

    def _take_on(self, job: Job, idempotency_key: str | None, digest: str) -> bool:
        """Write and enqueue the job; return False when somebody else used its key at the same time."""
        from app.jobs.records import KeyTaken

        try:
            with self._records.writing() as connection:
                if self._records.queued(connection, at_most=self._max_queued) >= self._max_queued:
                    raise Overloaded("Too many jobs are waiting.", retry_after_s=RETRY_WHEN_FULL_S)
                self._records.insert(connection, job, idempotency_key=idempotency_key, digest=digest)
                self._enqueue(connection, job.id)
        except KeyTaken:
            return False
        return True

    def get(self, id: str) -> Job:
        """Return the job. Whoever knows its id may read it.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        if not _ID.fullmatch(id):
            raise NotFound("There is no such job.")
        job = self._records.get(id)
        if job is None:
            raise Gone if self._records.gone([id]) else NotFound("There is no such job.")
        if job.is_final and job.expires_at_s <= self._clock():
            raise Gone
        return job

    def page(
        self,
        owner: str | None,
        *,
        username: str | None = None,
        status: Status | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Return some jobs of the owner (None: of everybody), newest first, and the cursor of the next page.

        Raises:
            InvalidRequest: the cursor is not one of ours.
        """
        return self._records.page(owner, username=username, status=status, limit=limit, cursor=cursor)

    def changes(self, id: str, after: int) -> list[Change]:
        """Return the job's visible changes with numbers above `after`, oldest first; the last 200 are kept."""
        return self._records.changes(id, after)

    def wait(self, id: str, deadline: Deadline) -> Job:
        """Return the job once it is final, or as it is when the deadline passes.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        poll_s = _FIRST_POLL_S
        while not (job := self.get(id)).is_final and not deadline.expired:
            self._sleep(min(poll_s, deadline.remaining_s()))
            poll_s = min(poll_s * 1.5, _LONGEST_POLL_S)
        return job

    def cancel(self, id: str) -> Job:
        """Cancel a job that is not over, and return it; one that is over stays what it is.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        job = self.get(id)
        return job if job.is_final else self._records.request_cancel(id) or job

    def cancel_or_delete(self, id: str) -> Job | None:
        """Cancel a job that is not over and return it, or delete one that is, with its file, and return None.

        A queued job is cancelled at once; a running one is told, and is over soon.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        job = self.get(id)
        if job.is_final:
            self._delete(job)
            return None
        return self._records.request_cancel(id)

    def read(self, result: Result, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of the file from `start` up to `end` (None: its end).

        Raises:
            ResultLost: the file is not there any more, or is not what was written.
        """
        from app.store import FileCorrupt, FileGone

        try:
            return self._store.read(result.file, sha256=result.sha256, start=start, end=end)
        except (FileGone, FileCorrupt) as error:
            raise ResultLost(log_text=str(error)) from error

    def file_url(self, result: Result) -> str | None:
        """Return where the file can be loaded for a few minutes, or None when the store has no addresses."""
        return self._store.presigned_url(result.file, expires_s=FILE_URL_S)

    def sweep(self) -> int:
        """Delete what has expired, and the oldest files beyond the store's limit; return how many jobs went.

        Once in a while it also deletes files that were left without a job. A sweep takes a bounded number of
        jobs; the next one goes on. Any number of processes may sweep.
        """
        doomed = self._records.expired(SWEEP_LIMIT)
        for job in doomed:
            self._delete(job)
        crowded_out = self._crowded_out()
        for job in crowded_out:
            self._delete(job)
        self._records.forget_gone()
        if gone := len(doomed) + len(crowded_out):
            self._records.scrub()
            _log.info("deleted jobs", expired=len(doomed), crowded_out=len(crowded_out))
        if self._clock() >= self._strays_due_s:
            self._strays_due_s = self._clock() + STRAYS_EVERY_S
            self._sweep_strays()
        return gone

    def _sweep_strays(self) -> None:
        """Delete files whose jobs are deleted.

        They are left by a process that died between the writing of a file and of its job's success, when the
        job then ended otherwise. Only the files of jobs that this database remembers are touched: whatever
        else is in the store may be somebody else's.
        """
        names = (name for name in self._store.names() if _ID.match(name))
        while some := list(itertools.islice(names, _STRAYS_ASKED)):
            gone = self._records.gone({name[:_ID_CHARS] for name in some})
            for name in some:
                if name[:_ID_CHARS] in gone:
                    self._store.delete(name)
                    _log.info("deleted a file without a job", file=name)

    def _crowded_out(self) -> list[Job]:
        """Return the jobs that finished longest ago, as many as their files are too much for the store."""
        excess_bytes = self._records.total_size_bytes() - self._max_bytes
        if excess_bytes <= 0:
            return []
        oldest = self._records.oldest_files(SWEEP_LIMIT)
        before_bytes = itertools.accumulate((job.result.size_bytes for job in oldest if job.result), initial=0)
        return [job for job, freed_bytes in zip(oldest, before_bytes, strict=False) if freed_bytes < excess_bytes]

    def _delete(self, job: Job) -> None:
        # The file first: a crash in between leaves a job whose file is gone, which the next sweep deletes, and
        # not a file that nobody knows of.
        if job.result:
            self._store.delete(job.result.file)
        self._records.remove(job.id)
