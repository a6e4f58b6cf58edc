"""What is written about jobs, and every question that is asked about them.

A job's row is what people are told. It moves forward only: whatever changes it says in the same
statement what the row must still be, so that of two who race (a finish and a cancellation, two
finishes) one wins and the other is told False. Each visible change is kept beside the row, in the
same transaction, for streams of events that reconnect.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, cast, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from app.engines.engine import SongPlace
from app.errors import FieldError, InvalidRequest
from app.jobs import sections
from app.jobs.database import Database
from app.jobs.job import (
    CANCELLED,
    CANCELLING,
    CROWDED_OUT,
    SONG_SUCCEEDED,
    SUCCEEDED,
    Census,
    Change,
    Job,
    JobRequest,
    Result,
    Status,
)
from app.jobs.job import waiting as waiting_sentence
from app.jobs.song import AT_A_TIME, SongRequest
from app.jobs.tables import CHANGES, EXECUTORS, GONE, IS_ACTIVE, IS_FINAL, JOBS, SECTIONS, change, keep_change

GONE_KEPT_S: Final = 7 * 86_400.0
GONE_KEPT_ROWS: Final = 100_000
"""For how long, and for how many, a deleted job is still known to have existed."""

EXECUTOR_SILENT_S: Final = 30.0
"""An executor that has been silent for longer is not counted; where others live, they delete it sooner."""

_earlier = JOBS.alias("earlier")
_AHEAD: Final = (
    sa.select(sa.func.count())
    .select_from(_earlier)
    .where(
        _earlier.c.status == "queued",
        _earlier.c.queue_position.is_not(None),
        sa.tuple_(_earlier.c.created_at_s, _earlier.c.id) < sa.tuple_(JOBS.c.created_at_s, JOBS.c.id),
    )
    .correlate(JOBS)
    .scalar_subquery()
)
_ROW: Final = sa.select(
    JOBS,
    sa.case(
        ((JOBS.c.status == "queued") & JOBS.c.queue_position.is_not(None), _AHEAD),
        else_=JOBS.c.queue_position,
    ).label("position"),
)
"""A job with its place in the queue as it is now. A song has none: its sections wait, as far as it is their turn."""

_IS_SECTION: Final = sa.exists().where(SECTIONS.c.job_id == JOBS.c.id)
_SONG: Final = JOBS.alias("song")
_IS_NEEDED: Final = sa.exists().where(
    SECTIONS.c.job_id == JOBS.c.id, SECTIONS.c.song_id == _SONG.c.id, _SONG.c.finished_at_s.is_(None)
)

_BY_ID: Final = _ROW.where(JOBS.c.id == sa.bindparam("id"))


Transaction = sa.Connection
"""What `Records.writing` yields."""


class WorkQueue(Protocol):
    """The way to the executors."""

    def enqueue(self, connection: sa.Connection, job_id: str) -> None:
        """Hand the job to the executors, within the transaction of that connection."""

    def enqueue_song(self, connection: sa.Connection, song_id: str) -> None:
        """Hand a song whose sections are over to the executors, likewise; once more changes nothing."""

    def drop(self, job_id: str) -> None:
        """Take a job that is not wanted any more back from them, or else they find that out when they begin it."""


class KeyTaken(Exception):
    """Another job was submitted with the idempotency key."""


class Records:
    """All questions about jobs. One object serves all threads.

    Every method raises `JobStoreUnavailable` when the database cannot be used right now.
    """

    def __init__(
        self,
        database: Database,
        *,
        ttl_s: float,
        queue: WorkQueue,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            database: Where the records are.
            ttl_s: Seconds that a job is kept after it has finished.
            queue: Where sections go when it is their turn, and songs whose sections are over.
            clock: What time it is, in Unix seconds. The databases' own clocks are not asked: SQLite's counts
                whole seconds.
        """
        self._database = database
        self._ttl_s = ttl_s
        self._queue = queue
        self._clock = clock
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """Return a transaction for `insert`, `queued`, and whatever must be written together with them."""
        return self._database.writing()

    # ------------------------------------------------------------------ submission

    def insert(
        self, connection: sa.Connection, job: Job, *, idempotency_key: str | None = None, digest: str = ""
    ) -> None:
        """Write a new job.

        Raises:
            KeyTaken: the key belongs to another job of that owner, which has not expired. The transaction is lost.
        """
        if idempotency_key is not None:
            of_key = (JOBS.c.owner == job.owner) & (JOBS.c.idempotency_key == idempotency_key)
            connection.execute(
                sa.update(JOBS)
                .where(of_key, IS_FINAL, JOBS.c.expires_at_s <= self._clock())
                .values(idempotency_key=None)
            )
        row = {
            **_columns(job),
            "username": job.request.username,
            "idempotency_key": idempotency_key,
            "digest": digest,
        }
        try:
            connection.execute(_INSERT_JOB, row)
        except IntegrityError:
            raise KeyTaken from None
        keep_change(connection, job.id, job.created_at_s)

    def insert_song(
        self,
        connection: sa.Connection,
        song: Job,
        job_ids: Sequence[str],
        *,
        idempotency_key: str | None = None,
        digest: str = "",
    ) -> Job:
        """Write a new song, whose sections are jobs that are there already, and hand on what it begins with.

        Return how it stands then.

        Args:
            connection: Of the transaction.
            song: The job.
            job_ids: The jobs of its sections, in their order.
            idempotency_key: As for `insert`.
            digest: As for `insert`.

        Raises:
            KeyTaken: as for `insert`.
        """
        self.insert(connection, song, idempotency_key=idempotency_key, digest=digest)
        sections.insert(connection, song.id, job_ids)
        if not self._put_in_line(connection, song.id):
            self._go_on(connection, song.id)  # all of them were made for another song
        return _job(connection.execute(_BY_ID, {"id": song.id}).one())

    def queued(self, connection: sa.Connection, *, at_most: int) -> int:
        """Return how many jobs are waiting; counting stops at `at_most`."""
        return int(connection.execute(_QUEUED, {"at_most": at_most}).scalar_one())

    def by_key(self, owner: str, idempotency_key: str) -> tuple[Job, str] | None:
        """Return the job that was submitted with the key and has not expired, and the digest of what was sent."""
        row = self._one(_ROW.where(_of_key(owner, idempotency_key), self._is_kept()))
        return (_job(row), row.digest) if row else None

    # ------------------------------------------------------------------ questions

    def get(self, id: str) -> Job | None:
        """Return the job, expired or not, or None."""
        row = self._one(_BY_ID, {"id": id})
        return _job(row) if row else None

    def sections(self, song_id: str) -> dict[int, Job]:
        """Return the jobs of the song's sections by their numbers, without those that are deleted."""
        query = _ROW.add_columns(SECTIONS.c.number).join(SECTIONS, SECTIONS.c.job_id == JOBS.c.id)
        rows = self._all(query.where(SECTIONS.c.song_id == song_id).order_by(SECTIONS.c.number))
        return {row.number: _job(row) for row in rows}

    def place(self, job_id: str) -> SongPlace | None:
        """Return where a job stands in the song that it is made for; None when it is no section."""
        row = self._one(
            sa.select(JOBS.c.request, SECTIONS.c.number)
            .join(SECTIONS, SECTIONS.c.song_id == JOBS.c.id)
            .where(SECTIONS.c.job_id == job_id)
            .order_by(JOBS.c.created_at_s, JOBS.c.id)
            .limit(1)
        )
        return SongRequest.from_json(json.loads(row.request)).place(row.number) if row else None

    def songs_of(self, job_id: str) -> list[str]:
        """Return the songs of which the job is a section."""
        return [row.song_id for row in self._all(sections.SONGS_OF.params(job_id=job_id))]

    def gone(self, ids: Collection[str]) -> set[str]:
        """Return those of the ids whose jobs were deleted within the last days."""
        return {row.id for row in self._all(sa.select(GONE.c.id).where(GONE.c.id.in_(ids)))}

    def page(
        self,
        owner: str | None,
        *,
        username: str | None = None,
        status: Status | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Return some jobs, newest first, and the cursor of the next page, or None at the end.

        Songs are among them, their sections are not.

        Args:
            owner: Whose jobs; None means everybody's, which is for the operator alone.
            username: Only those with this label.
            status: Only those that stand so.
            limit: How many at most, 1 or more.
            cursor: Of the page before.

        Raises:
            InvalidRequest: this is no cursor of ours.
        """
        query = _ROW.where(self._is_kept(), ~_IS_SECTION)
        if owner is not None:
            query = query.where(JOBS.c.owner == owner)
        if username is not None:
            query = query.where(JOBS.c.username == username)
        if status is not None:
            query = query.where(JOBS.c.status == status)
        if cursor is not None:
            query = query.where(sa.tuple_(JOBS.c.created_at_s, JOBS.c.id) < sa.tuple_(*_read_cursor(cursor)))
        rows = self._all(query.order_by(JOBS.c.created_at_s.desc(), JOBS.c.id.desc()).limit(limit + 1))
        jobs = [_job(row) for row in rows[:limit]]
        return jobs, _cursor(jobs[-1]) if len(rows) > limit else None

    def changes(self, id: str, after: int) -> list[Change]:
        """Return the job's changes with numbers above `after`, oldest first; the oldest ones may be forgotten."""
        rows = self._all(
            sa.select(CHANGES).where(CHANGES.c.job_id == id, CHANGES.c.number > after).order_by(CHANGES.c.number)
        )
        return [
            Change(
                number=row.number,
                at_s=row.at_s,
                status=row.status,
                message=row.message,
                progress=row.progress,
                queue_position=row.queue_position,
                attempt=row.attempt,
            )
            for row in rows
        ]

    def cancel_requested(self, ids: Collection[str]) -> set[str]:
        """Return those of the ids whose running jobs somebody wants cancelled."""
        rows = self._all(sa.select(JOBS.c.id).where(JOBS.c.id.in_(ids), IS_ACTIVE, JOBS.c.cancel_requested))
        return {row.id for row in rows}

    def census(self) -> Census:
        """Return how all jobs stand together."""
        with self._database.reading() as connection:
            counted: dict[Status, int] = dict.fromkeys(get_args(Status), 0)
            counted.update({row.status: row.jobs for row in connection.execute(_COUNTED)})
            oldest_s = connection.execute(_OLDEST_QUEUED).scalar_one()
            executors = None if self._database.is_sqlite else int(connection.execute(_LIVING_EXECUTORS).scalar_one())
        age_s = 0.0 if oldest_s is None else max(self._clock() - oldest_s, 0.0)
        return Census(counted, age_s, executors)

    # ------------------------------------------------------------------ a job's way

    def start(self, id: str, attempt: int, message: str, *, engine: str | None = None) -> bool:
        """Let attempt number `attempt` begin; return False when the job is over or somebody wants it cancelled.

        The same attempt may begin again after a crash, and then finds its ticket; another attempt has none yet.

        Args:
            id: Which job.
            attempt: From 1; beyond the job's `max_attempts` it moves them on.
            message: A sentence for people.
            engine: Name of the one that makes the piece from now on; None leaves it to whom it was.
        """
        now_s = self._clock()
        with self._database.writing() as connection:
            is_begun = self._change_in(
                connection,
                id,
                IS_ACTIVE,
                ~JOBS.c.cancel_requested,
                **({} if engine is None else {"engine": engine}),
                status="running",
                message=message,
                attempt=attempt,
                max_attempts=sa.case((JOBS.c.max_attempts < attempt, attempt), else_=JOBS.c.max_attempts),
                progress=None,
                queue_position=None,
                ticket=sa.case((JOBS.c.attempt == attempt, JOBS.c.ticket)),
                started_at_s=sa.func.coalesce(JOBS.c.started_at_s, now_s),
            )
            if is_begun:
                sections.note_start(connection, id, now_s=now_s)
        return is_begun

    def put_off(self, id: str, attempt: int, message: str) -> bool:
        """Let attempt number `attempt` not have begun after all; return False when the job is over otherwise."""
        return self._change(
            id,
            JOBS.c.status == "running",
            JOBS.c.attempt == attempt,
            ~JOBS.c.cancel_requested,
            message=message,
            attempt=attempt - 1,
            progress=None,
        )

    def progress(
        self,
        id: str,
        *,
        message: str,
        progress: float | None = None,
        queue_position: int | None = None,
        ticket: str | None = None,
    ) -> bool:
        """Tell where a running job stands; return False when it is over or somebody wants it cancelled.

        Args:
            id: Which job.
            message: A sentence for people.
            progress: Share done, 0 to 1, or None when unknown.
            queue_position: Jobs ahead at the upstream, or None when unknown.
            ticket: What the upstream calls this work; None leaves what is known.
        """
        return self._change(
            id,
            JOBS.c.status == "running",
            ~JOBS.c.cancel_requested,
            message=message,
            progress=progress,
            queue_position=queue_position,
            **({} if ticket is None else {"ticket": ticket}),
        )

    def succeed(self, id: str, result: Result) -> bool:
        """Finish the job with its file; return False when it is over otherwise, and the file is not wanted.

        A job that somebody wants cancelled is cancelled by this instead: who was told "cancelling" is not
        surprised by a piece.
        """
        return self._finish(
            id,
            status="succeeded",
            message=sa.case((JOBS.c.sections > 0, SONG_SUCCEEDED), else_=SUCCEEDED),
            progress=1.0,
            retryable=False,
            result=_json(result.to_json()),
            size_bytes=result.size_bytes,
        )

    def fail(
        self, id: str, error: dict[str, object], *, retryable: bool, message: str, engine: str | None = None
    ) -> bool:
        """Finish the job with a problem object; return False when it is over otherwise.

        A job that somebody wants cancelled is cancelled by this instead: its failure is only how that showed.

        Args:
            id: Which job.
            error: The problem object.
            retryable: Whether asking again is sensible.
            message: A sentence for people.
            engine: Name of the one whose error it is; None means the one that made the last attempt.
        """
        return self._finish(
            id,
            status="failed",
            message=message,
            progress=None,
            retryable=retryable,
            error=_json(error),
            **({} if engine is None else {"engine": engine}),
        )

    def cancel(self, id: str, message: str = CANCELLED) -> bool:
        """Finish the job as cancelled; return False when it is over already."""
        with self._database.writing() as connection:
            return self._cancel(connection, id, message)

    def request_cancel(self, id: str) -> Job | None:
        """Cancel a queued job at once and ask for a running one to be cancelled; return the job after that.

        The sections of a song go with it. A job that is over stays what it is; None means that there is none.
        """
        with self._database.writing() as connection:
            for each in (id, *sections.active(connection, id)):
                self._request_cancel(connection, each)
            row = connection.execute(_BY_ID, {"id": id}).one_or_none()
        return _job(row) if row else None

    def _request_cancel(self, connection: sa.Connection, id: str) -> None:
        if not self._cancel(connection, id, CANCELLED, JOBS.c.status == "queued"):
            self._change_in(
                connection,
                id,
                JOBS.c.status == "running",
                ~JOBS.c.cancel_requested,
                cancel_requested=True,
                message=CANCELLING,
            )

    def _finish(self, id: str, **values: object) -> bool:
        with self._database.writing() as connection:
            ended = self._end(connection, id, ~JOBS.c.cancel_requested, **values)
            if not ended:
                self._cancel(connection, id, CANCELLED)
        return ended

    def _cancel(self, connection: sa.Connection, id: str, message: str, *conditions: sa.ColumnElement[bool]) -> bool:
        return self._end(
            connection, id, *conditions, status="cancelled", message=message, progress=None, retryable=True
        )

    def _end(self, connection: sa.Connection, id: str, *conditions: sa.ColumnElement[bool], **values: object) -> bool:
        now_s = self._clock()
        ended = self._change_in(
            connection,
            id,
            IS_ACTIVE,
            *conditions,
            queue_position=None,
            ticket=None,
            finished_at_s=now_s,
            expires_at_s=now_s + self._ttl_s,
            **values,
        )
        if ended:
            sections.keep(connection, id, until_s=now_s + self._ttl_s)
            for song_id in sections.songs_of(connection, id):
                self._go_on(connection, song_id)
        return ended

    def _go_on(self, connection: sa.Connection, song_id: str) -> None:
        """Hand the next sections of a song to the executors or, when all are over, the song."""
        if sections.note_end(connection, song_id, now_s=self._clock()):
            self._queue.enqueue_song(connection, song_id)
        else:
            self._put_in_line(connection, song_id)

    def resume_songs(self) -> None:
        """Go on with songs that stand still, because a process that knows of no songs has ended a section."""
        with self._database.writing() as connection:
            for song_id in sections.complete(connection):
                self._queue.enqueue_song(connection, song_id)  # which changes nothing when it was done before
            for song_id in sections.stalled(connection):
                self._put_in_line(connection, song_id)

    def _put_in_line(self, connection: sa.Connection, song_id: str) -> list[str]:
        due = sections.put_in_line(connection, song_id, now_s=self._clock())
        for job_id in due:
            self._queue.enqueue(connection, job_id)
        return due

    def _change(self, id: str, *conditions: sa.ColumnElement[bool], **values: object) -> bool:
        with self._database.writing() as connection:
            return self._change_in(connection, id, *conditions, **values)

    def _change_in(
        self, connection: sa.Connection, id: str, *conditions: sa.ColumnElement[bool], **values: object
    ) -> bool:
        return change(connection, id, *conditions, now_s=self._clock(), **values)

    # ------------------------------------------------------------------ expiry

    def expired(self, limit: int) -> list[Job]:
        """Return finished jobs whose time is over, the oldest first; sections not before their songs are deleted."""
        # Not `status IN (…)`: SQLite would rather look through all finished jobs by their status.
        query = _ROW.where(JOBS.c.finished_at_s.is_not(None), JOBS.c.expires_at_s <= self._clock())
        return [_job(row) for row in self._all(query.where(~_IS_SECTION).order_by(JOBS.c.expires_at_s).limit(limit))]

    def total_size_bytes(self) -> int:
        """Return how much all finished files take."""
        row = self._one(sa.select(sa.func.coalesce(sa.func.sum(JOBS.c.size_bytes), 0).label("size_bytes")))
        return int(row.size_bytes) if row else 0

    def oldest_files(self, limit: int) -> list[Job]:
        """Return jobs that have files, those that finished first before the others; none of which a song is made."""
        query = _ROW.where(JOBS.c.size_bytes > 0, ~_IS_NEEDED).order_by(JOBS.c.expires_at_s).limit(limit)
        return [_job(row) for row in self._all(query)]

    def lose_result(self, id: str) -> None:
        """Note that a succeeded job's file was deleted before its time.

        It is no change of the job that readers of its events are told: for them it is over.
        """
        with self._database.writing() as connection:
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == id, JOBS.c.status == "succeeded")
                .values(result=None, size_bytes=0, message=CROWDED_OUT)
            )

    def remove(self, id: str) -> bool:
        """Delete a finished job and its changes, and remember its id; return False when there is none."""
        with self._database.writing() as connection:
            if not connection.execute(sa.delete(JOBS).where(JOBS.c.id == id, IS_FINAL)).rowcount:
                return False
            connection.execute(sa.delete(CHANGES).where(CHANGES.c.job_id == id))
            connection.execute(sa.delete(SECTIONS).where(SECTIONS.c.song_id == id))
            connection.execute(self._insert(GONE).values(id=id, gone_at_s=self._clock()).on_conflict_do_nothing())
        return True

    def forget_gone(self) -> None:
        """Forget the ids of jobs that were deleted long ago, or too many others ago."""
        newest = sa.select(GONE.c.gone_at_s).order_by(GONE.c.gone_at_s.desc())
        first_too_many = newest.offset(GONE_KEPT_ROWS).limit(1).scalar_subquery()
        old = (GONE.c.gone_at_s <= self._clock() - GONE_KEPT_S) | (GONE.c.gone_at_s <= first_too_many)
        with self._database.writing() as connection:
            connection.execute(sa.delete(GONE).where(old))

    def scrub(self) -> None:
        """Let what was deleted leave the disk, prompts above all."""
        self._database.scrub()

    # ------------------------------------------------------------------ asking

    def _is_kept(self) -> sa.ColumnElement[bool]:
        return IS_ACTIVE | (JOBS.c.expires_at_s > self._clock())

    def _one(self, query: sa.Select[Any], values: dict[str, object] | None = None) -> sa.Row[Any] | None:
        with self._database.reading() as connection:
            return connection.execute(query, values or {}).one_or_none()

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._database.reading() as connection:
            return connection.execute(query).all()


# Prepared here because SQLAlchemy needs longer to put a statement together than SQLite needs to run it.
_INSERT_JOB: Final = sa.insert(JOBS)
_QUEUED: Final = sa.select(sa.func.count()).select_from(
    sa.select(sa.literal(1))
    .where(JOBS.c.status == "queued", JOBS.c.sections == 0)
    .limit(sa.bindparam("at_most", type_=sa.Integer))
    .subquery()
)
_COUNTED: Final = sa.select(JOBS.c.status, sa.func.count().label("jobs")).group_by(JOBS.c.status)
# Later sections wait for those before them, and not for a free slot alone.
_IS_LATER_SECTION: Final = sa.exists().where(SECTIONS.c.job_id == JOBS.c.id, SECTIONS.c.number > AT_A_TIME)
_OLDEST_QUEUED: Final = sa.select(sa.func.min(JOBS.c.created_at_s)).where(JOBS.c.status == "queued", ~_IS_LATER_SECTION)
_LIVING_EXECUTORS: Final = (
    sa.select(sa.func.count())
    .select_from(EXECUTORS)
    # By the clock they are written with: that of the database.
    .where(EXECUTORS.c.beat_at_s >= sa.extract("epoch", sa.func.clock_timestamp()) - EXECUTOR_SILENT_S)
)

# ---------------------------------------------------------------------- rows


def _of_key(owner: str, idempotency_key: str) -> sa.ColumnElement[bool]:
    return (JOBS.c.owner == owner) & (JOBS.c.idempotency_key == idempotency_key)


def _columns(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "owner": job.owner,
        "status": job.status,
        "message": job.message,
        "progress": job.progress,
        "queue_position": job.queue_position,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "retryable": job.retryable,
        "engine": job.engine,
        "request": _json(job.request.to_json()),
        "created_at_s": job.created_at_s,
        "started_at_s": job.started_at_s,
        "finished_at_s": job.finished_at_s,
        "expires_at_s": job.expires_at_s,
        "error": None if job.error is None else _json(job.error),
        "result": None if job.result is None else _json(job.result.to_json()),
        "size_bytes": job.result.size_bytes if job.result else 0,
        "ticket": job.ticket,
        "cancel_requested": job.cancel_requested,
        "change": job.change,
        "request_id": job.request_id,
        "sections": len(job.request.sections) if isinstance(job.request, SongRequest) else 0,
    }


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        id=row.id,
        owner=row.owner,
        status=row.status,
        message=waiting_sentence(row.position) if row.status == "queued" and row.position is not None else row.message,
        progress=row.progress,
        queue_position=row.position,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        retryable=row.retryable,
        engine=row.engine,
        request=(SongRequest if row.sections else JobRequest).from_json(json.loads(row.request)),
        created_at_s=row.created_at_s,
        started_at_s=row.started_at_s,
        finished_at_s=row.finished_at_s,
        expires_at_s=row.expires_at_s,
        error=None if row.error is None else cast("dict[str, object]", json.loads(row.error)),
        result=None if row.result is None else Result.from_json(json.loads(row.result)),
        ticket=row.ticket,
        cancel_requested=row.cancel_requested,
        change=row.change,
        request_id=row.request_id,
    )


def _json(value: dict[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


# ---------------------------------------------------------------------- cursors

_CURSOR: Final = re.compile(r"(\d{1,12}(?:\.\d{1,20})?) ([0-9a-f]{32})", re.ASCII)


def _cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created_at_s!r} {job.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    # It only says where to go on. Whose jobs are listed is not in it, so that forging one gains nothing.
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            "This is not a cursor of this list.", fields=(FieldError("cursor", "must be taken from an earlier answer"),)
        )
    return float(match[1]), match[2]
