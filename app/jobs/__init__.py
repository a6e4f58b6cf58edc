"""Jobs: pieces that are made in the background and asked about by id.

`Jobs` is what the web and the command line know of them. Submitting writes the job and hands it to
the executors in one transaction, so that a job that was acknowledged exists, whatever dies next.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from app.errors import (
    Gone,
    IdempotencyConflict,
    IdempotencyMismatch,
    JobStoreUnavailable,
    NotFound,
    Overloaded,
    ResultLost,
)
from app.jobs.gate import Gate
from app.jobs.job import Census, Change, Job, JobRequest, Result, Status
from app.jobs.song import SongRequest
from app.retry import Deadline, Sleep

if TYPE_CHECKING:
    from app.audio import AudioFormat
    from app.jobs.records import Records, Transaction, WorkQueue
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
_NO_ID: Final = "0" * _ID_CHARS
_ID: Final = re.compile(rf"[0-9a-f]{{{_ID_CHARS}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a request.

    Attributes:
        job: The job that makes the piece, or has made it.
        replayed: Whether an earlier request with the same idempotency key submitted it.
        pieces: How many pieces are made because of it: of a song, the sections that were not there.
    """

    job: Job
    replayed: bool
    pieces: int = 0


class Jobs:
    """All jobs of the service. One object serves all threads.

    Every method raises `JobStoreUnavailable` when the database cannot be used right now; those that a
    request waits for also when too many others do (`Gate`).
    """

    def __init__(
        self,
        records: Records,
        store: FileStore,
        *,
        queue: WorkQueue,
        engine: str,
        max_attempts: int,
        max_queued: int,
        max_bytes: int,
        ttl_s: float,
        redirects: bool = False,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = time.sleep,
    ) -> None:
        """
        Args:
            records: What is known about jobs.
            store: Where finished files are.
            queue: The way to the executors.
            engine: Name of the engine that will make the pieces.
            max_attempts: Attempts that a job may take.
            max_queued: Jobs that may wait; one more is refused.
            max_bytes: What the finished files may take together.
            ttl_s: Seconds that a job is kept.
            redirects: Whether callers load files from the store itself, where it is a bucket.
            gate: Bounds how many requests are in the database at a time, or wait for it; one of its own by default.
            clock: What time it is, in Unix seconds.
            sleep: How to wait, seconds; replaced in tests.
        """
        self._records = records
        self._store = store
        self._queue = queue
        self._engine = engine
        self._max_attempts = max_attempts
        self._max_queued = max_queued
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._redirects = redirects
        self._gate = gate or Gate()
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

        def write(connection: Transaction) -> Submission:
            job = self._queued(request, owner, request_id).behind(self._admitted(connection, 1))
            self._records.insert(connection, job, idempotency_key=idempotency_key, digest=digest)
            self._queue.enqueue(connection, job.id)
            return Submission(job, replayed=False, pieces=1)

        return self._once(owner, idempotency_key, digest, write)

    def submit_song(
        self,
        request: SongRequest,
        *,
        owner: str,
        request_id: str,
        idempotency_key: str | None = None,
        digest: str = "",
        made: Mapping[int, str] | None = None,
    ) -> Submission:
        """Take a song on, and a job for each of its sections; as `submit` otherwise.

        Args:
            request: What is asked for; the others are as for `submit`.
            owner: As for `submit`.
            request_id: As for `submit`.
            idempotency_key: As for `submit`.
            digest: As for `submit`.
            made: Ids of jobs that have already made sections, by their numbers.

        Raises:
            IdempotencyMismatch: as for `submit`.
            IdempotencyConflict: as for `submit`.
            Overloaded: too many jobs would be waiting.
        """

        def write(connection: Transaction) -> Submission:
            ids = dict(made or {})
            missing = [number for number in range(1, len(request.sections) + 1) if number not in ids]
            self._admitted(connection, len(missing))
            for number in missing:
                piece = self._queued(JobRequest(request.sections[number - 1].brief), owner, request_id).held_back()
                self._records.insert(connection, piece)
                ids[number] = piece.id
            song = self._queued(request, owner, request_id)
            in_order = [ids[number] for number in sorted(ids)]
            song = self._records.insert_song(connection, song, in_order, idempotency_key=idempotency_key, digest=digest)
            return Submission(song, replayed=False, pieces=len(missing))

        return self._once(owner, idempotency_key, digest, write)

    def again(
        self,
        job: Job,
        *,
        owner: str,
        request_id: str,
        seeds: Mapping[int, int] | None = None,
        format: AudioFormat | None = None,
        idempotency_key: str | None = None,
        digest: str = "",
    ) -> Submission:
        """Take on once more what a job was asked for, as a new job.

        A song gets its sections from the old one as far as they were made.

        Args:
            job: One that is over.
            owner: As for `submit`.
            request_id: As for `submit`.
            seeds: Sections of a song that shall be made again although they were made, and with which seeds.
            format: How a song is delivered; by default as the old one was.
            idempotency_key: As for `submit`.
            digest: As for `submit`.

        Raises:
            StudioError: as for `submit`.
        """
        if isinstance(job.request, JobRequest):
            return self.submit(
                job.request, owner=owner, request_id=request_id, idempotency_key=idempotency_key, digest=digest
            )
        sections, new = self.sections(job.id), seeds or {}
        return self.submit_song(
            dataclasses.replace(job.request.with_seeds(new), format=format or job.request.format),
            owner=owner,
            request_id=request_id,
            idempotency_key=idempotency_key,
            digest=digest,
            made={number: each.id for number, each in sections.items() if each.result and number not in new},
        )

    def _once(
        self, owner: str, idempotency_key: str | None, digest: str, write: Callable[[Transaction], Submission]
    ) -> Submission:
        """Return the job that the key has, or the one that is written."""
        from app.jobs.records import KeyTaken

        with self._gate.passing():
            for _ in range(_SUBMISSIONS):
                known = idempotency_key and self._records.by_key(owner, idempotency_key)
                if known:
                    job, known_digest = known
                    if known_digest != digest:
                        raise IdempotencyMismatch
                    return Submission(job, replayed=True)
                with suppress(KeyTaken), self._records.writing() as connection:  # by somebody else at the same time
                    return write(connection)
            raise IdempotencyConflict

    def _queued(self, request: JobRequest | SongRequest, owner: str, request_id: str) -> Job:
        return Job.queued(
            request,
            owner=owner,
            engine=self._engine,
            max_attempts=self._max_attempts if isinstance(request, JobRequest) else 1,
            request_id=request_id,
            now_s=self._clock(),
            ttl_s=self._ttl_s,
        )

    def _admitted(self, connection: Transaction, jobs: int) -> int:
        """Return how many jobs are waiting before that many new ones.

        Raises:
            Overloaded: too many would be waiting with them.
        """
        ahead = self._records.queued(connection, at_most=self._max_queued)
        if ahead + jobs > self._max_queued:
            raise Overloaded("Too many jobs are waiting.", retry_after_s=RETRY_WHEN_FULL_S)
        return ahead

    def get(self, id: str) -> Job:
        """Return the job. Whoever knows its id may read it.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        with self._gate.passing():
            return self._get(id)

    def _get(self, id: str) -> Job:
        if not _ID.fullmatch(id):
            raise NotFound("There is no such job.")
        job = self._records.get(id)
        if job is None:
            raise Gone if self._records.gone([id]) else NotFound("There is no such job.")
        if job.is_final and job.expires_at_s <= self._clock():
            raise Gone
        return job

    def sections(self, id: str) -> dict[int, Job]:
        """Return the jobs of a song's sections by their numbers, from 1, without those that are deleted."""
        with self._gate.passing():
            return self._records.sections(id)

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
        with self._gate.passing():
            return self._records.page(owner, username=username, status=status, limit=limit, cursor=cursor)

    def changes(self, id: str, after: int) -> list[Change]:
        """Return the job's visible changes with numbers above `after`, oldest first; the last 200 are kept."""
        with self._gate.passing():
            return self._records.changes(id, after)

    def probe(self) -> None:
        """Return when the database has answered. The gate does not count this: ask one at a time."""
        self._records.get(_NO_ID)

    def census(self) -> Census:
        """Return how all jobs stand together, whoever submitted them.

        The gate does not count this: ask one at a time.
        """
        return self._records.census()

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
        with self._gate.passing():
            job = self._get(id)
            return job if job.is_final else self._request_cancel(job) or job

    def cancel_or_delete(self, id: str) -> Job | None:
        """Cancel a job that is not over and return it, or delete one that is, with its file, and return None.

        A song's sections are cancelled or deleted with it, unless another song has them too. A queued job is
        cancelled at once; a running one is told, and is over soon.

        Raises:
            NotFound: there is no such job.
            Gone: there was one.
        """
        with self._gate.passing():
            job = self._get(id)
            if not job.is_final:
                after = self._request_cancel(job)
                if after is None or after.status in ("running", "cancelled"):
                    return after
                job = after  # it has just come to its own end
        pieces = self.sections(job.id).values() if isinstance(job.request, SongRequest) else ()
        self._delete(job, self._remove)  # which waits for the store first, without a place
        for piece in pieces:
            if piece.is_final and not self._records.songs_of(piece.id):
                self._delete(piece, self._remove)
        return None

    def _remove(self, id: str) -> None:
        with self._gate.passing():
            self._records.remove(id)

    def _request_cancel(self, job: Job) -> Job | None:
        after = self._records.request_cancel(job.id)
        pieces = self._records.sections(job.id).values() if isinstance(job.request, SongRequest) else [after]
        for piece in pieces:
            if piece and piece.status == "cancelled" and piece.started_at_s is None:
                self._drop(piece.id)
        return after

    def _drop(self, id: str) -> None:
        # Whoever submits and cancels again and again must not fill the queue behind which others wait.
        try:
            self._queue.drop(id)
        except JobStoreUnavailable as error:
            _log.warning("a cancelled job stays in the queue", job=id, upstream_text=error.log_text)

    def read(self, result: Result, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return the bytes of the file from `start` up to `end` (None: its end), in chunks.

        Raises:
            ResultLost: the file is not there any more, or is not what was written.
        """
        from app.store import FileCorrupt, FileGone

        try:
            return self._store.chunks(result.file, sha256=result.sha256, start=start, end=end)
        except (FileGone, FileCorrupt) as error:
            raise ResultLost(log_text=str(error)) from error

    def file_url(self, result: Result) -> str | None:
        """Return where callers should load the file within minutes, or None when they get it from this service."""
        return self._store.presigned_url(result.file, expires_s=FILE_URL_S) if self._redirects else None

    def sweep(self) -> int:
        """Delete what has expired, and the oldest files beyond the store's limit; return how many jobs that concerned.

        A job whose file had to make room stays: its idempotency key must not start a second piece.

        Once in a while it also deletes files that were left without a job. A sweep takes a bounded number of
        jobs; the next one goes on. Any number of processes may sweep.
        """
        expired, crowded_out = self._records.expired(SWEEP_LIMIT), self._crowded_out()
        gone = sum(self._goes(job, self._records.remove) for job in expired)
        if any(isinstance(job.request, SongRequest) for job in expired):
            gone += sum(self._goes(job, self._records.remove) for job in self._records.expired(SWEEP_LIMIT))
        gone += sum(self._goes(job, self._records.lose_result) for job in crowded_out)
        self._records.forget_gone()
        if gone:
            self._records.scrub()
            _log.info("made room", expired_jobs=len(expired), crowded_out_files=len(crowded_out), gone=gone)
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

    def _goes(self, job: Job, note: Callable[[str], object]) -> bool:
        """Delete the job's file and note that; return False when the store does not let it go.

        One file that cannot be deleted must not keep all others.
        """
        try:
            self._delete(job, note)
        except JobStoreUnavailable as error:
            _log.warning("cannot be deleted", job=job.id, detail=error.detail, upstream_text=error.log_text)
            return False
        return True

    def _delete(self, job: Job, note: Callable[[str], object]) -> None:
        # The file before anything is written about it: a crash in between leaves a job whose file is gone, which
        # the next sweep sees to, and not a file that nobody knows of.
        if job.result:
            self._store.delete(job.result.file)
        note(job.id)
